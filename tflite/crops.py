r"""Converts a segmentation network with crops of fixed sizes, and measures what they save.

    python tflite/crops.py convert runs/segment/best.keras --crops 56x68,92x112 --margin 8 \
        --image_size 180x240 --data camvid-240x180.zip --output out/street.tflite
    python tflite/crops.py measure out/street.tflite --margin 8 --reach 6 --threshold 24 \
        --least 12 --data camvid-240x180.zip --videos highway.avi,mall.mpg --output out/crops.json

`convert` compares the file with Keras on images and keeps it only if enough positions have the
same class. `measure` prints the latency of every signature, in turns, and what a stream of crops
takes beside one of full frames, frame by frame in turns: on images with a rectangle of another
image pasted in, and on videos, resized to the file's frames. Agreement is the share of positions
with the class of the full frame; "of crops", of the frame as it was accepted, without the noise
that is below the threshold; "from frame to frame" is how much full frames of a video agree with
each other.

Images are the test images of CamVid (--data), or drawn where there is no --data. A network of 5
channels also gets the position of every pixel, as `keras_seqpar.data.camvid.with_positions` adds
it.
"""

from keras_seqpar.utils.commands import flag_group, run

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter's

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from keras_seqpar import mobile
from keras_seqpar.data import camvid
from keras_seqpar.data.video import open_video, opencv
from keras_seqpar.mobile.checking.command_flags import define_threads_flag
from keras_seqpar.mobile.checking.crop_measuring import (
    CropStreamPair,
    measure_frames,
    measure_pasted,
    measure_signatures,
    table,
)
from keras_seqpar.networks.loading import load_model
from keras_seqpar.utils.files import make_folder, write_json

DRAWN = 16  # images at most where there is no --data

args = flags.FLAGS
with flag_group("Both"):
    flags.DEFINE_string(
        "output", None, "convert: the .tflite file; measure: a JSON file for the results."
    )
    flags.DEFINE_string("data", None, "The zip with CamVid; without it, images are drawn.")
    flags.DEFINE_integer("images", 50, "How many to compare on.", lower_bound=1)
    flags.DEFINE_string("margin", "receptive_field", "Pixels of context, or receptive_field.")
    define_threads_flag()
with flag_group("convert"):
    flags.DEFINE_list("crops", [], "Sizes of crops, HEIGHTxWIDTH.")
    flags.DEFINE_string("image_size", None, "Of frames, HEIGHTxWIDTH.")
    flags.DEFINE_enum("quantization", "float32", mobile.QUANTIZATIONS, "Of the file.")
    flags.DEFINE_enum("input_dtype", "float32", mobile.DTYPES, "For int8: of the frames.")
    flags.DEFINE_integer("calibration", 100, "For int8: training images.", lower_bound=1)
    flags.DEFINE_float("min_agreement", 0.98, "Least share of positions of Keras's class.")
with flag_group("measure"):
    flags.DEFINE_list("videos", [], "Videos from a fixed camera.")
    flags.DEFINE_integer("frames", 200, "Per video.", lower_bound=2)
    flags.DEFINE_list("shares", ["0.02", "0.05", "0.1"], "Of the area, pasted.")
    flags.DEFINE_integer("runs", 50, "Of every signature.", lower_bound=1)
    flags.DEFINE_string("reach", None, "Pixels renewed; by default as --margin.")
    flags.DEFINE_float("threshold", 0.0, "Of changes.", lower_bound=0)
    flags.DEFINE_integer("least", 1, "Pixels of a region.", lower_bound=1)
    flags.DEFINE_integer("refresh", 150, "Frames of a video.", lower_bound=1)


def parse_size(text: str, flag: str) -> tuple[int, int]:
    """`64x96` -> (64, 96)."""
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip())
    if not match:
        raise ValueError(f"--{flag} takes sizes like 64x96, got {text!r}.")
    return int(match[1]), int(match[2])


def parse_pixels(text: str | None) -> int | str | None:
    """The value of --margin or --reach."""
    return int(text) if text and text.isdigit() else text


def images_of(split: str, frame_shape: Sequence[int], limit: int) -> np.ndarray:
    """Images of the frame's size and channels: of CamVid, or drawn."""
    height, width, channels = frame_shape
    colors = 3 if channels == 5 else channels
    if args.data:
        if colors != 3:
            raise ValueError(f"CamVid has 3 channels, the network takes {channels}.")
        images = camvid.load(args.data, [split]).splits[split].images
        if images.shape[1:3] != (height, width):
            resize = opencv().resize
            images = np.stack([resize(image, (width, height)) for image in images[:limit]])
        images = images[np.linspace(0, len(images) - 1, min(limit, len(images))).astype(int)]
    else:
        images = draw_images(min(limit, DRAWN), height, width, colors)
    return camvid.with_positions(images) if channels == 5 else images


