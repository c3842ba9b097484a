"""Which of several overlapping matches stand: decided from left to right, with bounded memory."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

_LIMIT = 4096


class Candidate(NamedTuple):
    """A span of characters that a rule, known by its place in the order, found."""

    start: int
    end: int
    score: float
    order: int


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
        pending = self._pending
        while pending and (first := pending[0].start) < cut:
            end = pending[0].end
            count = 1
            while count < len(pending) and pending[count].start < min(end, first + _LIMIT, cut):
                end = max(end, pending[count].end)
                count += 1
            if end > cut and first + _LIMIT > cut:
                break
            self._ready += self._resolved(pending[:count])
            del pending[:count]
        done = 0
        while done < len(self._ready) and self._ready[done].end <= cut:
            done += 1
        final, self._ready = self._ready[:done], self._ready[done:]
        waiting = self._ready or pending
        return min(cut, waiting[0].start) if waiting else cut, final

    def _resolved(self, cluster: list[Candidate]) -> list[Candidate]:
        taken: list[Candidate] = []
        for one in sorted(cluster, key=_priority):
            start = max(one.start, self._floor)
            place = max(bisect_left(taken, (start,)) - 1, 0)
            pieces: list[Candidate] = []
            while place < len(taken) and taken[place].start < one.end and start < one.end:
                if start < taken[place].start:
                    pieces.append(one._replace(start=start, end=taken[place].start))
                start = max(start, taken[place].end)
                place += 1
            if start < one.end:
                pieces.append(one._replace(start=start))
            if pieces:
                taken += pieces
                taken.sort()
        self._floor = max(self._floor, *(one.end for one in cluster))
        return taken


def _priority(one: Candidate) -> tuple[int, float, int]:
    return (one.start - one.end, -one.score, one.order)
