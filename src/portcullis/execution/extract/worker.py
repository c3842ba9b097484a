"""The process in which one document is read: ``worker KIND SECONDS MEMORY ROOM MEDIA-TYPE``.

The document comes on standard input. On standard output goes a letter (``T`` or ``O``) with the
remark or the reason, a line end, and the text. The limits are set before the first byte is read;
from then on no file and no socket can be opened.
"""

from __future__ import annotations

import contextlib
import encodings
import importlib
import os
import pkgutil
import resource
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Final, TypeAlias

from portcullis.execution.extract import markup
from portcullis.execution.extract.kinds import Kind, Opaque

_Read: TypeAlias = Callable[[bytes], tuple[str, str]]
_STANDARD_STREAMS: Final = 3


def main(arguments: list[str]) -> None:
    """Read one document."""
    kind, seconds, memory, room, media_type = arguments
    read = _reader(Kind(kind), int(room), media_type)
    _import_all(encodings)
    _confine(int(seconds), int(memory))
    try:
        text, remark = read(sys.stdin.buffer.read())
        answer = f"T{remark}\n{text}"
    except Opaque as opaque:
        answer = f"O{opaque}\n"
    except OSError:  # something that would have to be opened
        answer = "Oof a kind that is not understood\n"
    except (MemoryError, RecursionError):
        answer = "Otoo large or too deep to be read\n"
    sys.stdout.buffer.write(answer.encode())
    sys.stdout.buffer.flush()
    os._exit(0)  # taking a deep tree apart could fail


def _reader(kind: Kind, room: int, media_type: str) -> _Read:
    """What reads the kind; only its libraries are imported."""
    if kind is Kind.PDF:
        import pypdf  # noqa: PLC0415 - slow to import

        from portcullis.execution.extract import pdf  # noqa: PLC0415 - the same

        _import_all(pypdf)
        return lambda data: pdf.text_of(data, room)
    if kind is Kind.PACKAGE:
        from portcullis.execution.extract import office  # noqa: PLC0415 - slow to import

        return lambda data: office.text_of(data, room)
    return lambda data: markup.text_of(data, media_type, room)


def _import_all(package: ModuleType) -> None:
    """Import what a package would import while it works, when nothing can be opened any more."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        with contextlib.suppress(ImportError):  # for other systems, or with other libraries
            importlib.import_module(module.name)


def _confine(seconds: int, memory: int) -> None:
    for limit, value in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _STANDARD_STREAMS),
    ):
        resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    main(sys.argv[1:])
