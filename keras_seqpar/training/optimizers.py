"""The optimizer with its schedule."""

from collections.abc import Sequence

import keras

from keras_seqpar.training.config import OptimizerConfig


def make_optimizer(
    config: OptimizerConfig, steps: int, variables: Sequence
) -> keras.optimizers.Optimizer:
    """Returns the optimizer with its schedule: linear warm-up, then half a cosine to 0.

    Args:
        config: the optimizer and its numbers.
        steps: steps per epoch.
        variables: the weights to train; those with one dimension, which are biases and
            normalizations, get no weight decay.
    """
    warmup = round(config.warmup_epochs * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else config.learning_rate,
        decay_steps=config.epochs * steps - warmup,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    decay = config.weight_decay or None
    optimizer: keras.optimizers.Optimizer
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, weight_decay=decay)
    else:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=decay)
    optimizer.exclude_from_weight_decay([v for v in variables if len(v.shape) < 2])
    return optimizer
