"""Makes the files that the drill damages: python -m tests.drill.bases FOLDER."""

import json
import pathlib
import sys

import numpy as np


def make(folder: pathlib.Path) -> None:
    """Writes single files of several kinds, a file of other operations, a pack and weights."""
    import keras
    import safetensors.numpy
    import torch

    import keras_seqpar as sp
    from keras_seqpar import mobile
    from keras_seqpar.networks.thresholds import Threshold
    from tests import harness

    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype("uint8")
    net = harness.network(["cat", "dog", "car"], include_preprocessing=True)
    unsure = sp.with_threshold(net, Threshold(0.1, "max_logit"))
    integers = {"quantization": "int8", "calibration": images}
    mobile.convert(net, folder / "float.tflite", quantization="float32")
    mobile.convert(net, folder / "dynamic.tflite", labels=False)
    mobile.convert(unsure, folder / "int8.tflite", input_dtype="uint8", **integers)
    mobile.convert(net, folder / "litert.tflite", quantizer="litert", **integers)
    mobile.convert(sp.attention_input(net), folder / "gains.tflite", quantization="float32")
    signatures = {"pets": ["cat", "dog"], "all": None}
    mobile.convert_signatures(net, folder / "signatures.tflite", signatures, **integers)
    mobile.pack(net, folder / "int8.pack", **integers)

    state = {"conv.weight": np.ones((4, 3, 3, 3), "float32"), "fc.bias": np.ones(4, "float16")}
    np.savez(folder / "weights.npz", **state)
    safetensors.numpy.save_file(state, folder / "weights.safetensors")
    torch.save({name: torch.tensor(x) for name, x in state.items()}, folder / "weights.pt")

    x = inputs = keras.Input((16, 16, 3))
    x = keras.layers.ZeroPadding2D(1)(x)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="hard_swish")(x)
    x = keras.layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="sigmoid")(x)
    y = keras.layers.DepthwiseConv2D(3, padding="same", dilation_rate=2, activation="gelu")(x)
    x = keras.layers.Concatenate()([x, keras.layers.MaxPooling2D(2, 1, "same")(y)])
    x = keras.layers.AveragePooling2D(2)(x[:, 1:, :-1])
    x = keras.layers.LayerNormalization()(keras.layers.Permute((3, 1, 2))(x))
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(5, activation="softmax")(keras.layers.Dense(8, "tanh")(x))
    other = keras.Model(inputs, x, name="other")
    mobile.convert(other, folder / "other.tflite", quantization="float32", labels=False)
    mobile.convert(other, folder / "other_int8.tflite", labels=False, **integers)


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    make(target)
    sizes = {path.name: path.stat().st_size for path in target.iterdir()}
    print(json.dumps(sizes))
