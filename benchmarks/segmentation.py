"""Segmentation of crops around changes against segmentation of whole frames.

    python recipes/bench_segmentation.py runs/segment/last.keras --data camvid-240x180.zip \
        --videos highway.avi,mall.mpg --output out/segmentation

Test images get a rectangle of another test image pasted in, of a share of the area and at a
random place; videos run as they are. Every frame goes through a stream, and through one that
computes the whole frame each time, in turns: both by the same compiled network. The tables have
how many times faster the stream is (medians, and in all), how many positions agree with the whole
run of the frame as it came and, "of crops", of the frame as it was accepted, without the noise
that the threshold lets pass; and the mean IoU of both against the images' labels, pasted
likewise. Videos have no labels; for them there is how much whole runs agree with each other from
frame to frame. Writes segmentation.md and segmentation.json.
"""

import statistics
import sys
from pathlib import Path

import bench_selective
import keras
import numpy as np
import video
from options import Options

from keras_seqpar import selective
from keras_seqpar.data import camvid
from keras_seqpar.training.tasks.segmenter import load_segmenter
from keras_seqpar.utils.files import make_folder, replacing, write_json


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__, first="model")
    options.group(
        "Data",
        ("string", "data", None, "The zip with CamVid."),
        ("list", "videos", [], "Videos of a camera that stands still."),
        ("list", "shares", ["0.02", "0.05", "0.1"], "Of the area that are pasted."),
        ("integer", "images", 233, "Test images per share.", 1),
        ("integer", "frames", 200, "Frames per video.", 2),
        ("integer", "seed", 0, "Of places."),
    )
    options.group(
        "Stream",
        ("string", "margin", "8", "Pixels of context, or receptive_field."),
        ("string", "reach", "6", "Pixels around a change that are renewed, or receptive_field."),
        ("float", "threshold", 24.0, "From which difference on a pixel changed.", 0.0),
        ("integer", "least", 12, "Changed pixels that a region must have.", 1),
        ("integer", "refresh", 150, "Frames of a video from one full run to the next.", 1),
        bench_selective.FREEZE,
    )
    options.group("Output", ("string", "output", "out/segmentation", "Folder to write to."))
    return options


def pixels(name: str, text: str) -> int | str:
    """A margin from a flag.

    Raises:
        ValueError: neither a whole number nor "receptive_field".
    """
    if text == "receptive_field" or text.isdigit():
        return int(text) if text.isdigit() else text
    raise ValueError(f"--{name} must be a whole number or receptive_field, got {text!r}.")


def make_streams(network: keras.Model, shape, chosen, threshold=None) -> tuple:
    """A stream of crops, and one of whole frames."""
    options = {
        "threshold": chosen.threshold if threshold is None else threshold,
        "input_shape": tuple(shape),
        "freeze": bench_selective.frozen(chosen),
    }
    crops = selective.SegmentationStream(
        network,
        margin=pixels("margin", chosen.margin),
        reach=pixels("reach", chosen.reach),
        least=chosen.least,
        refresh=chosen.refresh,
        **options,
    )
    return crops, selective.SegmentationStream(network, refresh=1, calibrate=False, **options)


def paste(rng: np.random.Generator, share: float, shape) -> tuple[slice, slice]:
    """A rectangle of the frame's proportions, of a share of its area, at a random place."""
    sides = [max(1, round(size * share**0.5)) for size in shape]
    at = [int(rng.integers(0, size - side + 1)) for size, side in zip(shape, sides, strict=True)]
    return tuple(slice(a, a + side) for a, side in zip(at, sides, strict=True))


def on_images(network, images: camvid.Split, classes: int, chosen) -> list[dict]:
    """One row per share of pasted images."""
    shape = images.labels.shape[1:]
    crops, whole = make_streams(network, (*shape, 5), chosen)
    rows = []
    for share in map(float, chosen.shares):
        rng = np.random.default_rng([chosen.seed, round(1e6 * share)])
        matrices = [np.zeros((classes, classes), int) for _ in range(2)]
        found = []
        for i in range(min(chosen.images, len(images))):
            other = int(rng.integers(1, len(images))) + i
            part = paste(rng, share, shape)
            image, labels = images.images[i].copy(), images.labels[i].copy()
            crops.reset()
            crops(camvid.with_positions(image))
            image[part] = images.images[other % len(images)][part]
            labels[part] = images.labels[other % len(images)][part]
            frame = camvid.with_positions(image)
            pair = step(crops, whole, frame)
            found.append(pair)
            for matrix, said in zip(matrices, pair["maps"], strict=True):
                matrix += camvid.confusion(labels, said, classes)
        row = {"what": f"{share:.0%} pasted", "frames": len(found), **summary(found)}
        row["miou"], row["miou_whole"] = (float(np.nanmean(camvid.ious(m))) for m in matrices)
        rows.append(row)
    return rows


