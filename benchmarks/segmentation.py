"""Compares segmentation of crops around changes with segmentation of full frames.

    python benchmarks/segmentation.py runs/segment/last.keras --data camvid-240x180.zip \
        --videos highway.avi,mall.mpg --output out/segmentation

A box of another test image is pasted into each test image at a random place; videos are used
unchanged. Every frame goes through a stream of crops and then through a stream that computes the
full frame each time, both with the same compiled network. The tables have

- how many times faster the stream of crops is: by the medians, and by the sums ("in all");
- "agreement": the share of positions with the class of the full run of the original frame;
  "of crops": the same for the accepted frame, without the noise that the threshold lets pass;
- the mean IoU of both against the images' labels, with the same box pasted in. Videos have no
  labels; for them the table has the agreement of full runs of successive frames.

Writes segmentation.md and segmentation.json.
"""

from keras_seqpar.utils.commands import flag_group, own_flags, run

import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from absl import flags

from keras_seqpar import selective
from keras_seqpar.data import camvid
from keras_seqpar.data.video import open_video
from keras_seqpar.selective.command_flags import define_freeze_flag
from keras_seqpar.selective.measuring import average_frames, can_freeze, random_box
from keras_seqpar.selective.settings import Detection, Updates, parse_extent
from keras_seqpar.training.tasks.segmenter import load_segmenter
from keras_seqpar.utils.files import write_files

args = flags.FLAGS
with flag_group("Data"):
    flags.DEFINE_string("data", None, "The zip with CamVid.")
    flags.DEFINE_list("videos", [], "Videos of a fixed camera.")
    flags.DEFINE_list("shares", ["0.02", "0.05", "0.1"], "Shares of the area that are pasted.")
    flags.DEFINE_integer("images", 233, "Test images per share.", lower_bound=1)
    flags.DEFINE_integer("frames", 200, "Frames per video.", lower_bound=2)
    flags.DEFINE_integer("seed", 0, "Seed of the places.")
with flag_group("Stream"):
    flags.DEFINE_string("margin", "8", "Pixels of context, or receptive_field.")
    flags.DEFINE_string(
        "reach", "6", "Pixels around a change that are computed again, or receptive_field."
    )
    flags.DEFINE_float(
        "threshold", 24.0, "Difference from which on a pixel counts as changed.", lower_bound=0.0
    )
    flags.DEFINE_integer("least", 12, "Changed pixels that a region must have.", lower_bound=1)
    flags.DEFINE_integer(
        "refresh", 150, "Frames of a video from one full run to the next.", lower_bound=1
    )
    define_freeze_flag()
with flag_group("Output"):
    flags.DEFINE_string("output", "out/segmentation", "Folder to write to.")


class StreamPair:
    """A stream of crops and one of full frames, of one network.

    Args:
        network: gives every pixel a class.
        frame_shape: `(height, width, channels)`.
        detection: how changes are found.
        updates: what is computed again.
    """

    def __init__(
        self,
        network: keras.Model,
        frame_shape: Sequence[int],
        detection: Detection,
        updates: Updates,
    ):
        options = {
            "input_shape": tuple(frame_shape),
            "freeze": can_freeze(updates.freeze),
            **detection.arguments(),
        }
        self.crops = selective.SegmentationStream(
            network,
            margin=updates.margin,
            reach=updates.reach,
            least=updates.least,
            refresh=updates.refresh,
            **options,
        )
        self.full = selective.SegmentationStream(network, refresh=1, calibrate=False, **options)

    def __call__(self, frame: np.ndarray) -> tuple[dict, np.ndarray, np.ndarray]:
        """Measurements of a frame, as `average_frames` takes them, and both maps of classes."""
        ours, theirs = self.crops(frame, compare=True), self.full(frame)
        found = {
            "ms": ours.stats.milliseconds,
            "ms_whole": theirs.stats.milliseconds,
            "agreement": ours.stats.agreement,
            "crop_agreement": ours.stats.crop_agreement,
            "changed": ours.stats.changed,
            "recomputed": ours.stats.recomputed,
            "regions": ours.stats.regions,
            "full": ours.stats.mode == "full",
        }
        return found, ours.output[0], theirs.output[0]


