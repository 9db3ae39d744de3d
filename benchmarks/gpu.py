"""ResNet-50 from scratch on one GPU: a PHL network and the plain one, beside the board.

    python recipes/pack.py imagenette.zip --data_dir DIR --image_size 128 --quality 80
    KERAS_BACKEND=jax python benchmarks/gpu.py imagenette.zip
    KERAS_BACKEND=jax python benchmarks/gpu.py imagenette.zip -- --epochs=80

Trains ResNet-50 with the plan `early` and the plain ResNet-50 at 128 pixels by the setting one_gpu,
20 epochs each, and writes OUTPUT/gpu.json: top-1 of the last epoch, seconds, parameters, MACs and
the device. What follows `--` are flags of recipes/train.py for both networks. A run that was
interrupted goes on when the command is given again; a finished one is not trained again.

Needs JAX (or torch), Keras, NumPy, Pillow and absl-py, no TensorFlow. Meant for one H100 and less
than 10 minutes; not run on a GPU yet: there was none.
"""

from keras_seqpar.utils.commands import flag_group, run

import json
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
from absl import flags

import keras_seqpar as sp
from keras_seqpar.networks.loading import load_network
from keras_seqpar.training.config import RunConfig
from keras_seqpar.training.flags import parse_train_flags
from keras_seqpar.training.runs.flags import has_begun
from keras_seqpar.training.tasks import classification
from keras_seqpar.utils.files import write_json

# Top-1 in % at 128 pixels on the board of github.com/fastai/imagenette, by epochs.
BOARD = {5: 85.77, 20: 91.57, 80: 93.55, 200: 94.24}
NETWORKS = {"PHL early": "--plan=early", "plain": "--network=plain"}

args = flags.FLAGS
with flag_group("Output"):
    flags.DEFINE_string("output", "runs/gpu", "Folder for the networks and gpu.json.")


def main(argv: list[str]) -> None:
    """Trains both networks and prints their accuracies beside the board."""
    folder = Path(args.output)
    path = folder / "gpu.json"
    results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for name, flag in NETWORKS.items():
        shared = ["--setting=one_gpu", f"--dataset=archive:{argv[1]}", "--epochs=20", flag]
        config, _ = parse_train_flags([*shared, *argv[2:]])
        key = f"{name}, {config.optimizer.epochs} epochs"
        if key not in results:
            output = folder / key.replace(", ", "-").replace(" ", "_")
            resumed = (output / "flags.json").exists() and has_begun(output)
            started = time.perf_counter()
            done = classification.train(config, RunConfig(str(output), resume=resumed))
            cost = sp.cost(load_network(output / "last.keras"))
            results[key] = {
                "top1": done.history[-1]["val_accuracy"],
                "seconds": time.perf_counter() - started,  # of the last call, if it was resumed
                "parameters": cost.params,
                "macs": cost.macs,
                "image_size": config.data.image_size,
                "backend": keras.backend.backend(),
                "device": ", ".join(keras.distribution.list_devices()),
            }
            write_json(path, results)
        found = results[key]
        print(
            f"{key}: {found['top1']:.2%} in {found['seconds']:.0f} s on {found['device']}, "
            f"{found['parameters']:,} parameters, {found['macs']:,} MACs."
        )
    rows = ", ".join(f"{top1} % ({epochs} epochs)" for epochs, top1 in BOARD.items())
    print(f"The board at 128 pixels: {rows}.")


if __name__ == "__main__":
    run(main, positional=["ARCHIVE", "FLAGS..."], stopped="Stopped. The same command goes on.")
