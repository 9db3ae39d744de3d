import sys

import pytest

from keras_seqpar.utils.progress import batches


@pytest.mark.parametrize(
    ("count", "size", "want"), [(0, 2, []), (4, 2, [(0, 1), (2, 3)]), (5, 3, [(0, 1, 2), (3, 4)])]
)
def test_every_index_comes_once(count, size, want):
    assert [tuple(rows) for rows in batches(count, size)] == want


def test_a_bar_is_for_terminals_alone(capsys, monkeypatch):
    list(batches(4, 2, "Evaluating"))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    list(batches(4, 2))
    assert capsys.readouterr().err == ""
    list(batches(4, 2, "Evaluating"))
    text = capsys.readouterr().err
    assert text.startswith("\rEvaluating [===============               ] 2/4\r")
    assert text.endswith("] 4/4\n")
