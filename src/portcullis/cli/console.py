"""``portcullis console``: a link that logs in, once, for who holds the issuer's key."""

from __future__ import annotations

import json as codec
import sys
import webbrowser
from html import escape
from typing import Annotated, Final

import typer

from portcullis.bootstrap import authority_of
from portcullis.cli.operate import local_operator, running_gate
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import load
from portcullis.control.console.guard import own_url
from portcullis.control.console.links import LINK_SECONDS
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.identity.private import write_private
from portcullis.identity.tokens import LINK

PAGE: Final = "console.html"
"""Below the state directory: leads a browser to the link."""


def console(
    *,
    open_: Annotated[
        bool, typer.Option("--open", help="Open it in this machine's browser.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Print a link to the console that logs in, once, within a minute."""
    settings = load(config)
    gate = running_gate(settings)
    if gate is None:
        hint = "Start it with `portcullis up`."
        raise Problem("PC7005", "the console is a running gate's, and none runs here", hint=hint)
    if not settings.console.enabled:
        raise Problem("PC7004", "console.enabled is false")
    minted = authority_of(settings).mint(
        PrincipalKind.OPERATOR,
        local_operator(),
        ttl=LINK_SECONDS,
        roles=("admin",),
        audience=LINK,
    )
    url = f"{own_url(gate.control, settings.console.name)}/login?again=1#once={minted.token}"
    if open_:
        page = settings.state / PAGE  # a link among a process's arguments is there for all to read
        refresh = f'<meta http-equiv="refresh" content="0; url={escape(url)}">'
        write_private(page, f"<!doctype html><title>Portcullis</title>{refresh}".encode())
        webbrowser.open(page.resolve().as_uri())
    sys.stderr.write(f"good once, for {LINK_SECONDS} s\n")
    print(codec.dumps({"url": url, "expires_at": minted.expires_at}) if json else url)
