"""What a check is: one file, one subject, two steps."""

from __future__ import annotations

from typing import ClassVar

from portcullis.core.call import Call, Context, Result
from portcullis.core.verdict import PASS, Verdict


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

    def judge_result(self, call: Call, context: Context, result: Result) -> Verdict:  # noqa: ARG002
        """Decide on what came back, in reverse order. Transform replaces the payload."""
        return PASS

    def judge_chunk(self, call: Call, context: Context) -> Verdict:  # noqa: ARG002
        """Decide, for each piece of a stream, whether it may go on. Must be O(1)."""
        return PASS
