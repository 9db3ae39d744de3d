"""Compares segmentation where something changed with segmentation of whole frames, in one run.

    python benchmarks/segmentation.py runs/segment/last.keras --data camvid-240x180.zip
    python benchmarks/segmentation.py int8.tflite,float32.tflite --data camvid-240x180.zip \
        --threads 1,2 --margins 7,receptive_field

A box of another test image is pasted into each test image at a random place. The rivals are the
whole file, its exact stream (`selective.stream`), and region streams (`selective.region_stream`)
with the margins of --margins. They run in turns on the same frames, and all give every pixel a
class. Agreement is the share of positions with the class of the whole file.

A .keras network is converted to float32 and to int8, calibrated on training images, in --output.
Needs no Keras for .tflite files. Writes segmentation.md and segmentation.json.
"""

from keras_seqpar.utils.commands import flag_group, own_flags, run

import json
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from keras_seqpar.benchmarking.scenes import SceneRivals, measure_pasted, scene_table
from keras_seqpar.data import camvid
from keras_seqpar.selective.regions import parse_margin
from keras_seqpar.utils.files import write_files

args = flags.FLAGS
with flag_group("Data"):
    flags.DEFINE_string("data", None, "The zip with CamVid.")
    flags.DEFINE_list("shares", ["0.02", "0.05", "0.1"], "Shares of the area that are pasted.")
    flags.DEFINE_integer("images", 40, "Test images per share.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the places.")
with flag_group("Rivals"):
    flags.DEFINE_list("margins", ["7", "receptive_field"], "Margins of region streams.")
    flags.DEFINE_list("threads", ["1"], "Numbers of CPU threads.")
with flag_group("Output"):
    flags.DEFINE_string("output", "out/segmentation", "Folder to write to.")


def files_of(network: str, folder: Path, size: tuple[int, int]) -> list[Path]:
    """The .tflite files to measure; a Keras network is converted."""
    if not network.endswith(".keras"):
        return [Path(x) for x in network.split(",")]
    from keras_seqpar import mobile  # these import Keras
    from keras_seqpar.training.tasks.segmenter import load_segmenter

    scenes = camvid.load(args.data, ["train"])
    model = load_segmenter(network, len(scenes.categories))
    options: dict[str, Any] = {"image_size": size, "labels": False}
    images = camvid.with_positions(scenes.splits["train"].images[:100])
    whole = mobile.convert(model, folder / "float32.tflite", quantization="float32", **options)
    int8 = mobile.convert(
        model, folder / "int8.tflite", quantization="int8", calibration=images,
        input_dtype="uint8", **options,
    )  # fmt: skip
    return [int8.path, whole.path]


def main(argv: list[str]) -> None:
    """Measures, prints and writes."""
    shares = [float(share) for share in args.shares]
    if not all(0 < share <= 1 for share in shares):
        raise ValueError(f"--shares must be numbers above 0 and up to 1, got {args.shares}.")
    if not args.data:
        raise ValueError("Give --data: the zip with CamVid.")
    margins = [parse_margin("margins", x) for x in args.margins]
    images = camvid.load(args.data, ["test"]).splits["test"].images
    picked = np.linspace(0, len(images) - 1, min(args.images, len(images))).astype(int)
    images = camvid.with_positions(images[picked])
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in files_of(argv[1], folder, images.shape[1:3]):
        for threads in map(int, args.threads):
            rivals = SceneRivals(path, margins, threads=threads)
            rows += [
                x for share in shares for x in measure_pasted(rivals, images, share, seed=args.seed)
            ]
    print(scene_table(rows))
    report = {"flags": own_flags() | {"network": argv[1]}, "rows": rows}
    write_files(
        {
            folder / "segmentation.md": scene_table(rows) + "\n",
            folder / "segmentation.json": json.dumps(report, indent=2) + "\n",
        }
    )


if __name__ == "__main__":
    run(main, positional=["NETWORK.keras|FILE.tflite,FILE.tflite"])
