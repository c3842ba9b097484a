"""How much a test does: enough at every change, far more by night (``make nightly``)."""

import os
from typing import Final

NIGHT: Final = bool(os.environ.get("PORTCULLIS_NIGHTLY"))
_FACTOR: Final = 20


def examples(usual: int) -> int:
    """How many cases to generate. Mark the test ``nightly``: then the night runs it."""
    return usual * _FACTOR if NIGHT else usual
