"""Measures how many images per second and core are read, decoded and resized, beside other loaders.

    python benchmarks/input.py            # prints the rows of docs/results/input.json
    python benchmarks/input.py --update   # and writes them into it; then docs/results/make.py

A folder of generated JPEGs is read in shuffled batches by each loader in turn, in one process;
the table has medians. Then the same files, repeated by name up to --gigabytes, are one data set,
of which some batches are read while the memory of the process is watched.

Every loader gives squares of uint8, of the middle of an image. This package, Grain alone (by
`data.decode`) and the first tf.data do the same work: all pixels decoded accurately, a bicubic
filter with antialiasing. The others do less, as is usual with them. torch's DataLoader has Pillow's
bilinear filter with antialiasing, as torchvision's transforms have; torchvision itself imports only
beside the kind of torch that it was built for. The second tf.data decodes less accurately, and its
bilinear filter has no antialiasing. This package augments on the device, in the compiled training
step, so augmentation is no part of reading.
"""

from keras_seqpar.utils.commands import flag_group, run

import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import psutil
from absl import flags
from PIL import Image

from keras_seqpar import data
from keras_seqpar.benchmarking.results import update
from keras_seqpar.data.sources.encoded import Files
from keras_seqpar.data.streaming import Decoding, ReadAhead

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "input.json"
WIDTH, HEIGHT = 500, 375  # of the generated images, as most of ImageNet's

args = flags.FLAGS
with flag_group("Input"):
    flags.DEFINE_integer("images", 5000, "Number of generated JPEGs.", lower_bound=1)
    flags.DEFINE_integer("image_size", 224, "Side of the squares in pixels.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 64, "Images per batch.", lower_bound=1)
    flags.DEFINE_integer("turns", 5, "How often each loader reads the folder.", lower_bound=1)
    flags.DEFINE_float("gigabytes", 50, "Size of the data set of repeated names.", lower_bound=0)
    flags.DEFINE_integer("batches", 100, "Batches that are read of it.", lower_bound=1)
    flags.DEFINE_bool("update", False, "Write the rows into docs/results/input.json.")


def write_images(folder: Path, count: int) -> list[Path]:
    """Writes JPEGs with smooth shapes and some noise, of about 50 KB."""
    rng, paths = np.random.default_rng(0), []
    for i in range(count):
        shapes = Image.fromarray(rng.integers(0, 256, (12, 16, 3), "uint8"))
        smooth = np.asarray(shapes.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), "float32")
        noisy = (smooth + rng.normal(0, 12, smooth.shape)).clip(0, 255).astype("uint8")
        paths.append(folder / f"{i}.jpg")
        Image.fromarray(noisy).save(paths[-1], quality=85)
    return paths


def ours(paths: list[Path], order: np.ndarray) -> Iterable[np.ndarray]:
    """This package, in threads."""
    ahead = ReadAhead(Decoding(Files(paths), [path.name for path in paths], args.image_size, ""))
    ahead.begin(order)
    yield from (ahead[step] for step in range(len(order)))
    ahead.close()


def grain_alone(paths: list[Path], order: np.ndarray) -> Iterable[np.ndarray]:
    """Grain's own operations: one image at a time, then batches."""
    import grain

    images = grain.MapDataset.source([paths[i] for i in order.reshape(-1)])
    images = images.map(lambda path: data.decode(path.read_bytes(), args.image_size))
    threads = grain.ReadOptions(num_threads=os.cpu_count() or 1, prefetch_buffer_size=256)
    return iter(images.to_iter_dataset(threads).batch(args.batch_size))


def tf_data(
    paths: list[Path], order: np.ndarray, method: str, antialias: bool, dct_method: str
) -> Iterable[np.ndarray]:
    """tf.data with TensorFlow's decoder."""
    import tensorflow as tf

    def read(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), 3, dct_method=dct_method)
        height, width = tf.shape(image)[0], tf.shape(image)[1]
        side = tf.minimum(height, width)
        image = tf.image.resize_with_crop_or_pad(image, side, side)
        image = tf.image.resize(image, [args.image_size] * 2, method, antialias=antialias)
        return tf.saturate_cast(image, tf.uint8)

    names = tf.data.Dataset.from_tensor_slices([str(paths[i]) for i in order.reshape(-1)])
    images = names.map(read, tf.data.AUTOTUNE).batch(args.batch_size).prefetch(tf.data.AUTOTUNE)
    return images.as_numpy_iterator()


