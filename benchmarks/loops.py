"""The two-layer network of the published demonstration (arXiv 2407.01782) on a moving digit.

    python benchmarks/loops.py
    python benchmarks/loops.py --frames 100 --filters 32

A digit of 28 x 28 pixels moves through frames of 64 x 64. Every frame goes through Keras (compiled
where the backend compiles), through a stream, and through Python loops over changed positions and
filters. The loops are written from the paper's description, with the padding of the convolutions,
so that all three agree. A network this small is faster dense.
"""

from keras_seqpar.utils.commands import flag_group, run

import itertools
import statistics
from collections.abc import Iterator

import keras
import numpy as np
from absl import flags

from keras_seqpar import selective
from keras_seqpar.selective.measuring import compile_dense, timed

SIZE, DIGIT = 64, 28
TURN = 30  # frames that one of the three runs before the next one starts
WARM_UP = 3  # frames that are not counted

args = flags.FLAGS
with flag_group("Comparison"):
    flags.DEFINE_integer(
        "frames", 90, "Frames to measure, after three that are not counted.", lower_bound=1
    )
    flags.DEFINE_integer("filters", 16, "Filters of each layer.", lower_bound=1)
    flags.DEFINE_integer("digit", 3, "Which of scikit-learn's digits, 0 to 9.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Seed of the weights.")


def make_network(filters: int, seed: int) -> keras.Model:
    """Two 3x3 convolutions, the first with a ReLU."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((SIZE, SIZE, 1))
    x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(filters, 3, padding="same")(x))


def moving_digit(digit: int) -> Iterator[np.ndarray]:
    """Frames `(64, 64, 1)` with values of 0 to 1, in which a digit moves back and forth."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    if not (digits.target == digit).any():
        raise ValueError(f"--digit must be 0 to 9, got {digit}.")
    image = digits.images[digits.target == digit][0] / 16
    image = np.kron(image, np.ones((4, 4)))[:DIGIT, :DIGIT]
    room = SIZE - DIGIT
    for step in itertools.count():
        y, x = (abs((step * speed) % (2 * room) - room) for speed in (2, 3))
        frame = np.zeros((SIZE, SIZE, 1), "float32")
        frame[y : y + DIGIT, x : x + DIGIT, 0] = image
        yield frame


class Loops:
    """The convolutions position by position and filter by filter, where the input changed.

    Args:
        model: from `make_network`.
    """

    def __init__(self, model: keras.Model):
        self.layers = [
            (*map(keras.ops.convert_to_numpy, layer.weights), layer.activation.__name__ == "relu")
            for layer in model.layers[1:]
        ]
        self.maps = [np.zeros((SIZE, SIZE, x[0].shape[2]), "float32") for x in self.layers]
        self.maps.append(np.zeros((SIZE, SIZE, self.layers[-1][0].shape[3]), "float32"))
        self.started = False

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """The output `(64, 64, filters)`."""
        changed = (frame != self.maps[0]).any(-1) | (not self.started)
        self.maps[0], self.started = frame, True
        for i, (kernel, bias, relu) in enumerate(self.layers):
            values = np.pad(self.maps[i], ((1, 1), (1, 1), (0, 0)))
            padded, changed_after = np.pad(changed, 1), np.zeros_like(changed)
            for y in range(SIZE):
                for x in range(SIZE):
                    if not padded[y : y + 3, x : x + 3].any():
                        continue
                    changed_after[y, x] = True
                    window = values[y : y + 3, x : x + 3]
                    for k in range(kernel.shape[3]):
                        value = (window * kernel[..., k]).sum() + bias[k]
                        self.maps[i + 1][y, x, k] = max(value, 0) if relu else value
            changed = changed_after
        return self.maps[-1].copy()


def measure(model: keras.Model, frames: Iterator[np.ndarray], count: int) -> dict[str, tuple]:
    """Runs all three on the same frames, in turns of `TURN` frames.

    Args:
        model: from `make_network`.
        frames: from `moving_digit`.
        count: number of frames to measure.

    Returns:
        Name -> (median milliseconds per frame, largest difference from Keras relative to the
        output range).
    """
    dense, stream = compile_dense(model), selective.stream(model, mode="positions")
    methods = {
        "dense": lambda frame: dense(frame)[0],
        "stream": lambda frame: stream(frame).output[0],
        "loops": Loops(model),
    }
    times: dict[str, list[float]] = {name: [] for name in methods}
    errors = dict.fromkeys(methods, 0.0)
    remaining = count + WARM_UP
    while remaining:  # in turns: after the slow loops, the others would find cold caches
        batch = list(itertools.islice(frames, min(TURN, remaining)))
        remaining -= len(batch)
        outputs = {
            name: [timed(method, frame, times[name]) for frame in batch]
            for name, method in methods.items()
        }
        for name, found in outputs.items():
            for output, expected in zip(found, outputs["dense"], strict=True):
                error = np.abs(output - expected).max() / np.abs(expected).max()
                errors[name] = max(errors[name], float(error))
    return {name: (statistics.median(times[name][WARM_UP:]), errors[name]) for name in methods}


def main(_) -> None:
    """Measures and prints."""
    model = make_network(args.filters, args.seed)
    results = measure(model, moving_digit(args.digit), args.frames)
    print(f"{keras.backend.backend()}, medians of {args.frames} frames")
    for name, (milliseconds, error) in results.items():
        ratio = results["loops"][0] / milliseconds
        print(
            f"{name:<7} {milliseconds:>8.2f} ms  {ratio:>6.0f} times the loops' speed  "
            f"error {error:.1e}"
        )


if __name__ == "__main__":
    run(main)
