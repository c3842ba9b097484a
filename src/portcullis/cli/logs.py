"""Structured logs on stderr: one JSON object a line, without content.

An exception is logged by its type and the places it passed, never by its message or by values:
either could hold what an agent or an upstream sent. What the libraries beneath us log is treated
alike: which of them, at what place in its code, and the exception's type.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, TextIO, cast

import structlog

from portcullis.core.secret import redacted


class _Stderr:
    """Whatever ``sys.stderr`` is when a line is written."""

    def write(self, text: str) -> int:
        """Pass text on."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Pass it on now."""
        sys.stderr.flush()


_STDERR: TextIO = cast("TextIO", _Stderr())


def configure(level: str = "info", process: str = "") -> None:
    """Set up the logs of this process: what is at least of this level.

    ``process`` stands in each line, where the lines of several come out at one place.
    """

    def named(_: Any, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"process": process, **entry} if process else entry

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _places,
            named,
            _without_secrets,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(_STDERR),
        cache_logger_on_first_use=True,
    )
    _hooked()
    root = logging.getLogger()
    if not any(isinstance(handler, _Libraries) for handler in root.handlers):
        root.addHandler(_Libraries())


def _hooked() -> None:
    """Say where an exception that nobody caught passed, and not what it says."""

    def uncaught(
        kind: type[BaseException], _error: BaseException | None, frames: TracebackType | None
    ) -> None:
        structlog.get_logger(__name__).error("uncaught", **_traced(kind, frames))

    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda it: uncaught(it.exc_type, it.exc_value, it.exc_traceback)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = lambda it: uncaught(it.exc_type, it.exc_value, it.exc_traceback)


class _Libraries(logging.Handler):
    """Says that a library logged something and where, and nothing of what it said."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; what cannot be written is lost, like any line of a log."""
        said: dict[str, Any] = {"library": record.name, "where": f"{record.module}:{record.lineno}"}
        kind, _error, frames = record.exc_info or (None, None, None)
        if kind is not None:
            said |= _traced(kind, frames)
        with contextlib.suppress(OSError, ValueError):
            structlog.get_logger(__name__).log(record.levelno, "library_log", **said)


def _traced(kind: type[BaseException], frames: TracebackType | None) -> dict[str, Any]:
    return {
        "exception": kind.__name__,
        "at": [
            f"{frame.filename.rpartition('portcullis/')[2]}:{frame.lineno}"
            for frame in traceback.extract_tb(frames)
        ],
    }


def _without_secrets(_: Any, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take out secrets that somebody put into a line all the same."""
    return {name: _shown(value) for name, value in entry.items()}


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, bool | int | float | None):
        return value
    if isinstance(value, Mapping):
        return {redacted(str(name)): _shown(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(one) for one in value]
    return redacted(repr(value))


def _places(_: Any, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace ``exc_info`` by the exception's type and its frames."""
    if entry.pop("exc_info", None):
        kind, _error, frames = sys.exc_info()
        entry.update({"exception": "", "at": []} if kind is None else _traced(kind, frames))
    return entry
