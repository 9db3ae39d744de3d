"""Chooses how frames are computed, by the times that were measured while running."""

import collections
import statistics

BOXES, RUNS, FILE = "boxes", "runs", "file"
_KEPT = 9  # times of each kind, of which the median counts
_TRY_AFTER = 3  # full passes run by run before the file as a whole is tried
_EXPLORE = 32  # full passes that were chosen by an estimate, until boxes are measured again


class Passes:
    """The times of passes, and the choice between them.

    Args:
        try_file: whether the file as a whole may be loaded.
    """

    def __init__(self, try_file: bool):
        self._try_file = try_file
        self._full: dict[str, collections.deque[float]] = {
            kind: collections.deque(maxlen=_KEPT) for kind in (RUNS, FILE)
        }
        self._rates: collections.deque = collections.deque(maxlen=_KEPT)  # seconds per cost
        self._runs_seen = 0
        self._estimated = 0
        self.drops_file = False

    def choose_full(self) -> str:
        """How to compute everything: run by run, or in one."""
        if not self._try_file:
            return RUNS
        if self._full[FILE]:
            return min((RUNS, FILE), key=lambda kind: statistics.median(self._full[kind]))
        return FILE if len(self._full[RUNS]) >= _TRY_AFTER else RUNS

    def choose(self, cost: float, full_cost: float) -> str:
        """How to compute a change.

        Args:
            cost: of its boxes.
            full_cost: of everything.
        """
        full = self.choose_full()
        if not self._rates or not self._full[full]:
            return BOXES if cost < full_cost else full
        if cost * statistics.median(self._rates) <= statistics.median(self._full[full]):
            return BOXES
        self._estimated += 1
        if self._estimated % _EXPLORE == 0 and cost < full_cost:
            return BOXES
        return full

    def took(self, kind: str, seconds: float, cost: float, warm: bool) -> None:
        """Notes the time of a pass.

        Args:
            kind: of the pass.
            seconds: that it took.
            cost: of what there was to do, for boxes.
            warm: nothing was loaded meanwhile.
        """
        if kind == BOXES:
            self._rates.append(seconds / max(cost, 1.0))
            return
        if kind == RUNS:
            self._runs_seen += 1
            warm = warm and self._runs_seen > 1  # interpreters are made in the first one
        if warm:
            self._full[kind].append(seconds)
        slow = len(self._full[FILE]) >= 3 and self.choose_full() == RUNS
        if slow:  # its memory is given back
            self._try_file, self.drops_file = False, True
