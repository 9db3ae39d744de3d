"""Converts a segmentation network with crops of fixed sizes, and measures what they save.

    python tflite/crops.py convert runs/segment/best.keras --crops 56x68,92x112 --margin 8 \
        --image_size 180x240 --data camvid-240x180.zip --output out/street.tflite
    python tflite/crops.py measure out/street.tflite --margin 8 --reach 6 --threshold 24 \
        --least 12 --data camvid-240x180.zip --videos highway.avi,mall.mpg --output out/crops.json

`convert` compares the file with Keras on images and keeps it only if enough positions have the
same class. `measure` prints the latency of every signature, in turns, and what a stream of crops
takes beside one of whole frames, frame by frame in turns: on images with a rectangle of another
image pasted in, and on videos, resized to the file's frames. Agreement is the share of positions
with the class of the whole frame; "of crops", of the frame as it was accepted, without the noise
that the threshold lets pass; "from frame to frame" is how much whole frames of a video agree with
each other.

Images are the test images of CamVid (--data), else drawn ones. A network of 5 channels is given
where in the frame a pixel lies, as keras_seqpar.data.camvid does.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import re
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import shared
from absl import app, flags, logging

from keras_seqpar import mobile
from keras_seqpar.data import camvid
from keras_seqpar.utils.files import write_file

sys.path.append(str(Path(__file__).resolve().parent.parent / "recipes"))
import video
from bench_segmentation import paste, summary

DATA = flags.DEFINE_string("data", None, "The zip with CamVid; without it, images are drawn.")
IMAGES = flags.DEFINE_integer("images", 50, "How many to compare on.", lower_bound=1)
OUTPUT = flags.DEFINE_string(
    "output", None, "convert: the .tflite file; measure: a JSON file for the results."
)
THREADS = flags.DEFINE_integer("threads", 1, "CPU threads of the interpreter.", lower_bound=1)
CROPS = flags.DEFINE_list("crops", [], "convert: sizes of crops, HEIGHTxWIDTH.")
IMAGE_SIZE = flags.DEFINE_string("image_size", None, "convert: of frames, HEIGHTxWIDTH.")
QUANTIZATION = flags.DEFINE_enum(
    "quantization", "float32", mobile.QUANTIZATIONS, "convert: how small."
)
INPUT_DTYPE = flags.DEFINE_enum(
    "input_dtype", "float32", mobile.DTYPES, "convert: for int8, of the frames."
)
CALIBRATION = flags.DEFINE_integer(
    "calibration", 100, "convert: for int8, how many training images.", lower_bound=1
)
MIN_AGREEMENT = flags.DEFINE_float(
    "min_agreement", 0.98, "convert: least share of positions of Keras's class."
)
VIDEOS = flags.DEFINE_list("videos", [], "measure: of a camera that stands still.")
FRAMES = flags.DEFINE_integer("frames", 200, "measure: per video.", lower_bound=2)
SHARES = flags.DEFINE_list("shares", ["0.02", "0.05", "0.1"], "measure: of the area, pasted.")
RUNS = flags.DEFINE_integer("runs", 50, "measure: of every signature.", lower_bound=1)
MARGIN = flags.DEFINE_string("margin", "receptive_field", "Pixels of context, or receptive_field.")
REACH = flags.DEFINE_string("reach", None, "measure: pixels renewed; by default as --margin.")
THRESHOLD = flags.DEFINE_float("threshold", 0.0, "measure: of changes.", lower_bound=0)
LEAST = flags.DEFINE_integer("least", 1, "measure: pixels of a region.", lower_bound=1)
REFRESH = flags.DEFINE_integer("refresh", 150, "measure: frames of a video.", lower_bound=1)


def size(text: str, flag: str) -> tuple[int, int]:
    """`64x96` -> (64, 96)."""
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip())
    if not match:
        raise ValueError(f"--{flag} takes sizes like 64x96, got {text!r}.")
    return int(match[1]), int(match[2])


def pixels(text: str | None) -> int | str | None:
    """A margin from a flag."""
    return int(text) if text and text.isdigit() else text


def images_of(split: str, frame: tuple[int, ...], most: int) -> np.ndarray:
    """Images of the frame's size and channels: of CamVid, else drawn."""
    height, width, channels = frame
    colors = 3 if channels == 5 else channels
    if DATA.value:
        if colors != 3:
            raise ValueError(f"CamVid has 3 channels, the network takes {channels}.")
        found = camvid.load(DATA.value, [split]).splits[split].images
        if found.shape[1:3] != (height, width):
            cv2 = video.opencv()
            found = np.stack([cv2.resize(x, (width, height)) for x in found[:most]])
        found = found[np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)]
    else:
        found = drawn(min(most, 16), height, width, colors)
    return camvid.with_positions(found) if channels == 5 else found


