"""Banks over several devices: they learn what one device learns, and each holds its branches only.

A process of its own simulates eight devices on the processor.
"""

import json
import os
import subprocess
import sys

import pytest

from tests import commands

SCRIPT = """
import json
import re

import keras

from tests import harness

TREE = {f"superclass {i}": [f"category {i}.{j}" for j in range(2)] for i in range(4)}


def losses(shape, sharded):
    layout = None
    if shape:
        mesh = keras.distribution.DeviceMesh(shape, ("batch", "branches"))
        layouts = keras.distribution.LayoutMap(mesh)
        layouts[sharded] = ("branches",)
        layout = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    keras.distribution.set_distribution(layout)
    model = harness.build(TREE, fused=True)
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy")
    images, targets = harness.images(model, 8), keras.utils.to_categorical(range(8), 8)
    history = model.fit(images, targets, batch_size=8, epochs=4, shuffle=False, verbose=0)
    held = {}
    for variable in [*model.variables, *model.optimizer.variables]:
        if bank := re.search("bank_.", variable.path):
            parts = variable.value.addressable_shards
            held.setdefault(bank[0], set()).add((len(parts), parts[0].data.shape[0]))
    return history.history["loss"], {name: sorted(found) for name, found in held.items()}


print(json.dumps([
    losses(None, None), losses((2, 4), "bank_.*/branch.*"), losses((1, 8), "bank_2/branch.*")
]))
"""


@pytest.mark.only_backend("jax")
def test_sharded_banks_learn_what_one_device_learns():
    simulated = "--xla_force_host_platform_device_count=8"
    environment = {
        **os.environ,
        "PYTHONPATH": str(commands.ROOT),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {simulated}",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (one, _), *many = json.loads(done.stdout.splitlines()[-1])
    assert one[-1] < one[0]
    for losses, _ in many:
        assert losses == pytest.approx(one, rel=1e-5)
    # Devices that hold a part of a variable, moments of Adam included, and the branches in a part.
    assert [held for _, held in many] == [
        {"bank_1": [[8, 1]], "bank_2": [[8, 2]]},
        {"bank_1": [[8, 4]], "bank_2": [[8, 1]]},
    ]
