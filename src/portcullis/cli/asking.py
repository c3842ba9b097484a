"""Secrets that somebody types, or gives as references."""

from __future__ import annotations

import sys

import typer

from portcullis.cli.references import resolved
from portcullis.core.errors import Problem


def asked(option: str, what: str, reference: str | None) -> str:
    """What the option's reference leads to; without one, what somebody types."""
    return typed(what) if reference is None else resolved(option, reference)


def typed(what: str, *, twice: bool = False) -> str:
    """What somebody types, without an echo. Raises Problem PC7004 without a terminal."""
    if not sys.stdin.isatty():
        raise Problem("PC7004", f"{what}: no terminal to ask on; give it as env:NAME or file:PATH")
    found: str = typer.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)
    return found