def draw_images(count: int, height: int, width: int, channels: int) -> np.ndarray:
    """Rectangles of random colors, with a little noise."""
    rng = np.random.default_rng(0)
    images = np.full((count, height, width, channels), 128, "int16")
    for image in images:
        for _ in range(30):
            top, left = rng.integers(0, height), rng.integers(0, width)
            down, across = rng.integers(2, height // 2), rng.integers(2, width // 2)
            image[top : top + down, left : left + across] = rng.integers(0, 256, channels)
    return (images + rng.integers(-8, 9, images.shape)).clip(0, 255).astype("uint8")


def classes_of(scores: np.ndarray) -> np.ndarray:
    """The class at every position."""
    return scores[..., 0] > 0.5 if scores.shape[-1] == 1 else scores.argmax(-1)


def convert(source: str) -> None:
    """Converts, compares, keeps."""
    sizes = [parse_size(text, "crops") for text in args.crops]
    image_size = parse_size(args.image_size, "image_size") if args.image_size else None
    if not args.output:
        raise ValueError("Give --output: the .tflite file.")
    model = load_model(source)
    frame_shape = (*(image_size or model.inputs[0].shape[1:3]), model.inputs[0].shape[-1])
    if None in frame_shape:
        raise ValueError("The network takes frames of any size: give --image_size.")
    labels = camvid.load(args.data, []).categories if args.data else None
    calibration = None
    if args.quantization in ("int8", "int16x8"):
        calibration = images_of("train", frame_shape, args.calibration)
    path = make_folder(Path(args.output).expanduser())
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".convert-") as folder:
        made = mobile.convert_crops(
            model,
            Path(folder) / path.name,
            sizes,
            image_size=image_size,
            margin=parse_pixels(args.margin),
            quantization=args.quantization,
            calibration=calibration,
            input_dtype=args.input_dtype,
            labels=labels if labels and len(labels) == model.outputs[0].shape[-1] else None,
        )
        runner, shares = mobile.Runner(made.path, threads=args.threads), []
        for image in images_of("test", frame_shape, args.images):
            scores = np.asarray(model(image[None].astype("float32"), training=False))
            same = classes_of(runner(image[None])) == classes_of(scores)
            shares.append(float(same.mean()))
        agreement = float(np.mean(shares))
        print(f"{agreement:.2%} of the positions have Keras's class, on {len(shares)} images")
        if agreement < args.min_agreement:
            raise ValueError(
                f"{agreement:.2%} of the positions have Keras's class; wanted are "
                f"{args.min_agreement:.2%} (--min_agreement)."
            )
        print(made.move(path))


def make_streams(path: str, refresh: int | None) -> CropStreamPair:
    """A stream of crops as the flags describe it, and one of full frames."""
    return CropStreamPair(
        path,
        margin=parse_pixels(args.margin),
        reach=parse_pixels(args.reach),
        threshold=args.threshold,
        least=args.least,
        refresh=refresh,
        threads=args.threads,
    )


def measure_video(path: str, source: str) -> dict:
    """The row of a video, resized to the file's frames."""
    pair = make_streams(path, args.refresh)
    height, width, channels = pair.crops.layout.frame
    with open_video(source, (width, height)) as clip:
        frames = clip.frames(args.frames)
        if channels == 5:
            frames = map(camvid.with_positions, frames)
        return measure_frames(pair, frames, clip.name)


def measure(path: str) -> None:
    """Latencies of the signatures, pasted changes, videos."""
    shares = [float(share) for share in args.shares]
    if not all(0 < share <= 1 for share in shares):
        raise ValueError(f"--shares must be numbers above 0 and up to 1, got {args.shares}.")
    frame_shape = make_streams(path, None).crops.layout.frame  # refuses files without crops
    signatures = measure_signatures(path, runs=args.runs, threads=args.threads)
    images = images_of("test", frame_shape, args.images)
    changes = [measure_pasted(make_streams(path, None), images, share) for share in shares]
    changes += [measure_video(path, source) for source in args.videos]
    print(table(signatures, changes))
    if args.output:
        names = ("margin", "reach", "threshold", "least", "refresh")
        given = {name: getattr(args, name) for name in names}
        facts = {"file": path, "flags": given, "threads": args.threads}
        results = {**facts, "signatures": signatures, "changes": changes}
        write_json(Path(args.output).expanduser(), results)


def main(argv: list[str]) -> None:
    """`convert NET.keras` or `measure FILE.tflite`."""
    commands = {"convert": convert, "measure": measure}
    if argv[1] not in commands:
        raise ValueError("Give convert NET.keras or measure FILE.tflite.")
    commands[argv[1]](argv[2])


if __name__ == "__main__":
    run(main, positional=["convert|measure", "file"])
