"""A model's streamed answer, read as it grows: nothing goes on before it is judged.

Held back is what may yet become a finding, a placeholder or a canary, and no more than that. A text
is held until it is whole where policy cares about instructions that a model writes, and an answer
where the session declared a schema for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from portcullis.catalogue.schema import Validator
from portcullis.checks import output
from portcullis.checks.growing import Growing, Sight
from portcullis.checks.looking import OPAQUE, Look, clear, look, refused, scored
from portcullis.core.call import Result
from portcullis.core.check import MAX_FINDINGS, Progress
from portcullis.core.errors import Problem
from portcullis.core.inspection import Edit, Path, Source, Text
from portcullis.core.verdict import Deny, Finding
from portcullis.inspection.reading import Wanted
from portcullis.wire.json import decode, encode
from portcullis.wire.texts import replaced
from portcullis.wire.walk import Walk

UNFIT: Final = "OUTPUT_SCHEMA"


class StreamTexts:
    """Implements ``core.check.StreamJudge`` for one answer."""

    def __init__(
        self,
        how: Look,
        sight: Sight,
        *,
        schema: Validator | None,
        asked: Mapping[str, Any],
    ) -> None:
        self._how = how
        self._sight = sight
        self._schema = schema
        self._asked = asked
        self._texts: dict[str, Growing] = {}
        self._findings: list[Finding] = []
        self._denied: Deny | None = None
        self._answers: dict[int, Deny | None] = {}
        """By choice: why what it says is no answer of the schema, if that is so."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """See StreamJudge."""
        return tuple(self._findings)

    def text(self, key: str, piece: str, *, last: bool) -> Progress | Deny:
        """See StreamJudge."""
        if self._denied is not None:
            return self._denied
        one = self._texts.get(key)
        if one is None:
            one = self._texts[key] = Growing(key, self._how, self._sight)
        try:
            progress = one.feed(piece, last=last)
        except Problem as problem:
            progress = Deny(code=problem.code, reason=problem.detail)
        self._note(one.noted())
        if isinstance(progress, Deny):
            self._denied = progress
            return progress
        return self._whole_answer(one, progress, last=last) if self._holds(key) else progress

    def whole(
        self, key: str, text: str, *, json: bool, sealed: bool = False, error: bool = False
    ) -> str | Deny:
        """See StreamJudge."""
        if self._denied is not None:
            return self._denied
        known = self._texts.get(key)
        if known is not None and known.raw() == text:
            return "" if known.taken_out else known.out()
        try:
            how = replace(self._how, error=error)
            judged = self._judged(key, text, how, json=json, sealed=sealed)
        except Problem as problem:
            judged = Deny(code=problem.code, reason=problem.detail)
        if isinstance(judged, Deny):
            self._denied = judged
        elif text and self._holds(key) and not self._fits(key, judged):
            return ""
        return judged

    def clear(self, texts: Sequence[tuple[str, str, bool]]) -> bool | Deny:
        """See StreamJudge. Mostly nothing is in any of them, and to see that once is cheap."""
        if self._denied is not None:
            return self._denied
        if any(key in self._texts or self._holds(key) for key, _, _ in texts):
            return False
        walk = Walk()
        for key, text, sealed in texts:
            _walked(walk, key, text, sealed=sealed)
        wanted = self._wanted(walk.texts)
        if wanted.injection:
            return False
        try:
            readings = self._sight.inspector.read(walk.texts, wanted)
        except Problem:
            return False
        return clear(walk.texts, readings)

    def opaque(self, key: str) -> Deny | None:
        """See StreamJudge."""
        treatment = self._how.rules.opaque(self._how.channel)
        found = Finding(type=OPAQUE, where=key, treatment=treatment)
        if found not in self._findings:
            self._note([found])
        self._denied = self._denied or refused([found])
        return self._denied

    def end(self, result: Result) -> Deny | None:
        """An answer that breaks the session's schema is none, unless its choice calls tools."""
        if result.is_error or self._schema is None:
            return None
        called = {proposal.choice for proposal in result.proposals}
        final = {at: denied for at, denied in self._answers.items() if at not in called}
        silent = output.silent(self._asked, called | self._answers.keys())
        return silent or next(filter(None, final.values()), None)

    def _holds(self, key: str) -> bool:
        return self._schema is not None and output.is_answer(key)

    def _whole_answer(self, one: Growing, progress: Progress, *, last: bool) -> Progress:
        """Nothing until all is there; then all, or nothing of what does not fit."""
        one.held += progress.edits
        if not last:
            return Progress(settled=0)
        if self._fits(one.key, one.out()):
            return Progress(settled=progress.settled, edits=tuple(one.held))
        one.taken_out = True
        everything = Edit(start=0, end=progress.settled, text="")
        return Progress(settled=progress.settled, edits=(everything,))

    def _fits(self, key: str, text: str) -> bool:
        """Whether an answer is of the schema; the stream ends badly if any is not."""
        denied = None if self._schema is None else output.unfit(self._schema, text)
        if denied is not None:
            self._note([Finding(type=UNFIT, where=key, treatment="strip")])
        choice = output.choice_of(key)
        self._answers[choice] = self._answers.get(choice) or denied
        return denied is None

    def _judged(self, key: str, text: str, how: Look, *, json: bool, sealed: bool) -> str | Deny:
        walk = Walk()
        payload = None
        if json and text:
            payload = decode(text.encode("utf-8", "surrogatepass"))
            walk.free(payload, (), Source.MODEL, key)
        else:
            _walked(walk, key, text, sealed=sealed)
        texts = tuple(walk.texts)
        seen = look(texts, self._sight.inspector.read(texts, self._wanted(texts)), how)
        found = [_at(key, finding) for finding in seen.findings]
        self._note(found)
        denied = refused(seen.findings)
        if denied is not None:
            return Deny(code=denied.code, reason=f"{key}: {denied.reason}", findings=tuple(found))
        if not seen.changes and not seen.names:
            return text
        changes: dict[Path, object] = {path: c.plain for path, c in seen.changes.items()}
        if payload is None:
            return str(changes[()])
        return encode(replaced(payload, changes, seen.names)).decode()

    def _wanted(self, texts: Sequence[Text]) -> Wanted:
        return Wanted(
            entities=self._sight.entities,
            injection=scored(texts, self._how.rules),
            canaries=self._how.rules.canaries,
            session=self._sight.session,
        )

    def _note(self, found: list[Finding]) -> None:
        self._findings += found[: MAX_FINDINGS - len(self._findings)]


def _walked(walk: Walk, key: str, text: str, *, sealed: bool) -> None:
    """A text that stands for itself."""
    if sealed:
        walk.texts.append(Text(path=(), text=text, source=Source.MODEL, sealed=True))
    elif text:
        walk.string(text, (), Source.MODEL, key)


def _at(key: str, finding: Finding) -> Finding:
    place, comma, more = finding.where.partition(",")
    where = (key if place == "$" else f"{key}.{place}") + comma + more
    return Finding(type=finding.type, where=where, treatment=finding.treatment)
