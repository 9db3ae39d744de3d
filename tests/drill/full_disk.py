"""A full disk: training, conversion, packing and watching on disks of random sizes.

A child mounts a `tmpfs` of the size in a name space of its own, where the system allows that;
otherwise it limits the size of every file it writes. A command that does not fit must end with a
message that names a file in its folder and the way on; what it leaves must be complete; and on a
larger disk the same command must end with the same results as one that had the room.
"""

import contextlib
import ctypes
import os
import random
import resource
import shutil
import signal
import tempfile
from pathlib import Path

from tests.drill import children, jobs

SIZES = 20
SPREAD = ("training", "conversion", "training", "packing", "watching", "training", "archiving")
SPREAD += ("training", "adding", "watching")
PAGE = 4096
_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000
_PRIVATE, _RECURSIVE, _REMOUNT = 1 << 18, 1 << 14, 1 << 5
LARGE = 256 * 2**20


def run(share: float, seed: int) -> dict[str, int]:
    """Runs commands on full disks; prints a line for every fault.

    Args:
        share: of `SIZES`.
        seed: of the sizes.

    Returns:
        Outcome -> how often: commands that were refused on a full disk or by a limit on files,
        commands that had the room, and "faults".
    """
    children.import_all()
    rng = random.Random(seed)
    names = [SPREAD[i % len(SPREAD)] for i in range(max(1, round(SIZES * share)))]
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="drill-disk-") as folder:
        base = Path(folder)
        log = base / "log"
        assert children.ask(lambda: str(jobs.make_inputs(base)), log) == "None"
        made = {job.name: job for job in jobs.make_jobs(base) if job.name in names}
        needs = {name: _measure(job, base) for name, job in made.items()}
        for number, name in enumerate(names):
            before, after, result = needs[name]
            pages = rng.randint(before // PAGE + 2, max(before, after) // PAGE + 2)
            disk = base / f"disk_{number}"
            disk.mkdir()
            try:
                outcome = children.ask(
                    lambda n=name, d=disk, p=pages, r=result: _attempt(made[n], d, p * PAGE, r),
                    base / f"log_{number}",
                )
            except AssertionError as error:
                outcome = str(error)
            if "\n" in outcome or outcome not in OUTCOMES:
                print(f"full_disk: case {number}, {name}, {pages} pages, seed {seed}: {outcome}")
                outcome = "faults"
            counts[outcome] = counts.get(outcome, 0) + 1
    return {"faults": 0, **counts}


OUTCOMES = ("refused on a full tmpfs", "refused by a limit on files", "had the room")


def _measure(job: jobs.Job, base: Path) -> tuple[int, int, str]:
    """The bytes of a job's folder before and after it, and its result."""
    folder, log = base / f"whole_{job.name}", base / "log"
    folder.mkdir()
    job.prepare(folder)
    before = _bytes(folder)
    code = children.finish(children.start(job.command, job.arguments(folder), log))
    assert code == 0, log.read_text("utf-8", "replace")
    return before, _bytes(folder), children.ask(lambda: job.result(folder), log)


def _bytes(folder: Path) -> int:
    """The bytes that a folder takes, in pages."""
    sizes = [path.stat().st_size if path.is_file() else 1 for path in folder.rglob("*")]
    return sum(-(-size // PAGE) * PAGE for size in sizes)


def _attempt(job: jobs.Job, disk: Path, size: int, result: str) -> str:
    """Runs a job on a small disk, then on a large one. Returns the outcome, or what is wrong."""
    log = disk.with_suffix(".log")
    mounted = mount(disk, size)
    folder = disk / "job"
    try:
        folder.mkdir()
        job.prepare(folder)

        def limited() -> int:
            if not mounted:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size // 4, size // 4))
            return children.commands.call(job.command, *job.arguments(folder))

        code = children.finish(children.fork(limited, log))
        text = log.read_text("utf-8", "replace")
        found = children.ask(lambda: str(job.check(folder)), log)
        if found != "None":
            return f"it left: {found}\nafter:\n{text[-1500:]}"
        if code:
            said = [line for line in text.splitlines() if line.startswith("error: ")]
            if code != 1 or not said or str(folder) not in said[-1] or "run this" not in said[-1]:
                return f"it ended with {code} and said:\n{text[-1500:]}"
            if left := jobs.temporary_files(folder):
                return f"temporary files stay: {left}"
            if mounted:
                mount(disk, LARGE, again=True)
            code = children.finish(children.start(job.command, job.arguments(folder), log))
            if code:
                return f"with more room it ended with {code}:\n{log.read_text('utf-8')[-1500:]}"
        now = children.ask(lambda: job.result(folder), log)
        if now != result:
            return f"it made\n{now}\ninstead of\n{result}"
        if not said_refused(text):
            return "had the room"
        return "refused on a full tmpfs" if mounted else "refused by a limit on files"
    finally:
        if not mounted:
            shutil.rmtree(folder, ignore_errors=True)


def said_refused(text: str) -> bool:
    """Whether a command said that it could not write."""
    return any(line.startswith("error: ") for line in text.splitlines())


def mount(folder: Path, size: int, again: bool = False) -> bool:
    """Mounts a disk of a size over a folder, for this process and its children only.

    Args:
        folder: where to mount.
        size: of the disk in bytes.
        again: change the size of the disk that is there.

    Returns:
        Whether the system allowed it.
    """
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        user, group = os.geteuid(), os.getegid()
        if not again:
            kinds = _NEW_MOUNTS if user == 0 else _NEW_MOUNTS | _NEW_USER
            if libc.unshare(kinds):
                return False
            if user:
                with contextlib.suppress(OSError):
                    Path("/proc/self/setgroups").write_text("deny")
                Path("/proc/self/uid_map").write_text(f"0 {user} 1")
                Path("/proc/self/gid_map").write_text(f"0 {group} 1")
            if libc.mount(b"none", b"/", None, _PRIVATE | _RECURSIVE, None):
                return False
        options = f"size={size}".encode()
        flags = _REMOUNT if again else 0
        return libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options) == 0
    except (OSError, AttributeError):  # no such system call
        return False
