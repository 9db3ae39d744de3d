"""A small PHL network on two processor cores, from scratch.

KERAS_BACKEND=tensorflow python recipes/train.py --setting two_cores --data_dir DIR
"""

FLAGS = {
    "dataset": "imagenette",
    "family": "resnet18",
    "variant": "early",
    "width": 0.5,
    "stem": "standard",
    "image_size": 96,
    "epochs": 70,
    "label_smoothing": 0.1,
}
