"""How much a test does: enough at every change, far more by night (``make nightly``)."""

import os
from collections.abc import Callable
from typing import Any, Final

import pytest

NIGHT: Final = bool(os.environ.get("PORTCULLIS_NIGHTLY"))
_FACTOR: Final = 20


def examples(usual: int) -> int:
    """How many cases to generate. Mark the test ``nightly``: then the night runs it."""
    return usual * _FACTOR if NIGHT else usual


def by_night(why: str) -> Callable[[Any], Any]:
    """Marks a test that only the night runs, since by day something smaller stands for it."""

    def marked(test: Any) -> Any:
        return pytest.mark.nightly(pytest.mark.skipif(not NIGHT, reason=f"{why}: by night")(test))

    return marked
