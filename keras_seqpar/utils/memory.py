"""The memory of this process."""

from pathlib import Path


def resident(key: str) -> int | None:
    """Bytes of resident memory: now, VmRSS, or at most so far, VmHWM (proc_pid_status(5))."""
    # getrusage's ru_maxrss would be wrong: in a process that was started without a copy of its
    # parent's memory (vfork), it begins at the parent's peak.
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # no Linux
        return None
    values = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return 1024 * int(values[0]) if values else None
