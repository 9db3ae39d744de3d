"""Two small networks that know digits, and the images that tests show them.

What a training gives depends on the processor, so that tests judge stored networks. As a
script, with the TensorFlow backend, it trains them anew in some minutes and writes their weights:

    PYTHONPATH=. KERAS_BACKEND=tensorflow python tests/references/digits_nets.py

Kernels are stored as float16: half the bytes, and the file alone says what a network is.
"""

from pathlib import Path

import keras
import numpy as np

import keras_seqpar as sp
from keras_seqpar import data
from keras_seqpar.weights import named_weights

FILE = Path(__file__).with_suffix(".npz")
SIZE = 32
BATCH = 64
NETS = {  # name -> categories, arguments of the builder, epochs
    "mobile": (("0", "1", "3", "5", "8"), {"width": 0.25}, 12),
    "qat": (("3", "5", "0"), {"width": 0.125, "plan": "early"}, 24),
}


def build(name: str) -> keras.Model:
    """The network of this name, freshly initialized; it takes pixels."""
    categories, options, _ = NETS[name]
    shape = {"input_shape": (SIZE, SIZE, 3), "stem": "small", "include_preprocessing": True}
    return sp.build_phl(categories, family="resnet18", seed=0, **shape, **options)


def load(name: str) -> keras.Model:
    """The network of this name as it was stored."""
    net = build(name)
    with np.load(FILE) as stored:
        for key, weight in named_weights(net).items():
            weight.assign(stored[f"{name}/{key}"].astype("float32"))
    return net


def choose(digits: data.Dataset, split: data.Split, categories) -> tuple[np.ndarray, np.ndarray]:
    """Images of the categories, and the index of each one's category among them."""
    names = np.array(digits.categories)[split.labels]
    chosen = np.flatnonzero(np.isin(names, categories))
    return split.read(chosen), np.array([categories.index(name) for name in names[chosen]])


def train(name: str, digits: data.Dataset) -> keras.Model:
    """The network of this name, trained on digits."""
    keras.utils.set_random_seed(0)
    net = build(name)
    categories, _, epochs = NETS[name]
    images, labels = choose(digits, digits.train, categories)
    steps = epochs * -(-len(images) // BATCH)
    net.compile(
        keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        loss="sparse_categorical_crossentropy",
        jit_compile=False,
    )
    net.fit(images, labels, epochs=epochs, batch_size=BATCH, verbose=0)
    return net


def main() -> None:
    """Writes the weights and says how well and how clearly the stored networks decide."""
    digits = data.load("digits", image_size=SIZE)
    stored = {}
    for name in NETS:
        for key, weight in named_weights(train(name, digits)).items():
            values = keras.ops.convert_to_numpy(weight)
            stored[f"{name}/{key}"] = values.astype("float16" if values.ndim > 1 else "float32")
    np.savez_compressed(FILE, **stored)
    for name, (categories, *_) in NETS.items():
        images, labels = choose(digits, digits.validation, categories)
        scores = load(name).predict(images.astype("float32"), verbose=0)
        best = np.sort(scores, -1)
        clear = np.sort(best[:, -1] - best[:, -2])[:4]
        right = np.mean(scores.argmax(-1) == labels)
        print(f"{name}: {right:.2%} of {len(images)}; closest decisions {clear.round(3)}")
    print(f"{FILE}: {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
