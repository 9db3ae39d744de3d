"""Gradients of a logit with respect to inputs of a network; Keras has no function for them."""

from collections.abc import Callable

import keras


def gradients_of(model: keras.Model) -> Callable:
    """Returns a function that computes gradients of a logit.

    Args:
        model: a network from a list of features and factors to logits, as at inference.

    Returns:
        A function of the features, the factors (arrays whose first axis is the batch) and the
        column of the logit. It returns the gradients with respect to the factors, in their order,
        of the sum over the batch.
    """
    return _BY_BACKEND[keras.backend.backend()](model)


def _logit(model: keras.Model, features, factors, column: int):
    """The sum of a logit over images."""
    return keras.ops.sum(model([features, *factors], training=False)[:, column])


def _tensorflow_gradients(model: keras.Model):
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def gradients(features, factors, column):
        with tf.GradientTape() as tape:
            tape.watch(factors)
            logit = _logit(model, features, factors, column)
        return tape.gradient(logit, factors)

    def run(features, factors, column: int):
        tensors = [tf.convert_to_tensor(x) for x in factors]
        return gradients(tf.convert_to_tensor(features), tensors, tf.constant(column))

    return run


def _jax_gradients(model: keras.Model):
    import jax

    def logit(factors, features, column):
        return _logit(model, features, factors, column)

    gradients = jax.jit(jax.grad(logit))
    return lambda features, factors, column: gradients(factors, features, column)


def _torch_gradients(model: keras.Model):
    import torch

    def run(features, factors, column: int):
        tensors = [keras.ops.convert_to_tensor(x).requires_grad_() for x in factors]
        logit = _logit(model, keras.ops.convert_to_tensor(features), tensors, column)
        return [keras.ops.convert_to_numpy(x) for x in torch.autograd.grad(logit, tensors)]

    return run


_BY_BACKEND = {
    "tensorflow": _tensorflow_gradients,
    "jax": _jax_gradients,
    "torch": _torch_gradients,
}
