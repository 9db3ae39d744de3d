r"""Writes the runs of a file's stream for an app, which computes only what changed in a frame.

    python tflite/stream.py net.tflite net.stream

The folder has a .tflite file per run and `manifest.json`. The Kotlin class `Stream` of
tflite/android runs it, with the same bits as the file; `RegionStream` runs that of a segmentation
network. Needs NumPy only.
"""

from keras_seqpar.utils.commands import flag_group, run

from pathlib import Path

from absl import flags

from keras_seqpar import selective

args = flags.FLAGS
with flag_group("File"):
    flags.DEFINE_string("signature", None, "Of a file with several; by default the first.")


def main(argv: list[str]) -> None:
    """Writes."""
    _, file, folder = argv
    if Path(file).is_dir():
        raise ValueError(f"{file} is a folder. Only a .tflite file can be written as a stream.")
    found = Path(folder).expanduser()
    selective.export_stream(file, found, signature=args.signature)
    files = list(found.glob("*.tflite"))
    size = sum(x.stat().st_size for x in files)
    print(f"{found}: {len(files)} files of {size:,} bytes in all")


if __name__ == "__main__":
    run(main, positional=["net.tflite", "net.stream"])
