"""One text of a stream: what of it is final, and what stands in the place of what."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from portcullis.checks import encoded, treat
from portcullis.checks.looking import Look, injected, leaked, refused
from portcullis.checks.restoring import Trail
from portcullis.checks.treat import LONGEST, PLACEHOLDER, PREFIX, Span, merged
from portcullis.core.check import Progress
from portcullis.core.inspection import (
    Category,
    Edit,
    InjectionScore,
    Match,
    Source,
    Text,
    Treatment,
)
from portcullis.core.verdict import Deny, Finding
from portcullis.inspection.canary import SPAN, Canaries
from portcullis.inspection.inspector import Inspector
from portcullis.inspection.links import foreign
from portcullis.inspection.normalise import layers
from portcullis.inspection.patterns import Patterns
from portcullis.inspection.reading import Wanted

_BODY: Final = 25
"""Letters and digits of a canary after its marker."""
_NEARBY: Final = 256
"""How much of what went before is read once more with what is read."""
_SIGNS: Final = string.ascii_letters + string.digits + "+/=_-"
AHEAD: Final = 4
"""Most letters and digits with which a text's first piece goes on that could begin a long datum."""
LONG: Final = 16
"""Bytes of a datum, or of an encoding, of which so few tell nothing."""
_PART: Final = 32
_BATCH: Final = 256
"""Where much is held, and in a long run of letters and digits, pieces are gathered until they are
so small a part of it, or so many characters: else each of its characters would be looked at with
each that follows."""


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
    """What a stream is read with: only what its profile asks for.

    ``brief`` are the rules for data of fewer than LONG bytes; without them a text's first piece
    waits as any other.
    """

    inspector: Inspector
    patterns: Patterns | None
    brief: Patterns | None
    scorers: Scorers | None
    canaries: Canaries | None
    canary: re.Pattern[str]
    entities: frozenset[str]
    session: str


