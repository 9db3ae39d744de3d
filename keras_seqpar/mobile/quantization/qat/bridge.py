"""Writes networks as tf_keras models, which tensorflow-model-optimization takes, and back.

tensorflow-model-optimization (tfmot) quantizes, prunes and clusters models of tf_keras, the
continuation of Keras 2, and refuses nested ones. `to_tf_keras` writes a network as one flat
tf_keras model with the same weights and layer names; `from_tf_keras` brings trained weights back.
Both run in one process with Keras 3 on TensorFlow; tf_keras and tfmot are the [qat] extra.

Layers of this package become plain ones that tfmot knows:

- The normalization of pixels becomes a 1x1 convolution with a diagonal kernel. Int8 per channel
  expresses that exactly, while a multiplication and an addition would round twice.
- A gain directly after a convolution becomes a factor of its kernel, any other gain a depthwise
  1x1 convolution.
- Stochastic depth becomes a dropout of whole images.
"""

import collections
import dataclasses

import keras
import numpy as np

from keras_seqpar.families.layers import StochasticDepth, TopDownGain
from keras_seqpar.mobile.network import NetworkFacts, in_float32, read_network
from keras_seqpar.mobile.quantization.qat.compat import named_variables, need
from keras_seqpar.networks.graph import called_layers, functional, replay
from keras_seqpar.networks.layers import CategoryScores
from keras_seqpar.surgery.unknowns import with_threshold
from keras_seqpar.weights.copies import copy_weights, named_weights
from keras_seqpar.weights.differences import refuse_difference

# Keras layer -> which of its settings its namesake in tf_keras takes. Those with weights have them
# in the same order. Activations of convolutions and dense layers become layers of their own.
_SETTINGS = {
    keras.layers.Activation: ("activation",),
    keras.layers.Add: (),
    keras.layers.AveragePooling2D: ("pool_size", "strides", "padding"),
    keras.layers.BatchNormalization: ("axis", "momentum", "epsilon", "center", "scale"),
    keras.layers.Concatenate: ("axis",),
    keras.layers.Conv2D: (
        *("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups", "use_bias"),
    ),
    keras.layers.Dense: ("units", "use_bias"),
    keras.layers.DepthwiseConv2D: (
        *("kernel_size", "strides", "padding", "depth_multiplier", "dilation_rate", "use_bias"),
    ),
    keras.layers.Dropout: ("rate", "seed"),
    keras.layers.Flatten: (),
    keras.layers.GlobalAveragePooling2D: ("keepdims",),
    keras.layers.MaxPooling2D: ("pool_size", "strides", "padding"),
    keras.layers.ReLU: ("max_value", "negative_slope", "threshold"),
    keras.layers.Reshape: ("target_shape",),
    keras.layers.Softmax: ("axis",),
    keras.layers.ZeroPadding2D: ("padding",),
}
_OWN = (CategoryScores, StochasticDepth, TopDownGain, keras.layers.Rescaling)
_ACTIVATIONS = ("linear", "relu", "sigmoid", "softmax", "tanh")
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def to_tf_keras(model: keras.Model, *, logits: bool = False):
    """Writes a network as one flat tf_keras model: the same outputs, no nested models.

    `quantize_aware`, `prune` and `cluster` start from such a model. Frozen layers stay frozen.

    Needs Keras on the TensorFlow backend and the [qat] extra.

    Args:
        model: a network of this package, plain ones included, or another functional model of
            convolutions, batch normalizations, ReLUs, poolings and the like. ConvNeXt V2 is not
            among them: tfmot does not know its normalizations.
        logits: leave out the activation over the categories, as a loss with `from_logits=True`
            wants it. It changes networks of this package only.

    Returns:
        A `tf_keras.Model` from `(batch, height, width, channels)` to `(batch, categories)`, with
        weights of its own and without a threshold for none of these.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no functional one, has several inputs or outputs, or a layer that cannot
            be written so.
        RuntimeError: Keras does not run on TensorFlow.
        ImportError: tf_keras is not installed.

    Example:

    >>> import tf_keras
    >>> twin = to_tf_keras(pets, logits=True)
    >>> twin.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    """
    check_bridge(model)
    return _TwinBuilder(_folded_gains(model), logits).build(in_float32(model))


