"""The model that `fit` trains: augmentation, network and losses.

The loss is the cross-entropy over the categories and, on request, a teacher's part: `Teacher`
puts a trained network beside the one that learns (distillation).
"""

import augment
import keras
from keras import ops

import keras_seqpar as sp
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.utils.names import make_id

JIT = {"auto": "auto", "on": True, "off": False}


class Teacher(keras.layers.Layer):
    """A trained network that looks at the training images; it does not learn.

    Call argument: images `(batch, size, size, 3)` of 0 to 255. Returns its logits in
    training, and zeros at validation, where nobody asks for them.

    Args:
        network: a network of this package that takes pixels.
        categories: labels, in the order of the logits wanted.

    Raises:
        ValueError: it does not know all of the categories.
    """

    def __init__(self, network: keras.Model, categories, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        hierarchy = find_parts(network, allow_plain=True).hierarchy
        known = [make_id(label) for label in hierarchy.categories]
        wanted = [make_id(label) for label in categories]
        if missing := [n for n, id_ in zip(categories, wanted, strict=True) if id_ not in known]:
            raise ValueError(
                f"The teacher does not know {', '.join(missing)}. It must be trained on all "
                "categories of the data."
            )
        self.columns = [known.index(id_) for id_ in wanted]
        self.network = sp.with_activation(network, None)
        self.trainable = False

    def call(self, images, training=False):
        if not training:
            return ops.zeros((ops.shape(images)[0], len(self.columns)))
        return ops.take(self.network(images, training=False), self.columns, axis=-1)

    def compute_output_shape(self, images_shape):
        return (images_shape[0], len(self.columns))


class Trainer(keras.Model):
    """A network in training: Keras's `fit`, with the losses of this file.

    Its inputs are the images and, per image, a row of numbers for the augmentation. Its
    outputs are the logits, and the teacher's behind them where there is one.

    Args:
        inputs: images and rows.
        outputs: `(batch, categories)`, or twice as wide with a teacher.
        distillation: the share of the teacher's part in the loss, 0 to 1.
        temperature: divides the logits of both before they are compared; the loss is
            multiplied by its square (Hinton et al., arXiv 1503.02531, section 2).
    """

    def __init__(self, inputs, outputs, *, distillation=0.0, temperature=1.0, **kwargs):
        super().__init__(inputs, outputs, **kwargs)
        self.distillation, self.temperature = distillation, temperature
        self._cross_entropy = keras.losses.CategoricalCrossentropy(from_logits=True)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        categories = y.shape[-1]
        logits = ops.cast(y_pred[:, :categories], "float32")
        loss = super().compute_loss(x, y, logits, sample_weight, training)
        if training and self.distillation:
            taught = ops.cast(y_pred[:, categories:], "float32") / self.temperature
            part = self._cross_entropy(ops.softmax(taught), logits / self.temperature)
            part = part * self.temperature**2
            loss = (1 - self.distillation) * loss + self.distillation * part
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, y_pred[:, : y.shape[-1]], sample_weight)


def make_optimizer(chosen, steps: int, variables) -> keras.optimizers.Optimizer:
    """Returns the optimizer with its schedule: linear warm-up, then half a cosine to 0.

    Args:
        chosen: all flags.
        steps: steps per epoch.
        variables: what is trained.
    """
    warmup = round(chosen.warmup_epochs * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else chosen.learning_rate,
        decay_steps=chosen.epochs * steps - warmup,
        warmup_target=chosen.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    decay = {"weight_decay": chosen.weight_decay or None}
    if chosen.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, **decay)
    else:
        optimizer = keras.optimizers.AdamW(schedule, **decay)
    optimizer.exclude_from_weight_decay([v for v in variables if len(v.shape) < 2])
    return optimizer


def make_trainer(network: keras.Model, policy: augment.Policy, chosen, categories, steps: int):
    """Puts the augmentation in front of a network that returns logits, and compiles both.

    Args:
        network: the network, or its branches alone (from the trunk's features on).
        policy: the augmentation.
        chosen: all flags.
        categories: labels, in the order of the logits.
        steps: steps per epoch.

    Returns:
        The compiled model.
    """
    rows = keras.Input((policy.columns,), name="rows")
    if network.inputs[0].name == "features":  # computed once, so there is nothing to augment
        images = keras.Input(network.input.shape[1:], name="images")
        changed = images
    else:
        images = keras.Input((None, None, 3), dtype="uint8", name="images")
        changed = augment.Augment(policy, chosen.image_size, name="augment")(images, rows)
    outputs = network(changed)
    options = {}
    if chosen.teacher:
        teacher = Teacher(load_network(chosen.teacher), categories, name="teacher")
        outputs = keras.ops.concatenate([outputs, teacher(changed)], axis=-1)
        options = {"distillation": chosen.distillation, "temperature": chosen.temperature}
    trainer = Trainer([images, rows], outputs, name="trainer", **options)
    trainer.compile(
        make_optimizer(chosen, steps, network.trainable_variables),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=JIT[chosen.jit],
    )
    return trainer
