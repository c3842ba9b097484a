"""How the audit commands print, and read what they are given.

Whatever an event holds was chosen by agents and upstreams: on the way to a terminal everything
that is not printable is escaped.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import typer

from portcullis.core.errors import Problem


def print_json(value: Any) -> None:
    """One line of JSON; what a terminal would act on stands in JSON's own escapes."""
    print(harmless(msgspec.json.encode(value).decode()), flush=True)


def harmless(document: str) -> str:
    """The same JSON in which nothing stands that a terminal would act on."""
    if document.isprintable():
        return document
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in document)


def clean(text: str) -> str:
    """The text with everything escaped that is not printable."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def note(text: str) -> None:
    """Say something to people."""
    typer.echo(f"note: {text}", err=True)


def second(at: float) -> str:
    """A time (seconds since the epoch) for people, UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def moment(text: str) -> datetime | None:
    """A time as ISO 8601 has it, UTC if it says nothing; None for no text. Problem PC7004."""
    if not text:
        return None
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise Problem("PC7004", "a time must be ISO 8601, such as 2030-01-31T12:00:00Z") from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)
