"""A small PHL network on two processor cores, from scratch.

    KERAS_BACKEND=tensorflow python recipes/train.py --setting two_cores --data_dir DIR

Imagenette at 96 pixels, 2 cores of a current x86-64 server, TensorFlow, seed 0: 84.2 % top-1 in
the last epoch; 79 minutes while other work shared the cores, and about 31 seconds an epoch, so 36
minutes, alone. Training accuracy ends at 97 %: stronger augmentation is the next thing to try.
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
