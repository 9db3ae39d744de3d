"""What the mobile tests share beside fixtures: images, LiteRT itself, other environments."""

import os
import subprocess

import numpy as np


def noise(count=60, seed=0, size=16) -> np.ndarray:
    """Random images of different brightness: (count, size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    bright = rng.uniform(0.2, 1, (count, 1, 1, 3))
    return (rng.integers(0, 256, (count, size, size, 3)) * bright).astype("uint8")


def interpreter(path):
    """LiteRT's own class, to see what any client sees."""
    from ai_edge_litert.interpreter import Interpreter

    engine = Interpreter(str(path))
    engine.allocate_tensors()
    return engine


def on_device(python, root, script, *arguments, folder):
    """Runs a script with the Python of an environment without Keras; the words it prints."""
    done = subprocess.run(
        [str(python), "-c", script, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
