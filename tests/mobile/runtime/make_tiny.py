"""Makes tiny.tflite, a file that the tests of the runtime run where there is no converter.

KERAS_BACKEND=tensorflow python -m tests.mobile.runtime.make_tiny
"""

from pathlib import Path

import keras_seqpar as sp
from keras_seqpar import mobile

if __name__ == "__main__":
    net = sp.build_plain(
        ["cat", "dog", "car"],
        family="resnet18",
        width=1 / 64,
        input_shape=(32, 32, 3),
        include_preprocessing=True,
        seed=0,
    )
    path = Path(__file__).with_name("tiny.tflite")
    made = mobile.convert(net, path, quantization="float32")
    made.labels_path.unlink()  # they are in the file as well
    print(made)
