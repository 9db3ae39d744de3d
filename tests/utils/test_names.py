import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_seqpar.utils.names import (
    check_label,
    distinct_ids,
    make_id,
    match_labels,
    same_form,
    unknown_name,
)
from tests import harness


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


@pytest.mark.parametrize(
    ("label", "id_"),
    [
        ("C", "c"),
        ("C++", "c_plus_plus"),
        ("C#", "c_sharp"),
        ("Notepad++ (old)", "notepad_plus_plus_old"),
        ("cat+dog #1", "cat_dog_1"),  # as ever
        ("Łódź, straße", "lodz_strasse"),
        ("猫1", "u732b_1"),
        ("кот", "u43a_u43e_u442"),
        ("👩\u200d🚀", "u1f469_u200d_u1f680"),
        ("...", "u2e_u2e_u2e"),
        ("a" * 150, "a" * 150),
        ("a" * 151, "a" * 137 + "_5416d58d0995"),
    ],
)
def test_what_is_no_ascii_letter_keeps_its_meaning(label, id_):
    assert make_id(label) == id_
    assert make_id(unicodedata.normalize("NFD", f" {label} ")) == id_


@settings(max_examples=300)
@given(st.text())
def test_an_id_has_the_promised_form_or_is_refused(label):
    try:
        id_ = make_id(label)
    except ValueError as e:
        assert repr(label) in str(e)
        with pytest.raises(ValueError, match="The label"):
            check_label(label)
    else:
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", id_) and len(id_) <= 150
        assert make_id(id_) == id_
        assert check_label(label) == unicodedata.normalize("NFC", label).strip()


@settings(max_examples=100)
@given(st.from_regex("[A-Za-z0-9 ,.()'_-]*[A-Za-z0-9][A-Za-z0-9 ,.()'_-]*", fullmatch=True))
def test_ids_of_ordinary_labels_never_change(label):
    words = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")
    assert make_id(label) == (words if words[0].isalpha() else f"c{words}")


@settings(max_examples=100)
@given(st.lists(harness.labels(), unique_by=same_form))
def test_ids_of_a_tree_are_distinct_in_any_order(labels):
    ids = distinct_ids(labels)
    assert len(set(ids)) == len(labels)
    assert distinct_ids(labels[::-1]) == ids[::-1]
    assert not set(distinct_ids(labels, ids)) & set(ids)


def test_a_hashed_id_that_another_label_has_becomes_longer():
    hashed = distinct_ids(["A", "a"])[0]
    assert distinct_ids(["A", "a", hashed])[1:] == ["a", hashed]
    assert len(distinct_ids(["A", "a", hashed])[0]) == len(hashed) + 8


@pytest.mark.parametrize(
    ("wanted", "known", "found"),
    [
        (["cat", "french_horn", "dog"], ["French horn", "cat"], [1, 0, None]),
        (["cafe\u0301"], ["tea", "café"], [1]),
        (["polish", "Polish"], ["Polish", "polish"], [1, 0]),
        (["polish", "French"], ["Polish", "French"], [0, 1]),
        (["polish", "POLISH"], ["Polish"], [None, None]),
        (["POLISH"], ["Polish", "polish"], [None]),
        (["C3", "3"], ["3"], [None, 0]),
        ([], ["3"], []),
    ],
)
def test_labels_are_matched_by_name_and_then_by_id(wanted, known, found):
    assert match_labels(wanted, known) == found


def test_a_long_list_is_cut():
    labels = [f"label{i}" for i in range(40)]
    message = unknown_name("label", "label3x", labels, "Look again.")
    assert message.startswith("Unknown label 'label3x'. Did you mean 'label3'?")
    assert message.endswith("label28, label29, ... (40 in all). Look again.")
