"""One GPU: images decoded once from a small archive, augmented inside the compiled step.

    python recipes/pack.py imagenette.zip --dataset imagenette --data_dir DIR --image_size 160
    KERAS_BACKEND=jax python recipes/train.py --setting one_gpu --dataset archive:imagenette.zip

Needs JAX (or torch) and Pillow, no TensorFlow. Not run on a GPU yet: none was to be had.
"""

FLAGS = {
    "family": "resnet50",
    "plan": "early",
    "width": 1.0,
    "stem": "standard",
    "image_size": 128,
    "epochs": 150,
    "batch_size": 128,
    "randaugment": 5.0,
    "cutmix": 1.0,
    "label_smoothing": 0.1,
    "warmup_epochs": 5.0,
    "mixed_precision": "bfloat16",
}
