"""What training minimizes, and a teacher."""

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.data.augmentation import Policy
from keras_seqpar.training.config import DistillationConfig, OptimizerConfig
from keras_seqpar.training.tasks import classification, distillation
from tests import harness
from tests.training import runner

LABELS = harness.LABELS[:4]


def one_hot(*indices, categories=4):
    return np.eye(categories)[list(indices)]


# Losses


def log_softmax(x):
    return (
        x - x.max(-1, keepdims=True) - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1))[:, None]
    )


def make(columns=0, teacher=None, **options):
    """A trainer whose logits are its input, so that its loss can be computed by hand."""
    images = keras.Input((4 if teacher is None else 8,))
    made = distillation.Trainer([images, keras.Input((columns,))], images, **options)
    made.compile(
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    return made


def loss(made, logits, rows, labels, training=True):
    x = [keras.ops.convert_to_tensor(np.float32(part)) for part in (logits, rows)]
    y = keras.ops.convert_to_tensor(np.float32(labels))
    value = made.compute_loss(x, y, x[0], None, training)
    return float(keras.ops.convert_to_numpy(value))


LOGITS = np.random.default_rng(0).normal(size=(3, 4)) * 2
TRUTH = 0.9 * one_hot(0, 2, 3) + 0.1 / 4


def test_the_teachers_part_of_the_loss():
    taught = np.random.default_rng(1).normal(size=(3, 4))
    full = -(TRUTH * log_softmax(LOGITS)).sum(-1).mean()
    soft = np.exp(log_softmax(taught / 3))
    part = 9 * -(soft * log_softmax(LOGITS / 3)).sum(-1).mean()
    made = make(teacher=True, distillation=0.4, temperature=3.0)
    both = np.concatenate([LOGITS, taught], axis=1)
    got = loss(made, both, np.zeros((3, 0)), TRUTH)
    assert got == pytest.approx(0.6 * full + 0.4 * part, rel=1e-5)
    assert loss(made, both, np.zeros((3, 0)), TRUTH, training=False) == pytest.approx(
        full, rel=1e-5
    )


# The teacher


def test_a_teacher_says_its_logits_in_the_order_of_the_data_and_does_not_learn():
    network = harness.build(LABELS, include_preprocessing=True)
    harness.randomize(network)
    order = [2, 0, 3, 1]
    teacher = distillation.Teacher(network, [LABELS[i] for i in order])
    x = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    before = harness.values(network)
    taught = harness.array(teacher(x, training=True))
    assert harness.error(taught, harness.logits(network, x)[:, order]) < 1e-6
    assert harness.same_values(harness.values(network), before)  # statistics included
    assert not teacher.trainable_variables
    assert not harness.array(teacher(x, training=False)).any()


@pytest.mark.parametrize("family", ["resnet18", "efficientnet_lite0"])
def test_a_teacher_gets_the_images_that_it_takes(family):
    networks = [
        harness.build(LABELS, family=family, include_preprocessing=pixels)
        for pixels in (True, False)
    ]
    harness.randomize(networks[0])
    sp.copy_weights(*networks)
    x = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    one, other = (
        harness.array(distillation.Teacher(network, LABELS)(x, training=True))
        for network in networks
    )
    assert harness.error(other, one) < 1e-5


def test_a_teacher_that_does_not_know_all_categories():
    with pytest.raises(ValueError, match="does not know French horn"):
        distillation.Teacher(harness.network(LABELS), [*LABELS, "French horn"])


def test_a_network_learns_from_a_teacher_what_no_label_says(tmp_path):
    """All of the loss is the teacher's: the student comes nearer to it."""
    network = harness.build(LABELS, include_preprocessing=True)
    harness.randomize(network)
    network.save(tmp_path / "teacher.keras")
    student = harness.build(LABELS, include_preprocessing=True, classifier_activation=None, seed=3)
    made = classification.make_trainer(
        student,
        Policy(),
        OptimizerConfig("sgd", learning_rate=0.1, epochs=1, warmup_epochs=0, weight_decay=0.0),
        DistillationConfig(str(tmp_path / "teacher.keras"), distillation=1.0, temperature=2.0),
        LABELS,
        image_size=16,
        steps=100,
        jit=runner.JIT.removeprefix("--jit="),
    )
    x = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype("uint8")
    rows = np.zeros((8, Policy().columns), "float32")
    rows[:, [0, 4]] = 1  # the image as it is
    rows[:, 6] = 1
    labels = np.float32(one_hot(*[0] * 8))
    before = [harness.array(v) for v in made.get_layer("teacher").variables]
    losses = [float(made.train_on_batch([x, rows], labels)[0]) for _ in range(12)]
    assert losses[-1] < losses[0]
    after = [harness.array(v) for v in made.get_layer("teacher").variables]
    assert harness.same_values(before, after)
