"""The two-layer network of the published demonstration (arXiv 2407.01782) on a moving digit.

    python recipes/bench_loops.py
    python recipes/bench_loops.py --frames 100 --filters 32

A digit of 28 x 28 pixels moves through frames of 64 x 64. Every frame goes through Keras (compiled
where the backend compiles), through a stream, and through Python loops over changed positions and
filters, written from the paper's description and padded as the convolutions are, so that all
three agree. A network this small is quicker dense.
"""

import itertools
import statistics
import sys
import time
from collections.abc import Iterator

import bench_selective
import keras
import numpy as np
from options import Options

from keras_seqpar import selective

SIZE, DIGIT = 64, 28
TURN, _WARM_UP = 30, 3  # frames per turn, a second of most videos; frames that do not count


def make_options() -> Options:
    """All flags."""
    options = Options(__doc__)
    options.group(
        "Comparison",
        ("integer", "frames", 90, "Frames that count, after three that do not.", 1),
        ("integer", "filters", 16, "Of each layer.", 1),
        ("integer", "digit", 3, "Which digit of scikit-learn's.", 0),
        ("integer", "seed", 0, "Of the weights."),
    )
    return options


def make_network(filters: int, seed: int) -> keras.Model:
    """Two 3x3 convolutions, the first rectified."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((SIZE, SIZE, 1))
    x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(filters, 3, padding="same")(x))


def moving_digit(digit: int) -> Iterator[np.ndarray]:
    """Frames `(64, 64, 1)` with values of 0 to 1, in which a digit goes to and fro."""
    from sklearn.datasets import load_digits

    found = load_digits()
    if not (found.target == digit).any():
        raise ValueError(f"--digit must be 0 to 9, got {digit}.")
    image = np.kron(found.images[found.target == digit][0] / 16, np.ones((4, 4)))[:DIGIT, :DIGIT]
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
        self.seen = False

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """The output `(64, 64, filters)`."""
        changed = (frame != self.maps[0]).any(-1) | (not self.seen)
        self.maps[0], self.seen = frame, True
        for i, (kernel, bias, rectified) in enumerate(self.layers):
            values = np.pad(self.maps[i], ((1, 1), (1, 1), (0, 0)))
            seen, behind = np.pad(changed, 1), np.zeros_like(changed)
            for y in range(SIZE):
                for x in range(SIZE):
                    if not seen[y : y + 3, x : x + 3].any():
                        continue
                    behind[y, x] = True
                    window = values[y : y + 3, x : x + 3]
                    for k in range(kernel.shape[3]):
                        value = (window * kernel[..., k]).sum() + bias[k]
                        self.maps[i + 1][y, x, k] = max(value, 0) if rectified else value
            changed = behind
        return self.maps[-1].copy()


def measure(model: keras.Model, chosen) -> dict[str, tuple[float, float]]:
    """Runs all three in turns of `TURN` frames.

    Args:
        model: from `make_network`.
        chosen: the flags.

    Returns:
        Name -> (median milliseconds per frame, largest difference from Keras relative to the
        output range).
    """
    frames = moving_digit(chosen.digit)
    dense, stream = bench_selective.compiled(model), selective.stream(model, mode="positions")
    ways = {
        "dense": lambda frame: dense(frame)[0],
        "stream": lambda frame: stream(frame).output[0],
        "loops": Loops(model),
    }
    times, worst = {name: [] for name in ways}, dict.fromkeys(ways, 0.0)
    left = chosen.frames + _WARM_UP
    while left:  # in turns: loops take so long that the others would find cold caches every time
        some = [frame for _, frame in zip(range(min(TURN, left)), frames, strict=False)]
        left -= len(some)
        found: dict[str, list] = {name: [] for name in ways}
        for name, run in ways.items():
            for frame in some:
                start = time.perf_counter()
                found[name].append(run(frame))
                times[name].append(1000 * (time.perf_counter() - start))
        for name, outputs in found.items():
            for output, wanted in zip(outputs, found["dense"], strict=True):
                error = np.abs(output - wanted).max() / np.abs(wanted).max()
                worst[name] = max(worst[name], float(error))
    return {name: (statistics.median(times[name][_WARM_UP:]), worst[name]) for name in ways}


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        chosen, _ = make_options().parse(argv)
        found = measure(make_network(chosen.filters, chosen.seed), chosen)
    except (ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{keras.backend.backend()}, medians of {chosen.frames} frames")
    for name, (milliseconds, error) in found.items():
        ratio = found["loops"][0] / milliseconds
        print(f"{name:<7} {milliseconds:>8.2f} ms  {ratio:>6.0f} times the loops' speed  "
              f"error {error:.1e}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
