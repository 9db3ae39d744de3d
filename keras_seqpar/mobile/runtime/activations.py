"""Scores from logits, in floats. Needs NumPy only."""

import numpy as np

ACTIVATIONS = ("softmax", "sigmoid", "linear", None)  # that `activate` computes


def activate(logits: np.ndarray, activation: str | None) -> np.ndarray:
    """Computes scores from logits.

    Args:
        logits: `(..., categories)` floats.
        activation: one of `ACTIVATIONS`.

    Returns:
        Scores of the same shape.
    """
    if activation == "softmax":
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)
    if activation == "sigmoid":
        return 0.5 + 0.5 * np.tanh(0.5 * logits)  # overflows nowhere
    return logits
