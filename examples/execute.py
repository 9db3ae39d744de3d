"""Executes notebooks and writes what their cells show into them.

    python examples/execute.py examples/a_camera.ipynb
    python examples/execute.py                            # all of them

Messages of libraries on the standard error stream are left out. Needs nbclient and ipykernel, of
the extra `dev`.
"""

import sys
from pathlib import Path

import nbformat
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent


def start_kernel():
    """A kernel in the folder of the notebooks, where they find `scenes.py`."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(FOLDER))
    client.stop_channels()
    return manager


def execute(path: Path, manager) -> nbformat.NotebookNode:
    """Executes a notebook from the start, in a kernel that others may have used before.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, 4)
    first = notebook.cells[0]
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    NotebookClient(notebook, km=manager, timeout=600, coalesce_streams=True).execute()
    notebook.cells = notebook.cells[notebook.cells.index(first) :]
    for number, cell in enumerate(c for c in notebook.cells if c.cell_type == "code"):
        cell.execution_count, cell.metadata = number + 1, {}
        cell.outputs = [shown for shown in map(clean, cell.outputs) if shown]
    return notebook


def clean(output):
    """An output without what libraries report, or `None`."""
    if output.output_type == "stream":
        library = ("INFO:tensorflow", "WARNING:tensorflow")
        lines = [x for x in output.text.splitlines(True) if not x.startswith(library)]
        output.text = "".join(lines).lstrip("\n")
        return output if output.name == "stdout" and output.text else None
    if "execution_count" in output:
        output.execution_count = None
    return output


def main(paths: list[Path]) -> None:
    """Executes and writes."""
    for path in paths or sorted(FOLDER.glob("*.ipynb")):
        manager = start_kernel()
        try:
            nbformat.write(execute(path, manager), path)
        finally:
            manager.shutdown_kernel(now=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
