"""What the mobile tests share beside fixtures: images, LiteRT itself, other environments."""

import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def noise(count=60, seed=0, size=16) -> np.ndarray:
    """Random images of different brightness: (count, size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    bright = rng.uniform(0.2, 1, (count, 1, 1, 3))
    return (rng.integers(0, 256, (count, size, size, 3)) * bright).astype("uint8")


def answers_of_threads(calls, rounds=40) -> list[list]:
    """What functions return that begin at once, one thread each, in many rounds."""
    barrier = threading.Barrier(len(calls), timeout=60)

    def repeat(call):
        found = []
        try:
            for _ in range(rounds):
                barrier.wait()
                found.append(call())
        except BaseException:
            barrier.abort()
            raise
        return found

    with ThreadPoolExecutor(len(calls)) as threads:
        started = [threads.submit(repeat, call) for call in calls]
    for each in started:  # the cause, not the broken barrier that follows from it
        if not isinstance(each.exception(), threading.BrokenBarrierError):
            each.result()
    return [each.result() for each in started]


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