def square(path: Path) -> np.ndarray:
    """Resizes and cuts out the middle, as torchvision's transforms for Pillow's images do."""
    image, size = Image.open(path).convert("RGB"), args.image_size
    scale = size / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BILINEAR)
    left, top = ((side - size) // 2 for side in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def torch_loader(paths: list[Path], order: np.ndarray) -> Iterable[np.ndarray]:
    """torch's DataLoader, with a process for each core."""
    import torch

    class Squares(torch.utils.data.Dataset):
        def __len__(self):
            return order.size

        def __getitem__(self, i):
            return torch.from_numpy(square(paths[order.reshape(-1)[i]]).copy())

    workers = os.cpu_count() or 1
    context = "fork" if hasattr(os, "fork") else None  # as by default, and the fastest to start
    return iter(
        torch.utils.data.DataLoader(
            Squares(), args.batch_size, num_workers=workers, multiprocessing_context=context
        )
    )


LOADERS: dict[str, Callable[[list[Path], np.ndarray], Iterable]] = {
    "keras_seqpar": ours,
    "Grain alone": grain_alone,
    "tf.data, the same work": functools.partial(
        tf_data, method="bicubic", antialias=True, dct_method="INTEGER_ACCURATE"
    ),
    "tf.data by default": functools.partial(
        tf_data, method="bilinear", antialias=False, dct_method=""
    ),
    "torch DataLoader with Pillow": torch_loader,
}


def measure(paths: list[Path]) -> dict[str, list[float]]:
    """Loader -> images per second and core, in each turn."""
    found: dict[str, list[float]] = {name: [] for name in LOADERS}
    steps = len(paths) // args.batch_size
    for turn in range(args.turns + 1):
        order = np.random.default_rng(turn).permutation(len(paths))[: steps * args.batch_size]
        for name, loader in LOADERS.items():
            start = time.perf_counter()
            shapes = {tuple(batch.shape) for batch in loader(paths, order.reshape(steps, -1))}
            seconds = time.perf_counter() - start
            assert shapes == {(args.batch_size, args.image_size, args.image_size, 3)}, name
            if turn:  # the first one warms up
                found[name].append(order.size / seconds / (os.cpu_count() or 1))
    return found


def memory(paths: list[Path]) -> tuple[int, float]:
    """The number of images of the large data set, and by how many MiB reading it grows."""
    process = psutil.Process()
    size = statistics.mean(path.stat().st_size for path in paths)
    copies = max(1, round(args.gigabytes * 1e9 / size / len(paths)))
    many = Files(paths * copies)
    ahead = ReadAhead(Decoding(many, range(len(many)), args.image_size, "repeated"))
    shape = (args.batches, args.batch_size)
    ahead.begin(np.random.default_rng(0).integers(0, len(many), shape))
    used = []
    for step in range(args.batches):
        ahead[step]
        used.append(process.memory_info().rss)
    ahead.close()
    tenth = max(1, args.batches // 10)
    return len(many), (max(used[-tenth:]) - max(used[:tenth])) / 2**20


def main(_: list[str]) -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), args.images)
        found = measure(paths)
        many, growth = memory(paths)
    best = max(statistics.median(rates) for rates in found.values())
    rows = [
        [name, round(statistics.median(rates), 1), round(statistics.median(rates) / best, 2)]
        for name, rates in found.items()
    ]
    for row in rows:
        print(*row, sep="  ")
    note = (
        f"{args.images:,} generated JPEGs of {WIDTH}x{HEIGHT} pixels, batches of "
        f"{args.batch_size}, medians of {args.turns} turns. A data set of {many:,} images "
        f"({args.gigabytes:g} GB, the same files by repeated names): memory grew by {growth:.1f} "
        f"MiB from the first to the last tenth of {args.batches} batches."
    )
    print(note)
    if args.update:
        update(RESULTS, rows, note)


if __name__ == "__main__":
    run(main)
