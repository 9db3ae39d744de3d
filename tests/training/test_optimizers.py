"""The schedule of the learning rate."""

import numpy as np
from keras import ops

from keras_seqpar.training.flags import parse_train_flags
from keras_seqpar.training.optimizers import make_optimizer


def test_the_schedule_rises_and_falls():
    config, _ = parse_train_flags(["--epochs=10", "--warmup_epochs=2", "--learning_rate=0.1"])
    rate = make_optimizer(config.optimizer, 5, [])._learning_rate
    rates = [float(ops.convert_to_numpy(rate(step))) for step in range(51)]
    np.testing.assert_allclose(rates[:11], np.arange(11) / 100, atol=1e-7)
    cosine = 0.05 * (1 + np.cos(np.pi * np.arange(41) / 40))
    np.testing.assert_allclose(rates[10:], cosine, atol=1e-7)
