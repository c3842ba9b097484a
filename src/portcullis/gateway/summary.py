"""What came back, in the numbers and words that may stand in the log."""

from __future__ import annotations

from typing import Final

from portcullis.core.call import Result
from portcullis.core.event import ResultSummary
from portcullis.core.names import made_of_words

_LONGEST_END: Final = 40
"""Characters of the longest word for how an answer ended."""


def summary(result: Result) -> ResultSummary:
    """A result without its content."""
    return ResultSummary(
        bytes=result.size,
        error=result.is_error,
        finish=_word(result.finish),
        proposals=len(result.proposals),
        chunks=result.chunks,
        sent=result.sent,
    )


def _word(finish: str | None) -> str | None:
    """How an answer ended, as a word; what the upstream put in its place is not for the log."""
    if finish is None or (len(finish) <= _LONGEST_END and made_of_words(finish)):
        return finish
    return "other"
