"""Examples of docstrings that need tf_keras; `tests/docs/test_docstrings.py` runs the others."""

import pytest

from keras_seqpar import mobile
from tests.docs import examples

pytestmark = pytest.mark.only_backend("tensorflow")

EXAMPLES = {where: x for where, x in examples.examples().items() if where.startswith(examples.QAT)}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    page = (examples.ROOT / "docs/reference/index.md").read_text("utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        yield examples.begin(page, {}) | {name: getattr(mobile, name) for name in mobile.__all__}


@pytest.mark.parametrize("where", EXAMPLES)
def test_examples_run(where, names, capsys):
    examples.run(where, EXAMPLES[where], dict(names), capsys)
