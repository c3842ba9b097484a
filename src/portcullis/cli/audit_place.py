"""Which log the audit commands read, and with whose key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from portcullis.audit.keys import SIGNER_FILE
from portcullis.audit.note import Verifier
from portcullis.audit.verify import load_verifier, own_verifier, read_head
from portcullis.cli.options import load
from portcullis.core.errors import Problem

Directory = Annotated[
    Path | None,
    typer.Argument(
        metavar="[DIR]", help="A log's directory; default: all logs of the configuration."
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="The log's public key (a verifier key or a file with one), as you got it from "
        "somewhere else; default: log.vkey beside the log.",
    ),
]


class Log(NamedTuple):
    """One log: the folder it lies in, and the key that it is read with."""

    place: Path
    verifier: Verifier


def logs_at(directory: Path | None, config: Path, key: str | None) -> tuple[Log, ...]:
    """The log that was named, or all of the configuration's deployment.

    A ``key`` that was given is of one log, so only that is meant, by its name. Raises Problem
    PC7005 when there is none.
    """
    if directory is not None:
        return (Log(directory, verifier_of(directory, key)),)
    places = places_of(config)
    if key is None:
        return tuple(Log(place, own_verifier(place)) for place in places)
    verifier = load_verifier(key)
    own = [place for place in places if own_verifier(place).name == verifier.name]
    return (Log(own[0] if own else places[0], verifier),)


def places_of(config: Path) -> tuple[Path, ...]:
    """The folders of all logs of a deployment; that of the gate alone when there is none yet."""
    from portcullis.config.places import audit_directory, logs_of  # noqa: PLC0415 - slow

    loaded = load(config)
    return tuple(logs_of(loaded).values()) or (audit_directory(loaded),)


def lost_of(config: Path) -> tuple[str, ...]:
    """The names of the logs of which only the keys are left."""
    from portcullis.config.places import audit_directory  # noqa: PLC0415 - slow

    loaded = load(config)
    names = sorted(path.parent.name for path in (loaded.state / "keys").glob(f"*/{SIGNER_FILE}"))
    return tuple(name for name in names if not audit_directory(loaded, name).exists())


def verifier_of(place: Path, key: str | None) -> Verifier:
    """The key that was given, or that beside the log."""
    return own_verifier(place) if key is None else load_verifier(key)


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
