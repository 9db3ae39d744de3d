"""A small PHL network on two processor cores, from scratch.

    KERAS_BACKEND=tensorflow python recipes/train.py --setting two_cores --data_dir DIR

Imagenette at 96 pixels, 2 cores of a current x86-64 server, TensorFlow, seed 0: 85.0 % top-1 in
the last epoch; 109 minutes while other work shared the cores, and about 52 seconds an epoch, so
70 minutes, alone. Without RandAugment and CutMix (70 epochs): 84.2 %.
"""

FLAGS = {
    "dataset": "imagenette",
    "family": "resnet18",
    "plan": "early",
    "width": 0.5,
    "stem": "standard",
    "image_size": 96,
    "epochs": 80,
    "label_smoothing": 0.1,
    "randaugment": 5.0,
    "cutmix": 1.0,
}
