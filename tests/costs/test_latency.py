"""measure_latency, and the names under which docstrings refer to it."""

import pytest

import keras_seqpar as sp
from keras_seqpar.costs import measure_latency
from tests import harness


@pytest.mark.usefixtures("steady_clock")
def test_latency_is_measured_in_milliseconds():
    assert measure_latency(harness.network(), runs=3) == 1000
    assert measure_latency(sp.attention_input(harness.network()), runs=1) == 1000


def test_functions_and_modules_have_names_of_their_own():
    import keras_seqpar.costs as costs

    assert costs.measure_latency is measure_latency
    assert costs.cost is sp.cost and costs.fit_budget is sp.fit_budget
