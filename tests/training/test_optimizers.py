"""The schedule of the learning rate, and the rate of the trunk."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_seqpar as sp
from keras_seqpar.training.flags import parse_train_flags
from keras_seqpar.training.optimizers import highest_rate, make_optimizer


def test_the_schedule_rises_and_falls():
    config, _ = parse_train_flags(["--epochs=10", "--warmup_epochs=2", "--learning_rate=0.1"])
    rate = make_optimizer(config.optimizer, 5, [])._learning_rate
    rates = [float(ops.convert_to_numpy(rate(step))) for step in range(51)]
    np.testing.assert_allclose(rates[:11], np.arange(11) / 100, atol=1e-7)
    cosine = 0.05 * (1 + np.cos(np.pi * np.arange(41) / 40))
    np.testing.assert_allclose(rates[10:], cosine, atol=1e-7)


def test_stacked_biases_of_banks_do_not_decay():
    config, _ = parse_train_flags(["--epochs=1", "--warmup_epochs=0", "--weight_decay=0.5"])
    options = {"family": "resnet18", "width": 0.125, "input_shape": (16, 16, 3), "stem": "small"}
    network = sp.build_phl(["cat", "dog"], fused=True, **options)
    bank = network.get_layer("bank_1")
    vectors = {
        v.path
        for (_, w), v in zip(bank.template_weights, bank.stacked, strict=True)
        if len(w.shape) < 2
    }
    optimizer = make_optimizer(config.optimizer, 10, network.trainable_variables)
    optimizer.build(network.trainable_variables)
    decayed = {v.path for v in bank.trainable_variables if optimizer._use_weight_decay(v)}
    assert vectors and decayed == {v.path for v in bank.trainable_variables} - vectors


def test_gradients_are_accumulated_and_shortened():
    """Two steps of half a batch are one of the whole; the norm is over all weights."""
    flags = ["--epochs=1", "--warmup_epochs=0", "--learning_rate=1", "--weight_decay=0"]
    flags += ["--optimizer=sgd", "--accumulate_steps=2", "--clip_norm=1"]
    config, _ = parse_train_flags(flags)
    weights = [keras.Variable(np.zeros(1, "float32"), name=name) for name in "ab"]
    optimizer = make_optimizer(config.optimizer, 1000, weights)
    optimizer.build(weights)
    seen = []
    for gradient in ((1.0, 8.0), (5.0, 0.0)):  # mean (3, 4), of norm 5
        optimizer.apply([ops.full((1,), g) for g in gradient], weights)
        seen.append([float(ops.convert_to_numpy(v)[0]) for v in weights])
    np.testing.assert_allclose(seen[0], 0, atol=1e-7)
    nesterov = 1.9  # of the first step: 1 + 0.9
    np.testing.assert_allclose(seen[1], -nesterov * np.array([0.6, 0.8]), rtol=1e-3)


def test_more_accumulated_steps_than_there_are():
    config, _ = parse_train_flags(["--epochs=2", "--accumulate_steps=21"])
    with pytest.raises(ValueError, match="are 20 steps, 10 in an epoch. Give at most --accumulate"):
        make_optimizer(config.optimizer, 10, [])


def test_the_trunk_learns_at_its_own_rate():
    """Two equal weights, equal gradients: steps and weight decay have the ratio of the rates."""
    flags = ["--epochs=1", "--warmup_epochs=0", "--learning_rate=0.1", "--weight_decay=0.5"]
    for name in ("sgd", "adamw"):
        config, _ = parse_train_flags([*flags, f"--optimizer={name}"])
        trunk, other = (keras.Variable(np.ones((2, 2), "float32"), name=n) for n in "ab")
        optimizer = make_optimizer(config.optimizer, 10, [trunk, other], [trunk], 0.25)
        for gradient in (0.0, 0.3):  # the decay alone, then both
            before = [ops.convert_to_numpy(v) + 0 for v in (trunk, other)]
            pair = [ops.full((2, 2), gradient)] * 2
            optimizer.apply(pair, [trunk, other])
            slow, fast = (
                ops.convert_to_numpy(v) - b for v, b in zip((trunk, other), before, strict=True)
            )
            assert fast.max() < 0
            np.testing.assert_allclose(slow / fast, 0.25, rtol=0.02)
        assert highest_rate(optimizer) == pytest.approx(0.1, rel=0.2)
