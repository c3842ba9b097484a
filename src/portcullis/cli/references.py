"""Secrets that command lines name, as env:NAME or file:PATH, and never hold."""

from __future__ import annotations

import os

from portcullis.core.errors import Problem
from portcullis.execution.secrets import local_secrets


def resolved(option: str, reference: str) -> str:
    """What an option's reference stands for. Raises Problem PC7005 when it is not there."""
    try:
        return local_secrets(os.environ).resolve(reference).reveal()
    except Problem as problem:
        hint = f"Give {option} as env:NAME or file:PATH."
        if reference.startswith("file:"):
            hint = problem.hint
        raise Problem("PC7005", f"{option}: {problem.detail}", hint=hint) from None