@lru_cache(maxsize=64)
def beginning(marker: str) -> re.Pattern[str]:
    """Finds, at the end of a text, what may become a canary with this marker."""
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
        self._gathered = ""
        self._run = 0
        """How long the run of letters and digits is that the text ends with."""
        self._out: list[str] = []
        self._tail = ""
        self._settled = 0
        """Where the tail begins."""
        self._ahead = 0
        """Up to where the first piece has gone on, beyond what is settled."""
        self._looked = 0
        self._trail = Trail(how.rules.links)
        self._raw_before = ""
        self._read = 0
        """Up to where the text was read for what is encoded in it."""
        self._within = False
        """Whether the tail begins inside of an encoding."""
        self._recent = ""
        self._pending: list[Span] = []
        self._key_ends = 0
        """Where the part of a private key ends that rules see, if it may go on."""
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
        self._gathered += piece
        if not last and self._waits(piece):
            return self._gone()
        piece, self._gathered = self._gathered, ""
        self._tail += piece
        cut = self._settled + len(self._tail)
        denied = self._leaked(piece, last=last)
        if denied is not None:
            return denied
        if self._patterns is not None:
            known = self._patterns.end(piece) if last else self._patterns.feed(piece)
            cut = min(cut, known.settled)
            denied = self._found(known.matches) or self._endless()
            if denied is not None:
                return denied
        if self._scorer is not None:
            self._scorer.feed(piece)
            cut = cut if last else self._settled
        if last:
            denied = self._scored() or self._whole()
        elif self._sight.entities and self._scorer is None:
            denied, settled = self._decoded()
            cut = min(cut, settled)
        return denied or self._progress(cut, last=last)

    def _waits(self, piece: str) -> bool:
        """Whether more is awaited before all that is held is looked at."""
        ends = len(piece.rstrip(_SIGNS))
        self._run = len(piece) - ends if ends else self._run + len(piece)
        long = max(len(self._tail), 0 if ends else self._run)
        return len(self._gathered) < min(long // _PART, _BATCH)

    def _progress(self, cut: int, *, last: bool) -> Progress:
        most = self._placeholders(last=last)
        if self._sight.canaries is not None and not last:
            cut = min(cut, self._settled + self._open_canary())
        gone = self._ahead
        if len(self._pieces) == 1 and cut < most and not last:
            self._ahead = self._begun(cut, most)
        cut = min(cut, most)
        if cut == self._settled and not last:
            return self._gone()
        self._pending = merged(self._pending)
        for span in self._pending:
            if span.start < cut < span.end:
                cut = span.start
        done = [span for span in self._pending if span.end <= cut]
        self._pending = self._pending[len(done) :]
        begin = self._settled
        edits = self._edits(done, cut, gone)
        final = self._tail[: cut - begin]
        self._raw_before = (self._raw_before + final)[-_NEARBY:]
        self._tail = self._tail[cut - begin :]
        self._settled = cut
        return self._gone(edits)

    def _gone(self, edits: tuple[Edit, ...] = ()) -> Progress:
        return Progress(settled=max(self._settled, self._ahead), edits=edits)

    def _begun(self, cut: int, most: int) -> int:
        """Up to where the first piece goes on, of which only what ends at ``cut`` is settled.

        What waits are a few letters and digits that may begin a long datum, or a canary's number,
        which is no secret: they tell nothing, and whoever reads sees the first word.
        """
        brief, tail = self._sight.brief, self._tail
        begun = tail[cut:most]
        if brief is None or most < len(tail) or len(begun) > AHEAD:
            return 0
        if any(span.end > cut for span in self._pending):
            return 0
        if not (begun.isascii() and begun.isalnum()):
            return 0
        return most if brief.stream().feed(tail).settled == most else 0

    def _edits(self, done: Sequence[Span], cut: int, gone: int) -> tuple[Edit, ...]:
        """What stands in the place of the spans; note all that goes on up to the cut.

        What stands before ``gone`` went on before.
        """
        edits: list[Edit] = []
        begin = at = self._settled
        for span in done:
            start = max(span.start, gone)
            self._goes_on(self._tail[at - begin : start - begin])
            value = self._tail[span.start - begin : span.end - begin]
            new = self._how.instead(span, value, self._trail)
            self._goes_on(new)
            edits.append(Edit(start=start, end=span.end, text=new))
            at = span.end
        self._goes_on(self._tail[at - begin : cut - begin])
        return tuple(edits)

    def _goes_on(self, text: str) -> None:
        self._out.append(self._trail.goes_on(text))

    def _open_canary(self) -> int:
        """Where in the tail a canary may begin that is not complete."""
        begin = max(len(self._tail) - SPAN, 0)
        found = self._sight.canary.search(self._tail, begin)
        return found.start() if found else len(self._tail)

    def _placeholders(self, *, last: bool) -> int:
        """Note the placeholders that are complete; where one may begin that is not."""
        begin = self._settled
        for found in PLACEHOLDER.finditer(self._tail, max(self._looked - begin, 0)):
            start, end = begin + found.start(), begin + found.end()
            self._pending.append(Span(start, end, treat.LITERAL, Treatment.ALLOW))
        open_one = None if last else PREFIX.search(self._tail, max(len(self._tail) - LONGEST, 0))
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
        for span in spans:
            if treat.unended(self._tail, span.start - begin, span.end - begin, span.entity):
                self._key_ends = span.end
        return self._noting(treat.findings(spans, self.key))

    def _endless(self) -> Deny | None:
        """A private key that goes on after what rules see of it ends the stream."""
        after = self._tail[self._key_ends - self._settled :] if self._key_ends else ""
        if not after:
            return None
        self._key_ends = 0
        if not treat.lengthens(after):
            return None
        found = Finding(type=treat.KEY, where=self.key, treatment=Treatment.BLOCK)
        return self._noting((found,))

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

    def _decoded(self) -> tuple[Deny | None, int]:
        """Read what is complete of the tail; up to where it may go on, and why it may not."""
        tail, begin = self._tail, self._settled
        end = begin + len(tail)
        start = begin + encoded.begins(tail, self._raw_before, within=self._within)
        if end - start > encoded.HELD:
            self._within, self._read = True, end
            denied = self._hidden(tail, begin, parts=encoded.readings(tail))
            return denied, encoded.step(start, end)
        ends = self._within and start > begin
        self._within = self._within and not ends
        new = tail[max(self._read - begin, 0) :] if start > self._read else ""
        self._read = max(self._read, start)
        if not (ends or (new and _disguised(new))):
            return None, start
        before = self._raw_before
        if len(before) == _NEARBY:  # it may begin within a word
            before = before.partition(" ")[2] or before
        parts = encoded.readings(tail) if ends else ()
        return self._hidden(before + tail, begin - len(before), parts), start

    def _whole(self) -> Deny | None:
        """The text that is complete, read as a whole text is."""
        raw = self.raw()
        return self._hidden(raw, 0) if self._sight.entities and _disguised(raw) else None

    def _hidden(self, text: str, begin: int, parts: Sequence[str] = ()) -> Deny | None:
        """What only shows when encodings and odd characters are undone ends the stream.

        ``text`` begins at ``begin``; ``parts`` were decoded from it.
        """
        how, sight = self._how, self._sight
        wanted = Wanted(
            entities=sight.entities,
            injection=frozenset(),
            canaries=False,
            session=sight.session,
            recognised=False,
        )
        texts = [Text(path=(), text=one, source=Source.MODEL) for one in (text, *parts)]
        reading, *others = sight.inspector.read(texts, wanted)
        shown = [
            match
            for match in self._brought_to_light(text, reading.matches)
            if not self._covered(match.start + begin, match.end + begin)
        ]
        shown += [m for one in others for m in one.matches if m.category is Category.SECRET]
        found = [(m.entity, m.category) for m in shown if not self._harmless(m, text)]
        found += [(m.entity, m.category) for one in (reading, *others) for m in one.hidden]
        where = f"{self.key}, hidden"
        return self._noting(
            tuple(
                Finding(type=entity, where=where, treatment=Treatment.BLOCK)
                for entity, category in dict.fromkeys(found)
                if how.rules.treatment(how.channel, entity, category) is not Treatment.ALLOW
            )
        )

    def _brought_to_light(self, text: str, matches: Sequence[Match]) -> Sequence[Match]:
        """Those matches that a scan of the text as it stands does not show."""
        if not matches or self._sight.patterns is None:
            return matches
        plain = {(m.entity, m.start, m.end) for m in self._sight.patterns.scan([text])[0]}
        return [m for m in matches if (m.entity, m.start, m.end) not in plain]

    def _harmless(self, match: Match, text: str) -> bool:
        links = self._how.rules.links
        exfiltrates = match.category is Category.EXFILTRATION
        return exfiltrates and not foreign(text[match.start : match.end], links)

    def _covered(self, start: int, end: int) -> bool:
        """Whether this stretch is, or is part of, one that was seen as the text came."""
        return (start, end) in self._matched or any(
            low <= start and end <= high for low, high in self._matched
        )

    def _noting(self, found: tuple[Finding, ...]) -> Deny | None:
        self._noted += found
        return refused(found)


def _disguised(text: str) -> bool:
    """Whether anything of a text reads otherwise than it stands, or is encoded in it."""
    found = layers(text)
    return bool(found.decoded) or found.text != text
