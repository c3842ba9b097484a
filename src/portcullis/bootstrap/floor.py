"""How much of a log everybody has read who reads on from a position kept on disk."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from portcullis.audit.checkpoint import open_checkpoint
from portcullis.audit.export.cursor import Cursor
from portcullis.audit.files import read
from portcullis.audit.note import MAX_NOTE
from portcullis.audit.replica.ship import REPLICAS
from portcullis.audit.verify import own_verifier
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.review.continuous import FACTS

EXPORT: Final = "export"
"""Below the state directory: cursors and dead letters of exporters, in a folder per log."""
EVIDENCE: Final = "evidence"
"""Below the state directory: what the deployment's evidence is evaluated from."""
_MAX_FACTS: Final = 64 * 2**20


class _At(msgspec.Struct, frozen=True):
    size: int


class _Folded(msgspec.Struct, frozen=True):
    logs: dict[str, _At]


def read_by_all(config: Config, name: str, directory: Path, *, lasting: bool) -> int:
    """How many entries of the log called ``name`` nobody needs any more for what is configured.

    Exporters count and, for a lasting log, replicas and evidence: what has read nothing yet,
    or keeps a position that cannot be read, holds everything.
    """
    try:
        return min(_positions(config, name, directory, lasting=lasting), default=sys.maxsize)
    except (Problem, OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return 0


def _positions(config: Config, name: str, directory: Path, *, lasting: bool) -> Iterator[int]:
    for exporter in config.audit.exporters:
        yield Cursor(config.state / EXPORT / name, exporter.name).seen().next
    if not lasting:
        return
    verifier = own_verifier(directory)
    for replica in config.audit.replicate:
        note = read(directory / REPLICAS / replica.name, MAX_NOTE)
        yield open_checkpoint(note, verifier).size
    if not config.apart:  # evidence is the control plane's
        yield evidenced(config, name)


def evidenced(config: Config, name: str) -> int:
    """How many entries of a log evidence has been evaluated from; all where none is asked for.

    What cannot be read, or is not there yet, holds everything.
    """
    if not config.evidence.frameworks:
        return sys.maxsize
    try:
        facts = read(config.state / EVIDENCE / FACTS, _MAX_FACTS)
        at = msgspec.json.decode(facts, type=_Folded).logs.get(name)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return 0
    return at.size if at is not None else 0
