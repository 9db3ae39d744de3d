"""Pruning and clustering by tensorflow-model-optimization: files that compress better.

Pruning trains a network while its smallest weights become 0 (Zhu and Gupta, arXiv 1710.01878);
clustering allows every kernel only a few different values (Han et al., arXiv 1510.00149). The
.tflite files keep their size, but their zip archives, which apps download, become smaller. Both
start from `to_tf_keras` and end in `from_tf_keras`; the result is converted like any network.
"""

from keras_seqpar.mobile.quantization.qat.compat import need

_KINDS = ("Conv2D", "DepthwiseConv2D", "Dense")


def prune(twin, sparsity: float, *, steps: int):
    """Wraps a tf_keras model so that training prunes it.

    The share of zeros grows from 0, by the third-degree polynomial of arXiv 1710.01878, to
    `sparsity` after half of the steps; the other half trains what is left. Frozen layers are left
    alone, so that the normalization of pixels stays right.

    Args:
        twin: from `to_tf_keras`; its layers are shared and will be changed.
        sparsity: share of the weights of each kernel that become 0, above 0 and below 1.
        steps: how many steps the training will have.

    Returns:
        A `tf_keras.Model`. Fit it with the callback
        `tfmot.sparsity.keras.UpdatePruningStep()`, then call `strip`.

    Raises:
        ValueError: a share or a number of steps out of range.
        ImportError: tf_keras or tensorflow-model-optimization is not installed.

    Example:

    >>> pruned = prune(to_tf_keras(pets, logits=True), 0.5, steps=300)  # then compile and fit it
    >>> small = from_tf_keras(strip(pruned), pets)
    """
    if isinstance(sparsity, bool) or not 0 < sparsity < 1:
        raise ValueError(f"sparsity must be a share above 0 and below 1, got {sparsity!r}.")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
        raise ValueError(f"steps must be a whole number of 2 or more, got {steps!r}.")
    tfmot = need("tensorflow_model_optimization")
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        0.0, sparsity, begin_step=0, end_step=max(1, steps // 2), frequency=max(1, steps // 50)
    )
    return _wrapped(twin, lambda x: tfmot.sparsity.keras.prune_low_magnitude(x, schedule))


def cluster(twin, clusters: int):
    """Wraps a tf_keras model so that every kernel has few different values, which training moves.

    Frozen layers are left alone.

    Args:
        twin: from `to_tf_keras`; its layers are shared and will be changed.
        clusters: number of different values of a kernel, 2 or more; 16 is usual.

    Returns:
        A `tf_keras.Model`. Fit it, then call `strip`.

    Raises:
        ValueError: a number out of range.
        ImportError: tf_keras or tensorflow-model-optimization is not installed.

    Example:

    >>> clustered = cluster(to_tf_keras(pets, logits=True), 16)  # then compile and fit it
    >>> small = from_tf_keras(strip(clustered), pets)
    """
    if isinstance(clusters, bool) or not isinstance(clusters, int) or clusters < 2:
        raise ValueError(f"clusters must be a whole number of 2 or more, got {clusters!r}.")
    tfmot = need("tensorflow_model_optimization")
    start = tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS
    return _wrapped(twin, lambda x: tfmot.clustering.keras.cluster_weights(x, clusters, start))


def strip(trained):
    """Takes the wrappers of `prune` or `cluster` off; zeros and shared values stay.

    Args:
        trained: the wrapped model, trained.

    Returns:
        A `tf_keras.Model` for `from_tf_keras`.

    Raises:
        ImportError: tensorflow-model-optimization is not installed.

    Example:

    >>> pruned = prune(to_tf_keras(pets, logits=True), 0.5, steps=300)
    >>> strip(pruned).count_params() < pruned.count_params()
    True
    """
    tfmot = need("tensorflow_model_optimization")
    return tfmot.clustering.keras.strip_clustering(tfmot.sparsity.keras.strip_pruning(trained))


def _wrapped(twin, wrap):
    def clone(layer):
        return wrap(layer) if type(layer).__name__ in _KINDS and layer.trainable else layer

    return need("tf_keras").models.clone_model(twin, clone_function=clone)
