"""Chooses how frames are computed, by the times that were measured while running."""

import collections
import statistics

BOXES, RUNS, FILE = "boxes", "runs", "file"
_KEPT = 9  # times of each kind, of which the median counts
_TRY_SHARE = 0.5  # of the cost of everything, from which on the file as a whole may be faster
_TRY_AFTER = 3  # such frames, before the file as a whole is loaded and tried
_TRIES = 3  # times of the file that are measured before they count
_EXPLORE = 32  # frames that the file computes, until the runs are measured again
_PARTS = 4  # shares of the cost, whose times per cost are kept apart


class Passes:
    """The times of passes, and the choice between them.

    Args:
        try_file: whether the file as a whole may be loaded.

    Attributes:
        drops_file: the file as a whole was tried and is not faster; its memory is given back.
    """

    def __init__(self, try_file: bool):
        self._try_file = try_file
        # Seconds per cost, by how large a share of everything the cost is.
        self._rates: dict[int, collections.deque[float]] = collections.defaultdict(_times)
        self._of_file = _times()
        self._is_cold = True
        self._candidates = 0
        self._by_file = 0
        self.drops_file = False

    def choose(self, cost: float, full_cost: float) -> str:
        """How to compute a change: its boxes, everything run by run, or everything in one.

        Args:
            cost: of its boxes.
            full_cost: of everything.
        """
        by_runs = BOXES if cost < full_cost else RUNS
        if not self._try_file or not self._rates:
            return by_runs
        if len(self._of_file) < _TRIES:
            self._candidates += cost >= _TRY_SHARE * full_cost
            is_candidate = cost >= _TRY_SHARE * full_cost and self._candidates > _TRY_AFTER
            return FILE if is_candidate else by_runs
        if statistics.median(self._of_file) >= self._expected(cost, full_cost):
            return by_runs
        self._by_file += 1
        return by_runs if self._by_file % _EXPLORE == 0 else FILE

    def took(self, kind: str, seconds: float, cost: float, full_cost: float, warm: bool) -> None:
        """Notes the time of a pass.

        Args:
            kind: of the pass.
            seconds: that it took.
            cost: of what there was to do.
            full_cost: of everything.
            warm: nothing was loaded meanwhile.
        """
        if kind == FILE:
            if warm:
                self._of_file.append(seconds)
            if len(self._of_file) == _TRIES:
                slow = statistics.median(self._of_file) > self._expected(full_cost, full_cost)
                self.drops_file, self._try_file = slow, not slow
            return
        if self._is_cold:  # the first pass of all: memory is touched for the first time
            self._is_cold = False
            return
        self._rates[_part(cost, full_cost)].append(seconds / max(cost, 1.0))

    def _expected(self, cost: float, full_cost: float) -> float:
        """Seconds that runs take, from the times of the most similar cost."""
        part = _part(cost, full_cost)
        nearest = min(self._rates, key=lambda known: abs(known - part))
        return cost * statistics.median(self._rates[nearest])


def _times() -> collections.deque[float]:
    return collections.deque(maxlen=_KEPT)


def _part(cost: float, full_cost: float) -> int:
    return min(int(_PARTS * cost / max(full_cost, 1.0)), _PARTS)
