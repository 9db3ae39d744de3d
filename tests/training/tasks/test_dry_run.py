"""A dry run: numbers that can be checked, and what it refuses."""

import re

import keras
import pytest

import keras_seqpar as sp
from keras_seqpar.training.flags import parse_train_flags
from keras_seqpar.training.tasks.dry_run import dry_run
from tests.training.runner import simple


def expected(arguments):
    """Prints of a dry run, as a mapping from the beginnings of its lines to the rest of them."""
    text = dry_run(parse_train_flags(arguments)[0])
    lines = (re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in text.splitlines())
    return [(line[0], line[-1]) for line in lines]


@pytest.mark.usefixtures("eagerly")
def test_the_numbers_of_a_dry_run(finished, images, tmp_path, steady_clock):
    """With a clock that goes on by a second per look, each step takes one."""
    source = f"--init={finished / 'best.keras'}"
    more = (source, "--frozen_epochs=2", "--epochs=3", "--data_memory=0")
    found = expected(simple(images, tmp_path / "run", *more))
    assert not (tmp_path / "run").exists()
    lines = dict(found)
    assert lines["images, stored"] == "8 x 20 x 20 x 3"
    assert lines["images, augmented"] == "8 x 16 x 16 x 3"
    network = keras.models.load_model(finished / "best.keras")
    shape = network.get_layer("trunk").output_shape[1:]
    assert lines["trunk"] == f"8 x {' x '.join(map(str, shape))}"
    assert (lines["2 branches"], lines["logits"]) == ("8 x 1", "8 x 2")
    counted = [f"{sp.cost(x).params:,}" for x in (network, sp.plain_twin(network))]
    assert lines["phl_resnet18"].split()[1] == counted[0]
    assert lines["plain_resnet18"].split()[1] == counted[1]
    assert "decoded images" not in lines  # they are decoded when they are needed
    assert lines["the trunk's features"].endswith("B")
    # 2 steps of 8 images, of 20, and one of validation, of 6.
    steps = [value for key, value in found if key in ("training step", "validation step")]
    assert steps == ["1 s, 2 an epoch", "1 s, 1 an epoch"] * 2
    decoding = 2 / 26  # seconds for an image: two looks, 26 images
    assert float(lines["decoding of a batch"].split()[0]) == pytest.approx(8 * decoding, rel=0.01)
    # Features of 4 views of 20 images, and of 6: 1 / 20 s each, and their decoding.
    features = (20 * 4 + 6) * (1 / 20 + decoding)
    assert lines["features of all views"] == f"{features:.0f} s"
    epochs = [value for key, value in found if key == "an epoch"]
    assert epochs == ["3 s, 2 of them", "5 s, 3 of them"]  # the second one decodes 26 images
    total = features + (1 + 2 * 3) + (1 + 3 * (3 + 26 * decoding))
    assert lines["all"] == f"{total:.0f} s"


def test_what_a_dry_run_refuses(images, finished, tmp_path):
    flags = simple(images, tmp_path / "run")
    with pytest.raises(ValueError, match="says 2. Give .* --devices 1 --batch_size 4"):
        expected([*flags, "--devices=2"])
    source = f"--init={finished / 'best.keras'}"
    with pytest.raises(ValueError, match="--frozen_memory allows 1e-06 GiB"):
        expected([*flags, source, "--frozen_epochs=1", "--frozen_memory=1e-6"])