def drawn(count: int, height: int, width: int, channels: int) -> np.ndarray:
    """Rectangles of random colors, with a little noise."""
    rng = np.random.default_rng(0)
    found = np.full((count, height, width, channels), 128, "int16")
    for image in found:
        for _ in range(30):
            top, left = rng.integers(0, height), rng.integers(0, width)
            down, across = rng.integers(2, height // 2), rng.integers(2, width // 2)
            image[top : top + down, left : left + across] = rng.integers(0, 256, channels)
    return (found + rng.integers(-8, 9, found.shape)).clip(0, 255).astype("uint8")


def best(scores: np.ndarray) -> np.ndarray:
    """The class at every position."""
    return scores[..., 0] > 0.5 if scores.shape[-1] == 1 else scores.argmax(-1)


def convert(source: str) -> None:
    """Converts, compares, keeps."""
    sizes = [size(text, "crops") for text in CROPS.value]
    image_size = size(IMAGE_SIZE.value, "image_size") if IMAGE_SIZE.value else None
    if not OUTPUT.value:
        raise ValueError("Give --output: the .tflite file.")
    model = shared.load_network(source, [])
    frame = (*(image_size or model.inputs[0].shape[1:3]), model.inputs[0].shape[-1])
    if None in frame:
        raise ValueError("The network takes frames of any size: give --image_size.")
    labels = camvid.load(DATA.value, []).categories if DATA.value else None
    calibration = None
    if QUANTIZATION.value in ("int8", "int16x8"):
        calibration = images_of("train", frame, CALIBRATION.value)
    path = Path(OUTPUT.value).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".convert-") as folder:
        made = mobile.convert_crops(
            model,
            Path(folder) / path.name,
            sizes,
            image_size=image_size,
            margin=pixels(MARGIN.value),
            quantization=QUANTIZATION.value,
            calibration=calibration,
            input_dtype=INPUT_DTYPE.value,
            labels=labels if labels and len(labels) == model.outputs[0].shape[-1] else None,
        )
        runner, same = mobile.Runner(made.path, threads=THREADS.value), []
        for image in images_of("test", frame, IMAGES.value):
            wanted = best(np.asarray(model(image[None].astype("float32"), training=False)))
            same.append(float((best(runner(image[None])) == wanted).mean()))
        agreement = float(np.mean(same))
        print(f"{agreement:.2%} of the positions have Keras's class, on {len(same)} images")
        if agreement < MIN_AGREEMENT.value:
            raise ValueError(
                f"{agreement:.2%} of the positions have Keras's class; wanted are "
                f"{MIN_AGREEMENT.value:.2%} (--min_agreement)."
            )
        print(made.move(path))


def streams(path: str, refresh: int | None) -> tuple[mobile.CropStream, mobile.CropStream]:
    """A stream of crops, and one of whole frames."""
    crops = mobile.CropStream(
        path,
        margin=pixels(MARGIN.value),
        reach=pixels(REACH.value),
        threshold=THRESHOLD.value,
        least=LEAST.value,
        refresh=refresh,
        threads=THREADS.value,
    )
    options = {"calibrate": False, "threads": THREADS.value}
    return crops, mobile.CropStream(path, margin=0, refresh=1, **options)


