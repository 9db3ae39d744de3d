"""Gradients of a logit with respect to inputs of a network; Keras has no function for them."""

from collections.abc import Callable

import keras


def gradients_of(model: keras.Model) -> Callable:
    """Returns a function that computes gradients of a logit, less the mean of all logits.

    Args:
        model: a network from a list of features and factors to logits, as at inference.

    Returns:
        A function of the features, the factors (arrays whose first axis is the batch) and the
        column of the logit. It returns the gradients with respect to the factors, in their order,
        of the sum over the batch.
    """
    return _BY_BACKEND[keras.backend.backend()](model)


def _margin(model: keras.Model, features, factors, column: int):
    """The sum over images of a logit, less the mean of all logits."""
    logits = model([features, *factors], training=False)
    return keras.ops.sum(logits[:, column] - keras.ops.mean(logits, axis=1))


def _tensorflow_gradients(model: keras.Model):
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def gradients(features, factors, column):
        with tf.GradientTape() as tape:
            tape.watch(factors)
            margin = _margin(model, features, factors, column)
        return tape.gradient(margin, factors)

    def run(features, factors, column: int):
        tensors = [tf.convert_to_tensor(x) for x in factors]
        return gradients(tf.convert_to_tensor(features), tensors, tf.constant(column))

    return run


def _jax_gradients(model: keras.Model):
    import jax

    def margin(factors, features, column):
        return _margin(model, features, factors, column)

    gradients = jax.jit(jax.grad(margin))
    return lambda features, factors, column: gradients(factors, features, column)


def _torch_gradients(model: keras.Model):
    import torch

    def run(features, factors, column: int):
        tensors = [keras.ops.convert_to_tensor(x).requires_grad_() for x in factors]
        margin = _margin(model, keras.ops.convert_to_tensor(features), tensors, column)
        return [keras.ops.convert_to_numpy(x) for x in torch.autograd.grad(margin, tensors)]

    return run


_BY_BACKEND = {
    "tensorflow": _tensorflow_gradients,
    "jax": _jax_gradients,
    "torch": _torch_gradients,
}
