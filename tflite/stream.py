r"""Writes the runs of a file's stream for an app, which computes only what changed in a frame.

    python tflite/stream.py net.tflite net.stream
    python tflite/stream.py street.tflite street.regions --crops 44x56,92x112

The folder has a .tflite file per run and `manifest.json`. The Kotlin class `Stream` of
tflite/android runs it, with the same bits as the file. With `--crops` it has a file per size, for
the class `RegionStream`: segmentation of crops around what changed. Needs NumPy only.
"""

from keras_seqpar.utils.commands import flag_group, run

import re
from pathlib import Path

from absl import flags

from keras_seqpar import selective

SIZE = re.compile("([0-9]+)x([0-9]+)")

args = flags.FLAGS
with flag_group("File"):
    flags.DEFINE_list("crops", [], "Sizes of crops, HEIGHTxWIDTH, of a segmentation network.")
    flags.DEFINE_string("signature", None, "Of a file with several; by default the first.")


def size_of(text: str) -> tuple[int, int]:
    """Height and width of a size of crops."""
    if (match := SIZE.fullmatch(text)) is None:
        raise ValueError(f"--crops takes sizes like 44x56, got {text!r}.")
    return int(match[1]), int(match[2])


def main(argv: list[str]) -> None:
    """Writes."""
    _, file, folder = argv
    found, options = Path(folder).expanduser(), {"signature": args.signature}
    if args.crops:
        selective.export_region_stream(file, found, [size_of(x) for x in args.crops], **options)
    else:
        selective.export_stream(file, found, **options)
    files = list(found.glob("*.tflite"))
    size = sum(x.stat().st_size for x in files)
    print(f"{found}: {len(files)} files of {size:,} bytes in all")


if __name__ == "__main__":
    run(main, positional=["net.tflite", "net.stream"])