def on_video(network, path: str, chosen) -> dict:
    """The row of a video."""
    clip = video.open_video(path)
    crops, whole = make_streams(network, (clip.height, clip.width, 5), chosen)
    found, flicker, before = [], [], None
    for frame in clip.frames(chosen.frames):
        found.append(step(crops, whole, camvid.with_positions(frame)))
        now = found[-1].pop("maps")[1]
        flicker += [] if before is None else [float((now == before).mean())]
        before = now
    clip.close()
    found = found[1:]  # the first frame is whole in both, and has the calibration
    if not found:
        raise ValueError(f"{path} has fewer than two frames.")
    still = {"whole_from_frame_to_frame": float(np.mean(flicker))}
    return {"what": clip.name, "frames": len(found), **summary(found), **still}


def step(crops, whole, frame: np.ndarray) -> dict:
    """One frame through both streams."""
    ours, theirs = crops(frame, compare=True), whole(frame)
    return {
        "maps": (ours.output[0], theirs.output[0]),
        "ms": ours.stats.milliseconds,
        "ms_whole": theirs.stats.milliseconds,
        "agreement": ours.stats.agreement,
        "crop_agreement": ours.stats.crop_agreement,
        "changed": ours.stats.changed,
        "recomputed": ours.stats.recomputed,
        "regions": ours.stats.regions,
        "full": ours.stats.mode == "full",
    }


def summary(found: list[dict], count: str = "regions") -> dict:
    """Means over frames; times are medians, `faster_in_all` is of the sums, full runs included.

    Args:
        found: per frame what `step` gives.
        count: under which name it has the number of crops.
    """
    keys = ("changed", "recomputed", count, "agreement", "crop_agreement", "full")
    mean = {key: float(np.mean([x[key] for x in found])) for key in keys}
    times = {key: [x[key] for x in found] for key in ("ms", "ms_whole")}
    return mean | {
        "least_agreement": min(x["agreement"] for x in found),
        "ms": statistics.median(times["ms"]),
        "ms_whole": statistics.median(times["ms_whole"]),
        "faster": statistics.median(times["ms_whole"]) / statistics.median(times["ms"]),
        "faster_in_all": sum(times["ms_whole"]) / sum(times["ms"]),
    }


def table(rows: list[dict]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| | frames | changed | recomputed | crops | whole ms | stream ms | times faster | in all "
        "| agreement | of crops | mean IoU | of whole |",
        "|---|" + "---|" * 12,
    ]
    for x in rows:
        scores = [f"{x[key]:.2%}" if key in x else "-" for key in ("miou", "miou_whole")]
        lines.append(
            f"| {x['what']} | {x['frames']} | {x['changed']:.1%} | {x['recomputed']:.1%} | "
            f"{x['regions']:.1f} | {x['ms_whole']:.1f} | {x['ms']:.1f} | {x['faster']:.2f} | "
            f"{x['faster_in_all']:.2f} | {x['agreement']:.2%} | {x['crop_agreement']:.2%} | "
            + " | ".join(scores)
            + " |"
        )
        if "whole_from_frame_to_frame" in x:
            lines.append(
                f"| its whole runs, from frame to frame | {x['frames']} | | | | | | | | "
                f"{x['whole_from_frame_to_frame']:.2%} | | | |"
            )
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, _ = make_options().parse(argv)
        if not all(0 < float(share) <= 1 for share in chosen.shares):
            raise ValueError(f"--shares must be numbers above 0 and up to 1, got {chosen.shares}.")
        if not chosen.data:
            raise ValueError("Give --data: the zip with CamVid.")
        scenes = camvid.load(chosen.data, ["test"])
        classes = len(scenes.categories)
        network = load_segmenter(chosen.model, classes)
        rows = on_images(network, scenes.splits["test"], classes, chosen)
        print(table(rows), flush=True)
        rows += [on_video(network, path, chosen) for path in chosen.videos]
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    folder = Path(chosen.output)
    facts = {"flags": vars(chosen), "backend": keras.backend.backend(), "rows": rows}
    write_json(folder / "segmentation.json", facts)
    with replacing(make_folder(folder / "segmentation.md")) as temporary:
        temporary.write_text(table(rows) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
