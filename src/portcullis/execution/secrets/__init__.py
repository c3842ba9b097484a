"""Where upstream credentials come from: one source per scheme, behind one registry."""

from __future__ import annotations

import re
from collections.abc import Mapping

from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource
from portcullis.execution.secrets.env import EnvSecrets
from portcullis.execution.secrets.file import FileSecrets

__all__ = ["EnvSecrets", "FileSecrets", "Secrets", "local_secrets"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Secrets:
    """Resolves whole references (``env:NAME``, ``file:PATH``) by their scheme.

    It is itself a ``SecretSource``: ``resolve`` raises Problem PC5007 for an unknown scheme, for
    a secret that cannot be read, and for one that is empty or holds a control character (it
    could not stand in a header or an environment). The detail never holds the value.
    """

    def __init__(self, sources: Mapping[str, SecretSource]) -> None:
        self._sources = dict(sources)

    def resolve(self, reference: str) -> str:
        """Return the secret that ``reference`` names."""
        scheme, _, rest = reference.partition(":")
        source = self._sources.get(scheme)
        if source is None or not rest:
            known = ", ".join(f"{name}:" for name in sorted(self._sources))
            raise Problem("PC5007", f"not a secret reference (known: {known})")
        value = source.resolve(rest)
        if not value:
            raise Problem("PC5007", f"{reference} is empty")
        if _CONTROL.search(value):
            raise Problem("PC5007", f"{reference} holds a control character")
        return value


def local_secrets(environ: Mapping[str, str]) -> Secrets:
    """Return the registry of the sources that need no server: ``env:`` and ``file:``."""
    return Secrets({"env": EnvSecrets(environ), "file": FileSecrets()})
