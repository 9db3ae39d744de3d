"""The optimizer with its schedule, one rate for the trunk, and averages of the weights."""

from collections.abc import Sequence

import keras

from keras_seqpar.training.config import OptimizerConfig


def make_optimizer(
    config: OptimizerConfig,
    steps: int,
    variables: Sequence,
    trunk: Sequence = (),
    trunk_rate: float = 1.0,
) -> keras.optimizers.Optimizer:
    """Returns the optimizer with its schedule: linear warm-up, then half a cosine to 0.

    Args:
        config: the optimizer and its numbers.
        steps: steps per epoch.
        variables: the weights to train; those with one dimension, which are biases and
            normalizations, get no weight decay, and neither do those of banks, which are stacked.
        trunk: those of them that learn at another rate.
        trunk_rate: their learning rate, as a share of that of the others.

    Raises:
        ValueError: gradients are accumulated over more steps than there are.
    """
    if config.accumulate_steps > config.epochs * steps:
        raise ValueError(
            f"--accumulate_steps {config.accumulate_steps} would never change the weights: there "
            f"are {config.epochs * steps} steps, {steps} in an epoch. Give at most "
            f"--accumulate_steps {config.epochs * steps}, more epochs, or a smaller --batch_size."
        )
    vectors = ("bias", "gamma", "beta")
    undecayed = [v for v in variables if len(v.shape) < 2 or v.name.endswith(vectors)]
    others = _make_one(config, config.learning_rate, steps, undecayed)
    if not trunk or trunk_rate == 1:
        return others
    slow = _make_one(config, trunk_rate * config.learning_rate, steps, undecayed)
    by_path = keras.optimizers.OptimizerMap(others, {v.path: slow for v in trunk})
    return keras.optimizers.MultiOptimizer(by_path)


def _make_one(
    config: OptimizerConfig, rate: float, steps: int, undecayed: Sequence
) -> keras.optimizers.Optimizer:
    warmup = round(min(config.warmup_epochs, config.epochs / 4) * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else rate,
        decay_steps=config.epochs * steps - warmup,
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )
    options = {"weight_decay": config.weight_decay or None, "use_ema": bool(config.ema)}
    if config.ema:
        options["ema_momentum"] = config.ema
    if config.accumulate_steps > 1:  # the schedule goes on counting all steps
        options["gradient_accumulation_steps"] = config.accumulate_steps
    if config.clip_norm:
        options["global_clipnorm"] = config.clip_norm
    optimizer: keras.optimizers.Optimizer
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, **options)
    else:
        optimizer = keras.optimizers.AdamW(schedule, **options)
    optimizer.exclude_from_weight_decay(undecayed)
    return optimizer


def inner_optimizers(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """The optimizers that update weights: those in an optimizer for several, or itself."""
    scaled = getattr(optimizer, "inner_optimizer", optimizer)  # of float16
    return list(getattr(scaled, "optimizers", [scaled]))


def highest_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """The present learning rate; of several the highest."""
    rates = [each.learning_rate for each in inner_optimizers(optimizer)]
    return max(float(keras.ops.convert_to_numpy(rate)) for rate in rates)
