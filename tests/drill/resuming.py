"""SIGKILL at random steps of a training, on every backend.

A process per backend imports it and forks children, which train a tiny network with a checkpoint
every second step. Each is killed some milliseconds after a random step, and the next one resumes.
In the end the weights and the history must be those of a run that nothing stopped.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

KILLS = 20  # per backend
BACKENDS = ("tensorflow", "jax", "torch")
MOST_DELAY = 0.05  # seconds from the end of a step to the kill


def run(share: float, seed: int) -> dict[str, int]:
    """Kills trainings; prints a line for every fault.

    Args:
        share: of the backends, and of `KILLS` on each.
        seed: of the steps.

    Returns:
        Outcome -> how often: kills on each backend, and "faults".
    """
    counts = {"faults": 0}
    for backend in BACKENDS[: max(1, round(len(BACKENDS) * share))]:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(max(1, round(KILLS * share))), str(seed)],
            env={**os.environ, "KERAS_BACKEND": backend},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            print(f"resuming: {backend}, seed {seed}: {done.stderr[-2000:]}", flush=True)
            counts["faults"] += 1
        else:
            counts |= json.loads(done.stdout.splitlines()[-1])
    return counts


def kill_and_resume(kills: int, seed: int) -> dict[str, int]:
    """Kills a training and resumes it on the backend of this process.

    Raises:
        AssertionError: it did not end as the run that nothing stopped.
    """
    import keras

    from tests.drill import children
    from tests.training import test_loop

    test_loop.EPOCHS = (3, 3)
    steps = test_loop.STEPS * sum(test_loop.EPOCHS)
    rng = np.random.default_rng(seed)
    counts = {f"{keras.backend.backend()} killed": 0, "ended before": 0}
    with tempfile.TemporaryDirectory(prefix="drill-resuming-") as base:
        whole, killed, log = (Path(base) / name for name in ("whole", "killed", "log"))
        whole.mkdir()
        killed.mkdir()
        for folder, stop in [
            (whole, None),
            *((killed, int(step)) for step in np.sort(rng.choice(steps, kills))),
            (killed, None),
        ]:
            delay = rng.uniform(0, MOST_DELAY)
            code = children.finish(
                children.fork(lambda f=folder, s=stop, d=delay: _train(f, s, d), log)
            )
            if stop is not None:
                counts["ended before" if code == 0 else next(iter(counts))] += 1
            told = f"step {stop} ended with {code}: {log.read_text('utf-8', 'replace')[-2000:]}"
            assert code in ((0,) if stop is None else (0, -signal.SIGKILL)), told
        with np.load(whole / "weights.npz") as one, np.load(killed / "weights.npz") as other:
            for name in one:
                np.testing.assert_allclose(other[name], one[name], rtol=1e-5, atol=1e-6)
        for line, wanted in zip(*map(test_loop.history_of, (killed, whole)), strict=True):
            np.testing.assert_allclose(list(line.values()), list(wanted.values()), rtol=1e-5)
    return counts


def _train(folder: Path, stop: int | None, delay: float) -> None:
    """Trains or goes on; this process ends `delay` seconds after the step `stop`."""
    from keras_seqpar.training.runs import checkpoints
    from tests.training import test_loop

    step_end = checkpoints.Checkpoint.on_train_batch_end

    def ended(callback, batch, logs=None):
        if stop is not None and callback.epoch * test_loop.STEPS + callback._first + batch >= stop:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        step_end(callback, batch, logs)

    checkpoints.Checkpoint.on_train_batch_end = ended
    weights = test_loop.train(folder, resume=True, checkpoint_steps=2, checkpoint_minutes=0)
    np.savez(folder / "weights.npz", *weights)


if __name__ == "__main__":
    print(json.dumps(kill_and_resume(*map(int, sys.argv[1:]))))
