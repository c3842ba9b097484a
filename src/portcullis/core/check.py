"""What a check is: one file, one subject, two steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Protocol

import msgspec

from portcullis.core.call import Call, Context, Result, RiskClass
from portcullis.core.containment import Look
from portcullis.core.inspection import Edit
from portcullis.core.verdict import PASS, Allow, Deny, Finding, Verdict

MAX_FINDINGS: Final = 256
"""Most findings of one stream that its judge tells of: of so many, there may be more."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a text of a stream is judged: its first ``settled`` characters may go on.

    ``edits`` are those that became final with this step; they lie within what is settled now
    and was not before, in order, without overlap.
    """

    settled: int
    edits: tuple[Edit, ...] = ()


class StreamJudge(Protocol):
    """Judges the texts of one streamed answer as they grow. Pure and quick.

    ``text`` takes the next piece of the text named ``key``; with ``last`` the text is complete and
    everything is settled. ``whole`` takes a complete text (the arguments of a tool call, which are
    JSON text when ``json`` is set, or a final event's repetition) and returns what goes on in its
    place; the same text as was streamed becomes the same. One that is ``sealed`` is a provider's
    ciphertext or signature, read for canaries alone; of one in an ``error`` of the provider's, what
    may not go on is taken out, and nothing ends. ``clear`` looks at several complete texts at once,
    as (key, text, whether it is sealed): True says that each may stay and that there is nothing to
    say about any; for False ask ``whole`` about each. ``opaque`` is told of content that is no
    text. A Deny ends the stream; nothing that was not settled before it may go out.
    """

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was seen so far, the first ``MAX_FINDINGS`` of it."""
        ...

    def text(self, key: str, piece: str, *, last: bool) -> Progress | Deny:
        """The next piece of a text."""
        ...

    def whole(
        self, key: str, text: str, *, json: bool, sealed: bool = False, error: bool = False
    ) -> str | Deny:
        """A complete text."""
        ...

    def clear(self, texts: Sequence[tuple[str, str, bool]]) -> bool | Deny:
        """Whether nothing is in these texts."""
        ...

    def opaque(self, key: str) -> Deny | None:
        """Something at this place that cannot be read, such as a piece of speech."""
        ...

    def end(self, result: Result) -> Deny | None:
        """The last word, before the end of the stream goes out; asked by the pipeline."""
        ...


class Observer(Protocol):
    """Is told what becomes of every call: who counts, measures or learns, and decides nothing here.

    ``decided`` is told each decision as it was recorded; an allowed call is about to be forwarded.
    ``finished`` is told once of each call that was allowed: with its result as it goes on to the
    caller, or as much of a stream as went on; or with why there is none, or it is withheld. One
    that was cut off while its record was being written is finished first, then decided: denied; one
    that was given up before there was a decision is decided, too: denied, with no record.
    Both are quick and await nothing. What they raise is logged and changes nothing.
    """

    def decided(self, call: Call, context: Context, verdict: Allow | Deny) -> None:
        """A decision."""
        ...

    def finished(
        self, call: Call, context: Context, result: Result | None, problem: Deny | None
    ) -> None:
        """The end of a call that was allowed."""
        ...


class Check:
    """A step of the line. Subclass it, name it, and override what it looks at.

    ``prepare`` may await a port and returns facts; the ``judge`` methods are pure and quick.
    Whatever a check raises is a fault, and the pipeline turns it into a deny. The pipeline
    skips the methods that a check does not override.
    """

    name: ClassVar[str]

    async def prepare(self, call: Call, context: Context) -> object:  # noqa: ARG002 - the default
        """Fetch what ``judge`` needs and cannot know by itself."""
        return None

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:  # noqa: ARG002
        """Decide on the request. Transform replaces the call's arguments or payload."""
        return PASS

    async def lookups(self, call: Call, context: Context) -> Sequence[Look]:  # noqa: ARG002 - the default
        """Calls of the gate's own, to the same server, that may settle what this check asks."""
        return ()

    async def holding(self, call: Call, context: Context, risk: RiskClass) -> None:
        """This call is held, and a human is about to be asked: whatever is raised denies it."""

    async def approved(self, call: Call, context: Context, approval: str) -> None:
        """A human let this call through that was held, and it is about to run: take note.

        ``approval`` is the id of what it consumed: approved twice, a call comes with two.
        """

    async def going(self, call: Call, context: Context, risk: RiskClass) -> None:
        """This call was let through and is about to be forwarded: whatever is raised denies it.

        ``risk`` is the highest that anybody saw in it. Asked in the order of the checks: one that
        counts what goes comes last.
        """

    async def prepare_result(self, call: Call, context: Context, result: Result) -> object:  # noqa: ARG002 - the default
        """Fetch what ``judge_result`` needs and cannot know by itself."""
        return None

    def judge_result(
        self,
        call: Call,  # noqa: ARG002 - the default
        context: Context,  # noqa: ARG002
        result: Result,  # noqa: ARG002
        facts: object,  # noqa: ARG002
    ) -> Verdict:
        """Decide on what came back, in reverse order. Transform replaces the payload."""
        return PASS

    def judge_stream(self, call: Call, context: Context) -> StreamJudge | None:  # noqa: ARG002
        """Who judges the texts of the streamed answer to this call; None when nobody does."""
        return None

    def judge_chunk(self, call: Call, context: Context) -> Verdict:  # noqa: ARG002
        """Decide, for each piece of a stream, whether it may go on. Must be O(1)."""
        return PASS

    def judge_passing(
        self,
        call: Call,  # noqa: ARG002 - the default
        context: Context,  # noqa: ARG002
        characters: Callable[[], int],  # noqa: ARG002
    ) -> Verdict:
        """Decide whether so many more characters of a model's streamed answer may go on.

        They are counted when ``characters`` is called.
        """
        return PASS
