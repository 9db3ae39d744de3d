"""SIGKILL at random moments of training, conversion, packing and watching.

A child runs the real command on tiny data and is killed: half of the kills at a moment of its usual
duration, which is measured first, the others while it writes a file. Then every file must be
complete and fit the others, no epoch of a checkpoint may be lost, and the command, called again,
must end with the same results, bit for bit, as one that nothing interrupted.
"""

import contextlib
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

from tests.drill import children, jobs

KILLS = 50
# How the kills are spread; the first of each come first.
SPREAD = ("training", "conversion", "training", "packing", "watching", "training", "adding")
SPREAD += ("training", "conversion", "archiving")
MOST_WRITES = {"training": 8, "conversion": 2}  # temporary files of a run; the others write one


def run(share: float, seed: int) -> dict[str, int]:
    """Kills commands; prints a line for every fault.

    Args:
        share: of `KILLS`.
        seed: of the moments.

    Returns:
        Outcome -> how often: kills of each command, commands that ended before they were killed,
        and "faults".
    """
    children.import_all()
    rng = random.Random(seed)
    names = [SPREAD[i % len(SPREAD)] for i in range(max(1, round(KILLS * share)))]
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="drill-kills-") as folder:
        base = Path(folder)
        drill = _Drill(base, set(names), rng)
        for number, name in enumerate(names):
            try:
                outcome = drill.kill(name)
            except AssertionError as error:
                print(f"kills: case {number}, {name}, seed {seed}: {error}", flush=True)
                outcome = "faults"
                drill.reset(name)
            counts[outcome] = counts.get(outcome, 0) + 1
        for name in sorted(drill.started):
            try:
                drill.end(name)
            except AssertionError as error:
                print(f"kills: the end of {name}, seed {seed}: {error}", flush=True)
                counts["faults"] = counts.get("faults", 0) + 1
    return {"faults": 0, **counts}


class _Drill:
    """The folders of all jobs, their usual durations, and what they end with."""

    def __init__(self, base: Path, names: set[str], rng: random.Random):
        self.base, self.rng = base, rng
        self.log = base / "log"
        assert children.ask(lambda: str(jobs.make_inputs(base)), self.log) == "None"
        self.jobs = {job.name: job for job in jobs.make_jobs(base) if job.name in names}
        self.results: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.started: set[str] = set()  # jobs that were killed and not ended yet
        for name in self.jobs:
            self.reset(name)
            begin = time.monotonic()
            self.end(name, first=True)
            self.seconds[name] = time.monotonic() - begin
            self.reset(name)

    def folder(self, name: str) -> Path:
        return self.base / f"job_{name}"

    def reset(self, name: str) -> None:
        """Prepares the folder of a job anew."""
        shutil.rmtree(self.folder(name), ignore_errors=True)
        self.folder(name).mkdir()
        self.jobs[name].prepare(self.folder(name))
        self.started.discard(name)

    def end(self, name: str, first: bool = False) -> None:
        """Runs a job to its end and compares its result with that of an uninterrupted run."""
        job, folder = self.jobs[name], self.folder(name)
        if name == "packing" and (folder / "net.pack").exists():
            pass  # the kill came after the last rename
        elif name == "adding" and not first and "dark" in self._pack_categories(folder):
            pass
        else:
            code = children.finish(children.start(job.command, job.arguments(folder), self.log))
            text = self.log.read_text("utf-8", "replace")
            assert code == 0, f"called again, it ended with {code}: {text[-2000:]}"
        result = children.ask(lambda: job.result(folder), self.log)
        if first:
            self.results[name] = result
        assert result == self.results[name], (
            f"called again, it made something else:\n{result}\ninstead of\n{self.results[name]}"
        )
        left = jobs.temporary_files(folder)
        assert not left, f"temporary files stay: {left}"
        self.started.discard(name)

    def _pack_categories(self, folder: Path) -> str:
        return children.ask(lambda: jobs.result_of_pack(folder), self.log)

    def kill(self, name: str) -> str:
        """Starts a job and kills it; checks what it leaves. Returns the outcome."""
        job, folder = self.jobs[name], self.folder(name)
        if name != "training" and name in self.started:  # a training goes on where it was killed
            self.end(name)
            self.reset(name)
        child = children.start(job.command, job.arguments(folder), self.log)
        code = self._wait(child, name)
        if code is None:
            before = jobs.epochs_of(folder) if name == "training" else 0
            os.kill(child, signal.SIGKILL)
            code = children.finish(child)
        if code != -signal.SIGKILL:
            text = self.log.read_text("utf-8", "replace")
            assert code == 0, f"it ended with {code}: {text[-2000:]}"
            self.started.add(name)
            self.end(name)
            self.reset(name)
            return "ended before"
        self.started.add(name)
        found = children.ask(lambda: str(job.check(folder)), self.log)
        assert found == "None", f"after the kill: {found}"
        if name == "training":
            after = jobs.epochs_of(folder)
            assert after >= before, f"epoch {before} was complete, the checkpoint has {after}"
        return f"{name} killed"

    def _wait(self, child: int, name: str) -> int | None:
        """Waits for the moment of the kill; returns the exit code if the child ends before."""
        if self.rng.random() < 0.5:
            return self._wait_until(child, self.rng.uniform(0, self.seconds[name]))
        left = self.rng.randint(1, MOST_WRITES.get(name, 1))  # the file during which to kill
        delay = self.rng.choice([0.0, self.rng.uniform(0, 0.002), self.rng.uniform(0, 0.02)])
        seen: set[str] = set()
        folder = self.folder(name) / "run" if name == "training" else self.folder(name)
        while (code := children.ended(child)) is None:
            with contextlib.suppress(FileNotFoundError):
                seen.update(entry for entry in os.listdir(folder) if ".tmp" in entry)
            if len(seen) >= left:
                return self._wait_until(child, delay)
            time.sleep(0.0002)
        return code

    def _wait_until(self, child: int, delay: float) -> int | None:
        end = time.monotonic() + delay
        while time.monotonic() < end:
            if (code := children.ended(child)) is not None:
                return code
            time.sleep(min(0.002, delay / 4))
        return None
