"""What is seen in the texts of one call, and what policy wants done about each. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from portcullis.checks import treat
from portcullis.checks.restoring import Trail
from portcullis.checks.rules import Rules
from portcullis.checks.shapes import Change
from portcullis.checks.treat import Span, Substitutes
from portcullis.core.inspection import (
    Channel,
    InjectionScore,
    InjectionVerdict,
    Leak,
    Path,
    Source,
    Text,
    Treatment,
)
from portcullis.core.verdict import Deny, Finding
from portcullis.inspection.honeytokens import HONEYTOKEN
from portcullis.inspection.links import foreign
from portcullis.inspection.reading import Reading
from portcullis.wire.texts import where

CANARY: Final = "CANARY"
STOLEN: Final = "HONEYTOKEN"
"""The type of finding of a credential that nobody has reason to hold."""
INJECTION: Final = "INJECTION"
OPAQUE: Final = "OPAQUE"
NOTE: Final = "[taken out: this text looked like instructions]"
"""What stands in the place of a text that was stripped."""
TAKEN: Final = "[taken out: the gate does not pass this text on]"
"""What stands in the place of a text of an error that may not go on."""

HELD: Final = "PC3023"
"""The code of what may pass only if a human lets it."""
_SHOWN: Final = 8
_REFUSALS: Final = (
    (STOLEN, Treatment.BLOCK, "PC5065"),
    (CANARY, Treatment.BLOCK, "PC3020"),
    (INJECTION, Treatment.BLOCK, "PC3022"),
    (OPAQUE, Treatment.BLOCK, "PC3024"),
    ("", Treatment.BLOCK, "PC3021"),
    ("", Treatment.HOLD, HELD),
)
"""Type of finding (or any), its treatment, and the code of the refusal; the gravest first."""


@dataclass(frozen=True, slots=True)
class Look:
    """How the texts of one call are looked at.

    ``wrap`` puts a text into the session's envelope. A text at one of the paths in ``fixed`` came
    out of a document: what would have to be rewritten in it is blocked. In a ``listing`` (of
    tools, prompts, resources; a server's greeting) a text that instructs is taken out, and the
    rest stands. So it is in an ``error`` of a provider, which may quote the request, with every
    text that may not go on: its client shall know what went wrong.
    """

    channel: Channel
    rules: Rules
    substitutes: Substitutes
    wrap: Callable[[str], str]
    fixed: frozenset[Path] = frozenset()
    listing: bool = False
    error: bool = False

    def instead(self, span: Span, value: str, trail: Trail) -> str:
        """What goes on in the place of a span's value, after what left the ``trail``.

        A value that is held goes on as it is, if anything of its text does.
        """
        if span.treatment is Treatment.HOLD:
            return value
        if span.treatment is Treatment.ALLOW:
            return trail.value_of(value, self.substitutes.vault)
        return self.substitutes.of(span.entity, span.treatment, value)

    def rewritten(self, text: str, spans: Sequence[Span]) -> str:
        """The text with each span replaced; they are in order and do not overlap."""
        if not spans:
            return text
        trail, parts, at = Trail(self.rules.links), [], 0
        for span in spans:
            parts.append(trail.goes_on(text[at : span.start]))
            new = self.instead(span, text[span.start : span.end], trail)
            parts.append(trail.goes_on(new))
            at = span.end
        return "".join((*parts, text[at:]))


@dataclass(slots=True)
class Seen:
    """What was seen, and what is to be done: ``changes`` and ``names`` (of members) by path."""

    findings: list[Finding] = field(default_factory=list)
    changes: dict[Path, Change] = field(default_factory=dict)
    names: dict[Path, str] = field(default_factory=dict)


def look(texts: Sequence[Text], readings: Iterable[Reading], how: Look) -> Seen:
    """Decide on every text. Raises Problem PC3025 when the vault is full."""
    seen = Seen()
    for text, reading in zip(texts, readings, strict=True):
        _look_at(text, reading, how, seen)
    return seen


def scored(texts: Iterable[Text], rules: Rules) -> frozenset[Source]:
    """The sources among the texts for which policy cares about instructions."""
    sources = {text.source for text in texts}
    return frozenset([s for s in sources if rules.injection(s) is not Treatment.ALLOW])


def leaked(leaks: Iterable[Leak], where: str) -> tuple[Finding, ...]:
    """Canaries and honeytokens: nothing lets them pass."""
    return tuple(
        Finding(
            type=STOLEN if leak.place.startswith(HONEYTOKEN) else CANARY,
            where=f"{where}, from {leak.place}",
            treatment=Treatment.BLOCK,
        )
        for leak in leaks
    )


def injected(
    score: InjectionScore | None, treatment: Treatment, where: str, *, fixed: bool
) -> Finding | None:
    """What goes on record of a score; a ``fixed`` text cannot be rewritten and is blocked."""
    if score is None or score.verdict is InjectionVerdict.CLEAN:
        return None
    if score.verdict is InjectionVerdict.SUSPECT:
        treatment = Treatment.ALLOW
    elif fixed and treatment in {Treatment.STRIP, Treatment.WRAP}:
        treatment = Treatment.BLOCK
    tenths = int(score.score * 10)
    return Finding(type=INJECTION, where=f"{where}, score 0.{min(tenths, 9)}", treatment=treatment)


def refused(seen: Sequence[Finding]) -> Deny | None:
    """The Deny that the findings ask for, the gravest; it names places. None when all may pass."""
    if not seen:
        return None
    for kind, treatment, code in _REFUSALS:
        found = [f for f in seen if f.treatment == treatment and kind in {f.type, ""}]
        if found:
            places = dict.fromkeys(f"{f.type} in {f.where}" for f in found)
            return Deny(code=code, reason="; ".join(list(places)[:_SHOWN]), findings=tuple(seen))
    return None


def _spans(text: str, reading: Reading, how: Look) -> tuple[Span, ...]:
    """What is done with which stretch of a text; what is hidden in it takes the whole of it."""
    links = how.rules.links
    found = treat.decided(
        reading.matches,
        how.rules,
        how.channel,
        lambda match: not foreign(text[match.start : match.end], links),
    )
    found = treat.lengthened(text, found)
    for hidden in reading.hidden:
        treatment = how.rules.treatment(how.channel, hidden.entity, hidden.category)
        if treatment is not Treatment.ALLOW:
            wanted = Treatment.MASK if treatment in treat.REWRITTEN else treatment
            found.append(Span(0, len(text), hidden.entity, wanted))
    if how.channel is Channel.FROM_MODEL:
        found += treat.placeholders(text, Treatment.ALLOW)
    elif how.rules.tokenises(how.channel):
        found += treat.placeholders(text, Treatment.TOKENISE)
    return tuple(treat.merged(found))


def clear(texts: Sequence[Text], readings: Sequence[Reading]) -> bool:
    """Whether there is nothing to decide on: nothing was seen, nothing looks like a placeholder."""
    for text, reading in zip(texts, readings, strict=True):
        if not reading.nothing or "<" in text.text:
            return False
    return True


def _look_at(text: Text, reading: Reading, how: Look, seen: Seen) -> None:
    at = f"{where(text.path[:-1])}.?" if text.name else where(text.path)
    fixed = text.path in how.fixed
    spans = _spans(text.text, reading, how)
    treatment = how.rules.injection(text.source)
    if how.listing and treatment is Treatment.BLOCK:
        treatment = Treatment.STRIP
    unmovable = fixed or text.number or text.name
    injection = injected(reading.injection, treatment, at, fixed=unmovable)
    found = (*leaked(reading.leaks, at), *treat.findings(spans, at, fixed=fixed))
    found += () if injection is None else (injection,)
    taken = how.error and not fixed and refused(found) is not None
    seen.findings += map(_taken, found) if taken else found
    if fixed:
        return
    new = TAKEN if taken else how.rewritten(text.text, spans)
    if taken:
        spans = ()
    elif injection is not None and injection.treatment == Treatment.STRIP:
        new, spans = NOTE, ()
    elif _wraps(injection) and how.channel is not Channel.TO_MODEL:  # all is wrapped there
        new, spans = how.wrap(new), ()
    if new == text.text:
        return
    if text.name:
        seen.names[text.path] = new
    else:
        seen.changes[text.path] = Change(text=text.text, plain=new, spans=spans, number=text.number)


def _taken(finding: Finding) -> Finding:
    return Finding(type=finding.type, where=finding.where, treatment=Treatment.STRIP)


def _wraps(injection: Finding | None) -> bool:
    return injection is not None and injection.treatment == Treatment.WRAP
