"""Which log the audit commands read, and with whose key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portcullis.audit.note import Verifier
from portcullis.audit.verify import load_verifier, own_verifier, read_head
from portcullis.cli.options import load
from portcullis.core.errors import Problem

Directory = Annotated[
    Path | None,
    typer.Argument(metavar="[DIR]", help="The log's directory; default: the configuration's."),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="The log's public key (a verifier key or a file with one), as you got it from "
        "somewhere else; default: log.vkey beside the log.",
    ),
]


def place_of(directory: Path | None, config: Path) -> Path:
    """The folder that was named, or that of the configuration's gate."""
    if directory is not None:
        return directory
    return load(config).state / "log"


def verifier_of(place: Path, key: str | None) -> Verifier:
    """The key that was given, or that beside the log."""
    return own_verifier(place) if key is None else load_verifier(key)


def log_of(directory: Path | None, config: Path, key: str | None) -> tuple[Path, Verifier]:
    """A log's folder and its key."""
    place = place_of(directory, config)
    return place, verifier_of(place, key)


def entries_of(place: Path, verifier: Verifier) -> int | None:
    """How many entries the log has signed, for people; None when that cannot be read."""
    try:
        return read_head(place, verifier).size
    except Problem:
        return None


def one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    """A word that no event holds would find nothing, which reads as if nothing had happened."""
    if value and value not in known:
        raise Problem("PC7004", f"no event has {option} {value}", hint=f"Known: {', '.join(known)}")
