"""``portcullis audit identity`` and ``open``: the reader's side of content sealed end to end.

Nothing here asks the gate, or needs anything of its machine.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portcullis.cli.audit_lines import clean, note, print_json
from portcullis.cli.options import Json
from portcullis.core.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from portcullis.audit.recipients import Identity
    from portcullis.control.privacy_api import FieldView

_FAILED = 5
_MAX_INPUT = 64 * 2**20

IdentityFile = Annotated[
    Path | None,
    typer.Option("--identity", help="Your private key (PEM), for content sealed end to end."),
]
Passphrase = Annotated[
    bool, typer.Option("--passphrase", help="Ask for the passphrase of the private key.")
]


def identity(
    file: Annotated[Path, typer.Argument(help="Where the private key goes; not there yet.")],
    *,
    passphrase: Passphrase = False,
    json: Json = False,
) -> None:
    """Make a key pair for content that is sealed end to end; prints the public key (PEM).

    The public key goes into the file that audit.content.encrypt_to names. The private key stays
    with you: whoever has it can read, and without it nobody can.
    """
    from portcullis.audit.recipients import load_identity, make_identity  # noqa: PLC0415 - slow

    secret = _asked(twice=True) if passphrase else None
    public = make_identity(file, secret)
    name = load_identity(file, secret).name
    if json:
        print_json({"recipient": name, "public_key": public, "identity": str(file)})
        return
    sys.stdout.write(public)
    note(f"recipient {name}; keep {file} off the gate's machine")


def opened(
    identity: Annotated[Path, typer.Option(help="Your private key (PEM).")],
    *,
    passphrase: Passphrase = False,
    json: Json = False,
) -> None:
    """Open sealed content: what POST /api/v1/content answered, on standard input.

    Exit code 5 when a field does not hold what its event commits to.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - slow

    from portcullis.control.privacy_api import ContentView  # noqa: PLC0415 - slow

    try:
        view = ContentView.model_validate_json(sys.stdin.buffer.read(_MAX_INPUT))
    except ValidationError:
        raise Problem("PC7004", "standard input is no answer of POST /api/v1/content") from None
    key = key_of(identity, passphrase=passphrase)
    committed = {field.name: field.commitment for field in view.fields}
    show(view.event, view.fields, committed, key, as_json=json)


def show(
    event: str,
    fields: Iterable[FieldView],
    committed: dict[str, str],
    key: Identity | None,
    *,
    as_json: bool,
) -> None:
    """Print fields, those that are sealed with ``key``; exit code 5 when one is not as committed.

    Without a key, a sealed field is printed as such.
    """
    wrong, shut = [], set[str]()
    for field in fields:
        value, fits = field.value, committed.get(field.name) == field.commitment
        if field.sealed and key is None:
            shut.update(field.recipients)
        elif field.sealed and key is not None:
            found, inside = key.open(event, field.name, base64.b64decode(field.sealed))
            value, fits = found.decode("utf-8", "replace"), fits and inside == field.commitment
        closed = bool(field.sealed) and key is None
        wrong += [] if fits else [field.name]
        if as_json:
            said = {"sealed": field.sealed, "recipients": field.recipients} if closed else {}
            print_json({"field": field.name, "value": value, "committed": fits} | said)
        else:
            print(f"{clean(field.name)}: {'(sealed)' if closed else clean(value)}")
    if shut:
        note(f"sealed to {clean(', '.join(sorted(shut)))}: open it with --identity FILE")
    if wrong:
        note(f"the event in the log commits to something else: {clean(', '.join(wrong))}")
        raise typer.Exit(_FAILED)


def key_of(file: Path, *, passphrase: bool) -> Identity:
    """The private key in a file, asking for its passphrase. Raises Problem PC6051."""
    from portcullis.audit.recipients import load_identity  # noqa: PLC0415 - slow

    return load_identity(file, _asked(twice=False) if passphrase else None)


def _asked(*, twice: bool) -> bytes:
    said: str = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True)
    return said.encode()
