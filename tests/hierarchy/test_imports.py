"""Importing the package loads no library that is not needed."""

import subprocess
import sys

import pytest


@pytest.mark.only_backend("torch")  # the same lines everywhere, and TensorFlow takes long to import
def test_nothing_is_imported_that_is_not_needed():
    names = ("scipy", "yaml", "matplotlib", "wn", "tensorflow_datasets", "sklearn")
    shown = f"import sys; print(*[n for n in {names} if n in sys.modules])"
    used = "from keras_seqpar import hierarchy, plots; hierarchy.from_subset('imagewoof')"
    loaded = [
        set(subprocess.check_output([sys.executable, "-c", f"{line}; {shown}"], text=True).split())
        for line in ("import keras", used)
    ]
    assert loaded[1] <= loaded[0]  # what Keras and its backend import does not count
