"""``portcullis credential``: single tokens and certificates."""

from __future__ import annotations

import json as codec
import re
import sys
from typing import Annotated

import typer

from portcullis.cli.operate import operations
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import load
from portcullis.core.errors import Problem

app = typer.Typer(no_args_is_help=True)

_ID = re.compile(r"(svid:)?[0-9a-f]{1,40}")


@app.callback()
def credential() -> None:
    """Single tokens and certificates."""


@app.command()
def revoke(
    credential: Annotated[
        str, typer.Argument(help="A token's id, or svid: and a certificate's serial number.")
    ],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Cut one credential off at once: the log names it in `credential`."""
    credential = credential.lower()  # openssl prints serial numbers in capitals
    if _ID.fullmatch(credential) is None:
        raise Problem("PC7004", "a credential's id is hex digits, or svid: and hex digits")
    with operations(load(config)) as work:
        work.cut(credential)
    sys.stderr.write(f"credential {credential} is revoked\n")
    if json:
        print(codec.dumps({"credential": credential, "state": "revoked"}))
