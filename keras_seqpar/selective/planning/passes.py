"""Chooses how frames are computed, by the times that were measured while running.

A frame is computed by its boxes, in full, or plainly: by the network as it is, which makes its
outputs but none of the stored maps. Plain passes are the fastest ones, but the next frame that is
worth computing by boxes needs a full pass before. So they begin once what they would have saved
exceeds such a pass, and end as soon as boxes have become worth that pass: a scene of any kind
takes at most about twice the time of the best choice in hindsight, usually a few percent more.
"""

import collections

BOXES, FULL, PLAIN = "boxes", "full", "plain"
_KEPT = 5  # times of each kind
_PARTS = 8  # shares of the full cost, whose times per cost are kept apart
_REMEASURE = 32  # frames after which a time is measured again; boxes later, as far as they lose
_CLOSE = 1.5  # a full pass is measured again only if it took at most this much longer than boxes,
_FIRST = 2.0  # or this much, if it was measured only once, when memory was touched the first time
_SURE = 0.1  # of a full pass, which has to be lost before plain passes end
_PLAIN_GUESS = 0.9  # of a full pass, until it is measured


class Passes:
    """The times of passes, and the choice between them.

    Args:
        full_cost: cost of computing everything, in the unit of the costs of boxes.
        plain: whether plain passes are possible.

    Attributes:
        is_stale: the stored maps are not those of the last frame, which was computed plainly.
    """

    def __init__(self, full_cost: float, plain: bool):
        self._may_be_plain, self.is_stale = plain, False
        self._full_cost = max(full_cost, 1.0)
        self._full, self._plain = _Times(), _Times()
        self._rates: dict[int, _Times] = {}  # seconds per cost, by share of the full cost
        self._is_cold = True  # no boxes were computed yet
        self._regret = 0.0  # seconds lost by not changing to plain passes, or back

    def choose(self, cost: float) -> str:
        """How to compute a frame whose boxes have a cost."""
        if not self._full.times:
            return FULL
        full, boxes = self._full.usual, cost * self._rate(cost)
        is_known = len(self._plain.times) > 0 and not self._plain.is_first
        plain = self._plain.usual if is_known else _PLAIN_GUESS * full
        for times in (self._full, *self._rates.values()):
            times.age += 1
        best = min(full, boxes)
        if self.is_stale:
            self._regret = max(0.0, self._regret + plain - best)
            return PLAIN if self._regret <= max(full - plain, _SURE * full) else FULL
        self._regret = max(0.0, self._regret + best - plain)
        if self._may_be_plain and self._regret > full:
            return PLAIN
        if boxes <= full:
            kind, other, times = BOXES, FULL, self._full
            again = full < boxes * (_FIRST if times.is_first else _CLOSE)
        else:  # a time that something else delayed would keep boxes away for good
            kind, other, times = FULL, BOXES, self._of_boxes(cost)
            again = times.age * full >= _REMEASURE * (boxes - full)
        return other if times.age >= _REMEASURE and again else kind

    def took(self, kind: str, cost: float, seconds: float) -> None:
        """Notes the time of a pass of some kind, for a frame whose boxes have a cost."""
        if (kind == PLAIN) != self.is_stale:
            self.is_stale, self._regret = kind == PLAIN, 0.0
            self._plain = _Times()  # times of long ago, when the machine was as fast as then
        if kind == BOXES and self._is_cold:
            self._is_cold = False  # memory was touched for the first time
        elif kind == BOXES:
            self._of_boxes(cost).add(seconds / max(cost, 1.0))
        else:
            (self._full if kind == FULL else self._plain).add(seconds)

    def _of_boxes(self, cost: float) -> "_Times":
        return self._rates.setdefault(self._part(cost), _Times())

    def _rate(self, cost: float) -> float:
        """Seconds per cost of boxes: those of the most similar cost, at first that of all."""
        part = self._part(cost)
        known = [x for x, found in self._rates.items() if found.times]
        if not known:
            return self._full.usual / self._full_cost
        return self._rates[min(known, key=lambda other: abs(other - part))].usual

    def _part(self, cost: float) -> int:
        return min(int(_PARTS * cost / self._full_cost), 2 * _PARTS)


class _Times:
    """The last times of one kind; the first one counts only until there is another."""

    def __init__(self):
        self.times: collections.deque[float] = collections.deque(maxlen=_KEPT)
        self.age = _REMEASURE  # frames since it was measured
        self.is_first = False  # there is one time, of the first pass

    def add(self, seconds: float) -> None:
        """Notes a time."""
        is_first = not self.times
        if self.is_first:
            self.times.clear()
        self.times.append(seconds)
        self.is_first, self.age = is_first, _REMEASURE if is_first else 0

    @property
    def usual(self) -> float:
        """The lower quartile of the times: what else the machine does only adds to them."""
        return sorted(self.times)[len(self.times) // 4]
