"""What a process of ours that evaluates policy sees of the environment."""

from __future__ import annotations

import os
from typing import Final

_INHERITED: Final = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONTZPATH")
"""What of the environment it sees: no secret stands in these."""


def environment() -> dict[str, str]:
    """The environment of such a process."""
    return {key: os.environ[key] for key in _INHERITED if key in os.environ}
