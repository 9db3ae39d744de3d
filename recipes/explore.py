"""Opens the explorer with a network and real images: what it costs, where it errs.

    python recipes/explore.py runs/digits/best.keras
    python recipes/explore.py preset:imagenette_mobile --dataset imagenette --data_dir PATH
    python recipes/explore.py best.keras --dataset folder:PATH --export out/explorer

The network is a .keras file of recipes/train.py, or `preset:` and a name for one that comes with
the package. It is converted to int8, calibrated on training images. The page shows one validation
image per category to begin with. Its second page, "Mistakes and accuracy", has the validation
images: the mistakes, the confusion, the accuracy of any cutout, and the effect of top-down gains.
With --export both are written as files that any static server can serve, and nothing is started.
Needs npm once, and the extras `mobile` and `train`.
"""

from keras_seqpar.utils.commands import flag_group, run

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter's

import tempfile
from pathlib import Path

from absl import flags

from keras_seqpar.mobile.checking.datasets import images_of, load_dataset
from keras_seqpar.mobile.explorer.page_data import cutter, write_page_data
from keras_seqpar.mobile.explorer.server import PageServer, export, install
from keras_seqpar.mobile.explorer.validation import example_images, write_validation
from keras_seqpar.presets.sources import PRESET, load_source, stem_of
from keras_seqpar.training.gain_sweeps import parse_gain_grid

PAGE = Path(__file__).resolve().parents[1] / "tflite" / "web"

args = flags.FLAGS
with flag_group("Images"):
    flags.DEFINE_string("dataset", "digits", "digits, imagenette, folder:PATH or archive:PATH.")
    flags.DEFINE_string("data_dir", None, "Where tensorflow-datasets keeps its data.")
    flags.DEFINE_integer("images", 500, "Validation images to show; 0 for all.", lower_bound=0)
    flags.DEFINE_integer(
        "calibration", 300, "How many training images set the ranges of int8.", lower_bound=1
    )
    flags.DEFINE_list("gains", ["0.5", "0.75", "1", "1.25", "1.5", "2", "3"], "Gains to sweep.")
with flag_group("Page"):
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.")
    flags.DEFINE_integer("port", 8000, "0 for any free port.", lower_bound=0)
    flags.DEFINE_string("export", None, "Write static files to this folder, do not serve.")


def main(argv: list[str]) -> None:
    """Converts, measures, and serves or exports."""
    network = load_source(argv[1])
    gains = parse_gain_grid(args.gains)
    install(PAGE)
    dataset = load_dataset(args.dataset, network, data_dir=args.data_dir)
    calibration, _ = images_of(dataset, "train", network, args.calibration)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        print("Converting the network ...", flush=True)
        write_page_data(
            network,
            data,
            title=stem_of(argv[1]),
            source=None if argv[1].startswith(PRESET) else argv[1],
            calibration=calibration,
            examples=example_images(network, dataset),
        )
        write_validation(network, dataset, data, limit=args.images, gains=gains)
        if args.export:
            export(PAGE, data, args.export)
            print(f"Static files: {args.export}")
            return
        cut = cutter(network, calibration)
        with PageServer(PAGE, data, host=args.host, port=args.port, cut=cut) as server:
            server.run()


if __name__ == "__main__":
    run(main, positional=["NETWORK"])
