import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_seqpar.utils.names import make_id, unknown_name


@pytest.mark.parametrize(
    ("label", "id_"),
    [
        ("tench", "tench"),
        ("French horn", "french_horn"),
        ("3", "c3"),
        ("  A--B  ", "a_b"),
        ("Zoë's café", "zoe_s_cafe"),
        ("ﬁsh", "fish"),
        ("Ⅷ", "viii"),
        ("a/b:c", "a_b_c"),
        ("__x__", "x"),
        ("n01440764", "n01440764"),
    ],
)
def test_ids_are_made_of_labels(label, id_):
    assert make_id(label) == id_


@settings(max_examples=300)
@given(st.text())
def test_an_id_has_the_promised_form_or_is_refused(label):
    try:
        id_ = make_id(label)
    except ValueError as e:
        assert repr(label) in str(e) and "cannot become a node id" in str(e)
    else:
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", id_)
        assert make_id(id_) == id_


def test_a_long_list_is_cut():
    labels = [f"label{i}" for i in range(40)]
    message = unknown_name("label", "label3x", labels, "Look again.")
    assert message.startswith("Unknown label 'label3x'. Did you mean 'label3'?")
    assert message.endswith("label28, label29, ... (40 in all). Look again.")