def measure_images(
    pair: StreamPair, images: camvid.Split, classes: int, *, share: float, count: int, seed: int
) -> dict:
    """The row of a share of pasted images.

    Args:
        pair: the streams.
        images: the test images.
        classes: number of classes.
        share: of the area that is pasted.
        count: number of images at most.
        seed: of the places.
    """
    rng = np.random.default_rng([seed, round(1e6 * share)])
    shape = images.labels.shape[1:]
    confusions = [np.zeros((classes, classes), int) for _ in range(2)]
    frames = []
    for i in range(min(count, len(images))):
        other = (int(rng.integers(1, len(images))) + i) % len(images)
        box = random_box(rng, share, shape)
        image, labels = images.images[i].copy(), images.labels[i].copy()
        pair.crops.reset()
        pair.crops(camvid.with_positions(image))
        image[box] = images.images[other][box]
        labels[box] = images.labels[other][box]
        found, *maps = pair(camvid.with_positions(image))
        frames.append(found)
        for confusion, predicted in zip(confusions, maps, strict=True):
            confusion += camvid.confusion(labels, predicted, classes)
    row = {"what": f"{share:.0%} pasted", "frames": len(frames), **average_frames(frames)}
    row["miou"], row["miou_whole"] = (float(np.nanmean(camvid.ious(x))) for x in confusions)
    return row


def measure_video(network: keras.Model, source: str, limit: int, *settings) -> dict:
    """The row of a video.

    Args:
        network: gives every pixel a class.
        source: the video.
        limit: number of frames at most.
        *settings: detection and updates.
    """
    frames, steady, before = [], [], None
    with open_video(source) as clip:
        pair = StreamPair(network, (*clip.frame_shape[:2], 5), *settings)
        for frame in clip.frames(limit):
            found, _, now = pair(camvid.with_positions(frame))
            frames.append(found)
            if before is not None:
                steady.append(float((now == before).mean()))
            before = now
    frames = frames[1:]  # the first frame is full in both streams, and includes the calibration
    if not frames:
        raise ValueError(f"{source} has fewer than two frames.")
    row = {"what": clip.name, "frames": len(frames), **average_frames(frames)}
    return row | {"whole_from_frame_to_frame": float(np.mean(steady))}


def table(rows: list[dict]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| | frames | changed | recomputed | crops | full ms | stream ms | times faster | in all "
        "| agreement | of crops | mean IoU | of full runs |",
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
                f"| its full runs, from frame to frame | {x['frames']} | | | | | | | | "
                f"{x['whole_from_frame_to_frame']:.2%} | | | |"
            )
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    """Measures, prints and writes."""
    shares = [float(share) for share in args.shares]
    if not all(0 < share <= 1 for share in shares):
        raise ValueError(f"--shares must be numbers above 0 and up to 1, got {args.shares}.")
    if not args.data:
        raise ValueError("Give --data: the zip with CamVid.")
    detection = Detection(args.threshold)
    updates = Updates(
        reach=parse_extent("reach", args.reach),
        refresh=args.refresh,
        freeze=args.freeze,
        margin=parse_extent("margin", args.margin),
        least=args.least,
    )
    scenes = camvid.load(args.data, ["test"])
    images, classes = scenes.splits["test"], len(scenes.categories)
    network = load_segmenter(argv[1], classes)
    pair = StreamPair(network, (*images.labels.shape[1:], 5), detection, updates)
    options = {"count": args.images, "seed": args.seed}
    rows = [measure_images(pair, images, classes, share=share, **options) for share in shares]
    print(table(rows), flush=True)
    rows += [measure_video(network, x, args.frames, detection, updates) for x in args.videos]
    print(table(rows))
    report = {
        "flags": own_flags() | {"network": argv[1]},
        "backend": keras.backend.backend(),
        "rows": rows,
    }
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    write_files(
        {
            folder / "segmentation.md": table(rows) + "\n",
            folder / "segmentation.json": json.dumps(report, indent=2) + "\n",
        }
    )


if __name__ == "__main__":
    run(main, positional=["MODEL"])
