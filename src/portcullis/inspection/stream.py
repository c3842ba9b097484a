"""A text that grows: what is found in it, and how much of it can no longer change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from portcullis.core.inspection import Match
from portcullis.inspection.database import Prefilter
from portcullis.inspection.matcher import FENCE, Found, Matcher, Places, Work, match
from portcullis.inspection.overlap import Candidate, Overlaps
from portcullis.inspection.prefix import Plan


class Settled(NamedTuple):
    """The first ``settled`` characters are final; ``matches`` are those that became final now."""

    settled: int
    matches: tuple[Match, ...]


class PatternStream:
    """Finds in pieces what a scan finds in the whole text, each match once, when it is final.

    Offsets count characters from the beginning of the text. What may still become a datum is
    held, and nothing else; a matching datum is held until the character after it is seen.
    """

    def __init__(
        self,
        matchers: Mapping[int, Matcher],
        prefilter: Prefilter,
        plan: Plan,
    ) -> None:
        self._matchers = matchers
        self._prefilter = prefilter
        self._plan = plan
        self._watches = plan.watch()
        self._overlaps = Overlaps()
        self._buffer = FENCE
        self._offset = 0
        """Bytes of the text, fence included, that are no longer in the buffer."""
        self._before = -1
        """The same in characters, without the fence."""
        self._cut = 1
        self._open = 1
        self._next: dict[int, int] = {}
        self._settled = 0

    def feed(self, piece: str) -> Settled:
        """Take the next piece. Raises Problem PC3025 as a scan does."""
        self._buffer += piece.encode(errors="replace")
        offset = self._offset
        cut, opened = self._watches.held(
            self._buffer, offset, self._cut - offset, self._open - offset
        )
        if cut + offset == self._cut:  # what else could be decided changes nothing yet
            return Settled(self._settled, ())
        return self._advance(cut + offset, max(opened + offset, self._open))

    def end(self, piece: str = "") -> Settled:
        """The text is complete with this piece: everything is settled. The stream is used up."""
        self._buffer += piece.encode(errors="replace")
        end = self._offset + len(self._buffer)
        self._buffer += FENCE
        return self._advance(end, end)

    def _advance(self, cut: int, undecided: int) -> Settled:
        """Decide on what begins before these places (bytes of the text)."""
        buffer, offset = self._buffer, self._offset
        work = Work()
        place = Places(buffer)
        found: list[Candidate] = []
        plain = buffer.isascii()
        for order, windows in self._prefilter.hits(buffer, plain=plain).items():
            one = self._matchers.get(order)
            if one is None:
                continue
            known, stop = (self._open, undecided) if one.grouped else (self._cut, cut)
            known, stop = known - one.glued, stop - one.glued
            begin = max(self._next.get(order, 0), known) - offset
            spans: list[Found] = []
            exact = order in self._prefilter.exact
            then = one.sweep(buffer, windows, begin, stop - offset, work, spans, exact=exact)
            self._next[order] = then + offset
            found += [
                (self._before + place(start), self._before + place(end), score, order)
                for start, end, score, _ in spans
            ]
            if one.grouped and stop < offset + len(buffer):
                begin = max(then, stop - offset)
                cut = min(cut, one.tentative(buffer, windows, begin, work) + offset)
        self._cut, self._open = max(cut, self._cut), undecided
        if found:
            self._overlaps.add(found)
        settled = self._before + place(self._cut - offset)
        self._settled, final = self._overlaps.settle(settled)
        self._trim(place)
        return Settled(self._settled, tuple(self._match(one) for one in final))

    def _match(self, one: Candidate) -> Match:
        start, end, score, order = one
        return match(self._matchers[order].rule, start, end, score)

    def _trim(self, place: Places) -> None:
        """Forget what no decision looks back at."""
        buffer = self._buffer
        keep = min(self._cut, self._open) - self._offset
        keep -= self._plan.behind(plain=buffer.isascii())
        while keep > 0 and 0x80 <= buffer[keep] < 0xC0:  # noqa: PLR2004 - a continuation byte
            keep -= 1
        if keep > 0:
            self._before += place(keep)
            self._offset += keep
            self._buffer = buffer[keep:]
