"""The paper's setting (arXiv 2308.05128, section 4): 224 pixels, RandAugment, mixed precision.

    python recipes/train.py --setting paper --data_dir DIR

The paper trains with timm and does not print the epochs, the optimizer or their rates: those
below are this package's choice. For a GPU; not run yet: none was to be had.
"""

FLAGS = {
    "dataset": "imagenette",
    "family": "resnet50",
    "plan": "late_sp",
    "width": 1.0,
    "image_size": 224,
    "epochs": 200,
    "randaugment": 7.0,
    "label_smoothing": 0.1,
    "warmup_epochs": 5.0,
    "mixed_precision": "float16",
}
