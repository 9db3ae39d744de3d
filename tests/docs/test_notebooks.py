"""The notebooks of examples/: they run from the start to the end, and their images are stored."""

import json
import pathlib
import runpy
import types

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("skimage")
pytest.importorskip("sklearn")

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.fixture(scope="module")
def runner():
    return types.SimpleNamespace(**runpy.run_path(str(EXAMPLES / "execute.py")))


@pytest.fixture(scope="module")
def kernel(runner):
    """One kernel for all of them, as importing TensorFlow takes longer than most cells."""
    manager = runner.start_kernel()
    yield manager
    manager.shutdown_kernel(now=True)


def kinds(notebook) -> list:
    """What each cell shows: texts and images, without what is in them."""
    return [
        sorted({output.get("name") or str(sorted(output["data"])) for output in cell.outputs})
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_stored(path, runner, kernel):
    stored = nbformat.read(path, 4)
    nbformat.validate(stored)
    assert kinds(runner.execute(path, kernel)) == kinds(stored), (
        f"Run `python examples/execute.py examples/{path.name}`."
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_has_images(path):
    assert path.stat().st_size < 300_000
    assert sum("image/png" in str(shown) for shown in kinds(nbformat.read(path, 4))) >= 1


def test_a_failing_cell_fails(tmp_path, runner, kernel):
    cells = [nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_code_cell("x / 0")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "bad.ipynb")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        runner.execute(tmp_path / "bad.ipynb", kernel)


def test_messages_of_libraries_are_left_out(tmp_path, runner, kernel):
    text = "import sys\nprint('INFO:tensorflow:x')\nprint('kept')\nprint('no', file=sys.stderr)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text)])
    nbformat.write(notebook, tmp_path / "talks.ipynb")
    [cell] = runner.execute(tmp_path / "talks.ipynb", kernel).cells
    assert [json.dumps(output["text"]) for output in cell.outputs] == [json.dumps("kept\n")]