def latencies(path: str) -> list[dict]:
    """Milliseconds of every signature, in turns."""
    first = mobile.Runner(path, threads=THREADS.value)
    runners = [first, *(first.beside(key) for key in first.signatures[1:])]
    times = [[] for _ in runners]
    for turn in range(10):
        for runner, found in zip(runners, times, strict=True):
            found += list(runner.latency(max(1, RUNS.value // 10), warm_up=0 if turn else 3))
    pixels = [int(np.prod(runner.input_shape[1:3])) for runner in runners]
    medians = [statistics.median(found) for found in times]
    return [
        {
            "signature": runner.signature,
            "area": area / pixels[0],
            "milliseconds": median,
            "cost": median / medians[0],
        }
        for runner, area, median in zip(runners, pixels, medians, strict=True)
    ]


def pasted(path: str, share: float) -> dict:
    """Images with a rectangle of another one."""
    crops, whole = streams(path, None)
    frame = crops.layout.frame
    images = images_of("test", frame, IMAGES.value)
    rng, found = np.random.default_rng(round(1e6 * share)), []
    crops(images[0])  # measures the signatures
    for i, image in enumerate(images):
        crops.reset()
        crops(image)
        part = paste(rng, share, frame[:2])
        other = images[(i + rng.integers(1, max(2, len(images)))) % len(images)]
        image = image.copy()
        image[part] = other[part]
        found.append(step(crops, whole, image))
    return {"what": f"{share:.0%} pasted", "frames": len(found), **summary(found, "crops")}


def on_video(path: str, source: str) -> dict:
    """A video, resized to the file's frames."""
    crops, whole = streams(path, REFRESH.value)
    height, width, channels = crops.layout.frame
    clip = video.open_video(source, (width, height))
    found, before, still = [], None, []
    for colors in clip.frames(FRAMES.value):
        frame = camvid.with_positions(colors) if channels == 5 else colors
        found.append(step(crops, whole, frame))
        now = found[-1]["map"]
        still += [] if before is None else [float((now == before).mean())]
        before = now
    clip.close()
    if len(found) < 2:
        raise ValueError(f"{source} has fewer than two frames.")
    found = found[1:]  # the first frame is whole, and has the measurement
    row = {"what": clip.name, "frames": len(found), **summary(found, "crops")}
    return {**row, "from_frame_to_frame": float(np.mean(still))}


def step(crops: mobile.CropStream, whole: mobile.CropStream, frame: np.ndarray) -> dict:
    """One frame through both streams."""
    ours, theirs = crops(frame), whole(frame)
    accepted = whole(crops.accepted).output
    return {
        "map": theirs.output,
        "ms": ours.milliseconds,
        "ms_whole": theirs.milliseconds,
        "agreement": float((ours.output == theirs.output).mean()),
        "crop_agreement": float((ours.output == accepted).mean()),
        "changed": ours.changed,
        "recomputed": ours.recomputed,
        "crops": len(ours.boxes),
        "full": ours.mode == "full",
    }


def tables(signatures: list[dict], changes: list[dict]) -> str:
    """The results in Markdown."""
    lines = ["| signature | area | ms | cost |", "|---|---|---|---|"]
    for x in signatures:
        values = f"{x['area']:.1%} | {x['milliseconds']:.2f} | {x['cost']:.1%}"
        lines.append(f"| {x['signature']} | {values} |")
    head = "frames | changed | recomputed | crops | full | whole ms | stream ms | times faster"
    lines += [
        "",
        f"| | {head} | in all | agreement | of crops | from frame to frame |",
        "|---" * 13 + "|",
    ]
    for x in changes:
        still = f"{x['from_frame_to_frame']:.2%}" if "from_frame_to_frame" in x else "-"
        lines.append(
            f"| {x['what']} | {x['frames']} | {x['changed']:.1%} | {x['recomputed']:.1%} | "
            f"{x['crops']:.1f} | {x['full']:.0%} | {x['ms_whole']:.1f} | {x['ms']:.1f} | "
            f"{x['faster']:.2f} | {x['faster_in_all']:.2f} | {x['agreement']:.2%} | "
            f"{x['crop_agreement']:.2%} | {still} |"
        )
    return "\n".join(lines)


def measure(path: str) -> None:
    """Latencies of the signatures, pasted changes, videos."""
    shares = [float(share) for share in SHARES.value]
    if not all(0 < share <= 1 for share in shares):
        raise ValueError(f"--shares must be numbers above 0 and up to 1, got {SHARES.value}.")
    streams(path, None)  # refuses files without crops
    signatures = latencies(path)
    changes = [pasted(path, share) for share in shares]
    changes += [on_video(path, source) for source in VIDEOS.value]
    print(tables(signatures, changes))
    if OUTPUT.value:
        output = Path(OUTPUT.value).expanduser()
        output.parent.mkdir(parents=True, exist_ok=True)
        said = {flag.name: flag.value for flag in (MARGIN, REACH, THRESHOLD, LEAST, REFRESH)}
        facts = {"file": path, "flags": said, "threads": THREADS.value}
        text = json.dumps({**facts, "signatures": signatures, "changes": changes}, indent=1)
        write_file(output, text + "\n")


def main(arguments: list[str]) -> None:
    """`convert NET.keras` or `measure FILE.tflite`."""
    commands = {"convert": convert, "measure": measure}
    if len(arguments) != 3 or arguments[1] not in commands:
        raise app.UsageError("Say convert NET.keras or measure FILE.tflite.")
    logging.set_verbosity(logging.ERROR)
    commands[arguments[1]](arguments[2])


if __name__ == "__main__":
    try:
        app.run(main)
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"Error: {error}")
