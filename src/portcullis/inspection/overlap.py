"""Which of several overlapping matches stand: decided from left to right, with bounded memory."""

from __future__ import annotations

from bisect import bisect_left
from typing import TypeAlias

_LIMIT = 4096

Candidate: TypeAlias = tuple[int, int, float, int]
"""The start and end of what was found, its score, and the place of its rule in the order."""


class Overlaps:
    """Resolves overlaps of candidates; the outcome does not depend on when they become known.

    Candidates that overlap, directly or through others, form a cluster; one that begins 4096
    characters after the cluster's first begins the next. Within a cluster the longest wins, then
    the higher score, then the earlier rule. What a loser covers beyond the winners stays a match
    of its own, so that nothing that was found is passed over.
    """

    def __init__(self) -> None:
        self._pending: list[Candidate] = []
        self._ready: list[Candidate] = []
        self._floor = 0

    def add(self, found: list[Candidate]) -> None:
        """Take candidates that begin at or after every earlier ``cut``."""
        self._pending += found
        self._pending.sort()

    def settle(self, cut: int) -> tuple[int, list[Candidate]]:
        """All candidates that begin before ``cut`` are known: what is final now.

        Returns how far the text is settled (at most ``cut``, and never within a match), and the
        matches that end before that and were not returned before, in order, without overlap.
        """
        pending, ready, floor = self._pending, self._ready, self._floor
        index, count = 0, len(pending)
        while index < count and (first := pending[index])[0] < cut:
            start, end, after = first[0], first[1], index + 1
            while after < count and (one := pending[after])[0] < end:
                if one[0] >= min(start + _LIMIT, cut):
                    break
                end = max(end, one[1])
                after += 1
            if end > cut and start + _LIMIT > cut:
                break
            alone = after - index == 1 or (first[1] == end and pending[index + 1][0] > start)
            if alone and start >= floor:
                ready.append(first)
                floor = end
            else:
                ready += _resolved(pending[index:after], floor)
                floor = max(floor, end)
            index = after
        self._floor = floor
        del pending[:index]
        done = len(ready)
        while done and ready[done - 1][1] > cut:
            done -= 1
        final, self._ready = ready[:done], ready[done:]
        waiting = self._ready or pending
        return min(cut, waiting[0][0]) if waiting else cut, final


def _resolved(cluster: list[Candidate], floor: int) -> list[Candidate]:
    taken: list[Candidate] = []
    for one in sorted(cluster, key=_priority):
        start, end, score, order = one
        start = max(start, floor)
        place = max(bisect_left(taken, (start,)) - 1, 0)
        pieces: list[Candidate] = []
        while place < len(taken) and taken[place][0] < end and start < end:
            if start < taken[place][0]:
                pieces.append((start, taken[place][0], score, order))
            start = max(start, taken[place][1])
            place += 1
        if start < end:
            pieces.append((start, end, score, order))
        if pieces:
            taken += pieces
            taken.sort()
    return taken


def _priority(one: Candidate) -> tuple[int, float, int]:
    return (one[0] - one[1], -one[2], one[3])
