"""Branches on the frozen trunk of a plain network that is already trained.

    python recipes/train.py --setting fine_tune --dataset folder:PATH --init timm:resnet50
    python recipes/train.py --setting fine_tune --dataset folder:PATH --init plain.keras \\
        --family resnet18 --width 0.5 --image_size 96

The trunk's features are computed once, since nothing is cropped or flipped: an epoch costs no
more than the branches. Give the family, width and size of the network that --init names.
"""

FLAGS = {
    "family": "resnet50",
    "width": 1.0,
    "stem": "standard",
    "image_size": 224,
    "freeze_trunk": True,
    "flip": False,
    "crop_scale": 1.0,
    "epochs": 20,
    "learning_rate": 0.001,
}
