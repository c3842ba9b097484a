"""One text of a stream: what of it is final, and what stands in the place of what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from portcullis.checks import treat
from portcullis.checks.looking import Look, injected, leaked, refused
from portcullis.checks.restoring import RUN
from portcullis.checks.treat import PLACEHOLDER, PREFIX, Span, edited, merged
from portcullis.core.check import Progress
from portcullis.core.inspection import (
    Edit,
    InjectionScore,
    Match,
    Source,
    Text,
    Treatment,
)
from portcullis.core.verdict import Deny, Finding
from portcullis.inspection.canary import SPAN, Canaries
from portcullis.inspection.inspector import Inspector, Wanted
from portcullis.inspection.links import foreign
from portcullis.inspection.normalise import layers
from portcullis.inspection.patterns import Patterns

_BODY: Final = 25
"""Letters and digits of a canary after its marker."""


class Scorer(Protocol):
    """Scores a text that comes in pieces; see ``inspection.injection.InjectionStream``."""

    def feed(self, piece: str) -> object:
        """Take the next piece."""
        ...

    def end(self) -> InjectionScore:
        """The score of the whole."""
        ...


class Scorers(Protocol):
    """Makes scorers; see ``inspection.injection.Injection``."""

    def stream(self, source: Source) -> Scorer:
        """For one text."""
        ...


@dataclass(frozen=True, slots=True)
class Sight:
    """What a stream is read with: only what its profile asks for."""

    inspector: Inspector
    patterns: Patterns | None
    scorers: Scorers | None
    canaries: Canaries | None
    canary: re.Pattern[str]
    entities: frozenset[str]
    session: str


@lru_cache(maxsize=64)
def beginning(token: str) -> re.Pattern[str]:
    """Finds, at the end of a text, what may become a canary of the key that made ``token``."""
    marker = token.partition("-")[0]
    between = r"[^0-9A-Za-z]{0,8}"
    rest = rf"(?:{between}[0-9A-Za-z]){{0,{_BODY - 1}}}"
    for digit in reversed(marker[1:]):
        rest = rf"(?:{between}{digit}{rest})?"
    return re.compile(rf"{marker[0]}{rest}{between}\Z")


class Growing:
    """Characters are counted from the beginning of the text."""

    def __init__(self, key: str, how: Look, sight: Sight) -> None:
        self.key = key
        self._how = how
        self._sight = sight
        self._patterns = sight.patterns.stream() if sight.patterns else None
        self._scorer = sight.scorers.stream(Source.MODEL) if sight.scorers else None
        self._pieces: list[str] = []
        self._out: list[str] = []
        self._tail = ""
        self._settled = 0
        """Where the tail begins."""
        self._looked = 0
        self._before = ""
        self._recent = ""
        self._pending: list[Span] = []
        self._matched: set[tuple[int, int]] = set()
        self._noted: list[Finding] = []
        self.held: list[Edit] = []
        self.taken_out = False

    def raw(self) -> str:
        """All that came."""
        return "".join(self._pieces)

    def out(self) -> str:
        """All that goes on in its place, as far as it is settled."""
        return "".join(self._out)

    def noted(self) -> list[Finding]:
        """What was found since this was last asked."""
        found, self._noted = self._noted, []
        return found

    def feed(self, piece: str, *, last: bool) -> Progress | Deny:
        """Take the next piece. Raises Problem PC3025 for too much."""
        self._pieces.append(piece)
        self._tail += piece
        cut = self._settled + len(self._tail)
        denied = self._leaked(piece, last=last)
        if denied is not None:
            return denied
        if self._patterns is not None:
            known = self._patterns.feed(piece)
            matches, cut = known.matches, min(cut, known.settled)
            if last:
                known = self._patterns.end()
                matches, cut = matches + known.matches, known.settled
            denied = self._found(matches)
            if denied is not None:
                return denied
        if self._scorer is not None:
            self._scorer.feed(piece)
            cut = cut if last else self._settled
        denied = (self._scored() or self._hidden()) if last else None
        return denied or self._progress(cut, last=last)

    def _progress(self, cut: int, *, last: bool) -> Progress:
        cut = min(cut, self._placeholders(last=last))
        if self._sight.canaries is not None and not last:
            cut = min(cut, self._settled + self._open_canary())
        self._pending = merged(self._pending)
        for span in self._pending:
            if span.start < cut < span.end:
                cut = span.start
        done = [span for span in self._pending if span.end <= cut]
        self._pending = self._pending[len(done) :]
        begin = self._settled
        edits = tuple(self._edit(span) for span in done)
        inner = [
            Edit(start=edit.start - begin, end=edit.end - begin, text=edit.text) for edit in edits
        ]
        final = self._tail[: cut - begin]
        self._out.append(edited(final, inner))
        self._before = (self._before + final)[-RUN:]
        self._tail = self._tail[cut - begin :]
        self._settled = cut
        return Progress(settled=cut, edits=edits)

    def _open_canary(self) -> int:
        """Where in the tail a canary may begin that is not complete."""
        begin = max(len(self._tail) - SPAN, 0)
        found = self._sight.canary.search(self._tail, begin)
        return found.start() if found else len(self._tail)

    def _edit(self, span: Span) -> Edit:
        begin = self._settled
        value = self._tail[span.start - begin : span.end - begin]
        before = self._before + self._tail[: span.start - begin]
        return Edit(start=span.start, end=span.end, text=self._how.instead(span, value, before))

    def _placeholders(self, *, last: bool) -> int:
        """Note the placeholders that are complete; where one may begin that is not."""
        begin = self._settled
        for found in PLACEHOLDER.finditer(self._tail, max(self._looked - begin, 0)):
            start, end = begin + found.start(), begin + found.end()
            self._pending.append(Span(start, end, treat.LITERAL, Treatment.ALLOW))
        open_one = None if last else PREFIX.search(self._tail)
        self._looked = begin + (open_one.start() if open_one else len(self._tail))
        return self._looked

    def _found(self, matches: Sequence[Match]) -> Deny | None:
        if not matches:
            return None
        how, begin = self._how, self._settled
        self._matched.update((match.start, match.end) for match in matches)
        spans = treat.decided(
            matches,
            how.rules,
            how.channel,
            lambda m: not foreign(self._tail[m.start - begin : m.end - begin], how.rules.links),
        )
        self._pending += spans
        return self._noting(treat.findings(spans, self.key))

    def _leaked(self, piece: str, *, last: bool) -> Deny | None:
        canaries = self._sight.canaries
        if canaries is None:
            return None
        self._recent = (self._recent + piece)[-SPAN - len(piece) :]
        leaks = canaries.find(self.raw() if last else self._recent, self._sight.session)
        return self._noting(leaked(leaks, self.key))

    def _scored(self) -> Deny | None:
        score = None if self._scorer is None else self._scorer.end()
        found = injected(score, self._how.rules.injection(Source.MODEL), self.key, fixed=True)
        return None if found is None else self._noting((found,))

    def _hidden(self) -> Deny | None:
        """What only shows when encodings and odd characters are undone ends the stream."""
        raw, how, sight = self.raw(), self._how, self._sight
        found = layers(raw)
        if not sight.entities or (found.text is raw and not found.decoded):
            return None
        wanted = Wanted(
            entities=sight.entities,
            injection=frozenset(),
            canaries=False,
            session=sight.session,
            recognised=False,
        )
        text = Text(path=(), text=raw, source=Source.MODEL)
        reading = sight.inspector.read((text,), wanted)[0]
        shown = [match for match in reading.matches if not self._covered(match)]
        spans = treat.decided(
            shown,
            how.rules,
            how.channel,
            lambda m: not foreign(raw[m.start : m.end], how.rules.links),
        )
        entities = [span.entity for span in spans]
        entities += [
            one.entity
            for one in reading.hidden
            if how.rules.treatment(how.channel, one.entity, one.category) is not Treatment.ALLOW
        ]
        where = f"{self.key}, hidden"
        return self._noting(
            tuple(Finding(type=e, where=where, treatment=Treatment.BLOCK) for e in entities)
        )

    def _covered(self, match: Match) -> bool:
        """Whether a match is, or is part of, one that was seen as the text came."""
        return (match.start, match.end) in self._matched or any(
            start <= match.start and match.end <= end for start, end in self._matched
        )

    def _noting(self, found: tuple[Finding, ...]) -> Deny | None:
        self._noted += found
        return refused(found)
