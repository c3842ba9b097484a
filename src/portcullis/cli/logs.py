"""Structured logs on stderr: one JSON object a line, without content.

An exception is logged by its type and the places it passed, never by its message or by values:
either could hold what an agent or an upstream sent.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog


def configure() -> None:
    """Set up the logs of this process."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _places,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _places(_: Any, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace ``exc_info`` by the exception's type and its frames."""
    if entry.pop("exc_info", None):
        kind, _error, frames = sys.exc_info()
        entry["exception"] = kind.__name__ if kind else ""
        entry["at"] = [
            f"{frame.filename.rpartition('portcullis/')[2]}:{frame.lineno}"
            for frame in traceback.extract_tb(frames)
        ]
    return entry