class _TwinBuilder:
    """Calls a layer of tf_keras for every layer of a Keras network.

    Args:
        folded: gains that become factors of kernels.
        logits: leave out the activation over the categories.
    """

    def __init__(self, folded: "_Folded", logits: bool):
        self.folded, self.logits = folded, logits
        self.filled: list[tuple] = []  # (tf_keras layer, its weights)

    def build(self, model: keras.Model):
        """The tf_keras model with the weights of a network in float32."""
        tf_keras = need("tf_keras")
        image = tf_keras.Input(model.inputs[0].shape[1:], name="image")
        twin = tf_keras.Model(image, replay(model, image, self._call), name=model.name)
        for layer, weights in self.filled:
            layer.set_weights(weights)
        return twin

    def _add(self, name: str, kind: str, x, weights=(), *, trainable: bool = True, **settings):
        """Calls a new layer of tf_keras; its weights are set once the model is built."""
        layer = getattr(need("tf_keras").layers, kind)(name=name, trainable=trainable, **settings)
        y = layer(x)
        self.filled.append((layer, weights))
        return y

    def _call(self, layer, *args, **kwargs):
        """Calls the tf_keras layer for a layer of Keras 3; used by `replay`."""
        if isinstance(layer, keras.Model):
            return replay(layer, args[0], self._call)
        for kind, call in (
            (CategoryScores, self._scores),
            (TopDownGain, self._gain),
            (StochasticDepth, self._stochastic_depth),
            (keras.layers.Rescaling, self._rescaling),
        ):
            if isinstance(layer, kind):
                return call(layer, args[0])
        return self._namesake(layer, args[0])

    def _scores(self, layer: CategoryScores, x):
        if isinstance(x, (list, tuple)):
            x = self._add(f"{layer.name}_logits", "Concatenate", list(x)) if len(x) > 1 else x[0]
        if self.logits or layer.classifier_activation in (None, "linear"):
            return x
        return self._add(layer.name, "Activation", x, activation=layer.classifier_activation)

    def _gain(self, layer: TopDownGain, x):
        if layer.gain == 1 or layer.name in self.folded.gains:
            return x
        kernel = np.full((1, 1, x.shape[-1], 1), layer.gain, "float32")
        return self._add(
            *(layer.name, "DepthwiseConv2D", x, [kernel]),
            trainable=False,
            kernel_size=1,
            use_bias=False,
        )

    def _stochastic_depth(self, layer: StochasticDepth, x):
        if not layer.trainable:  # it drops nothing
            return x
        shape = (None,) + (1,) * (len(x.shape) - 1)
        return self._add(layer.name, "Dropout", x, rate=layer.rate, noise_shape=shape)

    def _rescaling(self, layer: keras.layers.Rescaling, x):
        channels = x.shape[-1]
        scale, offset = (
            np.broadcast_to(np.ravel(np.asarray(v, "float32")), channels)
            for v in (layer.scale, layer.offset)
        )
        weights = [np.diag(scale)[None, None], offset]
        return self._add(
            layer.name, "Conv2D", x, weights, trainable=False, filters=channels, kernel_size=1
        )

    def _namesake(self, layer, x):
        """A layer of the same class, and one more for its activation where it has one."""
        name, config = layer.name, layer.get_config()
        weights = [keras.ops.convert_to_numpy(v) for v in layer.weights]
        if name in self.folded.convolutions:
            weights = [w * np.float32(self.folded.convolutions[name]) for w in weights]
        settings = {key: config[key] for key in _SETTINGS[type(layer)]}
        kind = type(layer).__name__
        y = self._add(name, kind, x, weights, trainable=layer.trainable, **settings)
        if "activation" in settings or config.get("activation", "linear") == "linear":
            return y
        return self._add(f"{name}_activation", "Activation", y, activation=config["activation"])


def from_tf_keras(twin, model: keras.Model) -> keras.Model:
    """Brings the weights of a trained tf_keras model back to Keras 3.

    Args:
        twin: what became of `to_tf_keras(model)`: trained as it is, pruned or clustered by tfmot
            (stripped of its wrappers first), or the result of `quantize_aware(model, ...)`, whose
            weights are those before rounding.
        model: the network that it was made of.

    Returns:
        A network like `model` with the trained weights; `model` stays as it is. A threshold for
        none of these is dropped: it was fitted on other logits.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: the two do not fit each other; the message lists the differences.

    Example:

    >>> twin = to_tf_keras(pets, logits=True)  # then compile and fit it
    >>> from_tf_keras(twin, pets).output_shape
    (None, 2)
    """
    network = check_bridge(model)
    folded = _folded_gains(model).convolutions
    found = named_variables(twin)
    new = keras.models.clone_model(model)  # re-initializes every layer
    copy_weights(model, new)
    want = named_weights(new)
    have = {key: found[key] for key in want if key in found}
    refuse_difference(have, want, f"{twin.name!r} was not made of the network {model.name!r}.")
    for key, variable in want.items():
        value = have[key].numpy()
        variable.assign(value / np.float32(folded.get(key.partition("/")[0], 1)))
    return with_threshold(new, None) if network.threshold else new


def check_bridge(model: keras.Model) -> NetworkFacts:
    """Refuses what cannot be written as a tf_keras model, before anything is built.

    Returns:
        What is known of the network.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it cannot be written so; the message says why.
        RuntimeError: Keras does not run on TensorFlow.
    """
    network = read_network(model)  # TypeError
    if (backend := keras.config.backend()) != "tensorflow":
        raise RuntimeError(
            f"tf_keras needs TensorFlow, but Keras runs on {backend}. Set KERAS_BACKEND=tensorflow "
            "before Keras is imported and load the .keras file there."
        )
    if isinstance(model, keras.Sequential) or functional(model) is None:
        raise ValueError(
            f"The model {model.name!r} of class {type(model).__name__} is no functional model. "
            "Take keras.Model(model.inputs, model.outputs), or write it as one."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        hint = " Set constant gains with keras_seqpar.attend." if len(model.inputs) == 2 else ""
        raise ValueError(
            f"The model {model.name!r} has {len(model.inputs)} inputs and {len(model.outputs)} "
            f"outputs; only networks with one of each can be written as tf_keras models.{hint}"
        )
    for layer in called_layers(model):
        _check_layer(layer)
    return network


def _check_layer(layer: keras.layers.Layer) -> None:
    kind, config = type(layer), layer.get_config()
    if kind not in _SETTINGS and kind not in _OWN:
        known = ", ".join(sorted(each.__name__ for each in (*_SETTINGS, *_OWN)))
        raise ValueError(
            f"The layer {layer.name!r} is a {kind.__name__}, which tensorflow-model-optimization "
            f"does not know. It can take {known}: ResNets, but not ConvNeXt V2. Other networks "
            "become int8 after training: keras_seqpar.mobile.convert."
        )
    activation = config.get("activation", config.get("classifier_activation")) or "linear"
    if activation not in _ACTIVATIONS:
        raise ValueError(
            f"The layer {layer.name!r} has the activation {activation!r}. Activations that can be "
            f"written as tf_keras layers: {', '.join(_ACTIVATIONS)}."
        )
    if config.get("data_format") == "channels_first":
        raise ValueError(
            f"The layer {layer.name!r} is channels_first. TFLite and tf_keras on CPUs take "
            "channels_last."
        )


@dataclasses.dataclass(frozen=True)
class _Folded:
    """Gains that become a factor of the convolution before them.

    Args:
        convolutions: name of the convolution -> gain.
        gains: names of the gain layers.
    """

    convolutions: dict[str, float]
    gains: set[str]


def _folded_gains(model: keras.Model) -> _Folded:
    """Finds gains directly after convolutions that feed nothing else."""
    uses: collections.Counter[str] = collections.Counter()
    found: dict[str, TopDownGain] = {}  # name of a layer -> the gain after it
    convolutions, called = set(), set()

    def call(layer, *args, **kwargs):  # a tensor is the name of the layer that it comes from
        if isinstance(layer, keras.Model):
            return replay(layer, args[0], call)
        if layer.name in called:
            raise ValueError(
                f"The layer {layer.name!r} is called twice, or two layers have this name. "
                "tensorflow-model-optimization takes each layer once."
            )
        called.add(layer.name)
        if isinstance(layer, TopDownGain) and layer.gain == 1:
            return args[0]
        uses.update(keras.tree.flatten(args))
        if isinstance(layer, TopDownGain) and layer.gain != 0:  # 0 could not be divided out again
            found[args[0]] = layer
        if isinstance(layer, _CONVOLUTIONS) and layer.get_config()["activation"] == "linear":
            convolutions.add(layer.name)
        return layer.name

    replay(model, "image", call)
    folded = {name: g for name, g in found.items() if name in convolutions and uses[name] == 1}
    return _Folded({name: g.gain for name, g in folded.items()}, {g.name for g in folded.values()})
