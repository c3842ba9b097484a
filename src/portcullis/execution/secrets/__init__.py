"""Where upstream credentials come from: one source per scheme, behind one registry."""

from __future__ import annotations

from collections.abc import Mapping

from portcullis.core.errors import Problem
from portcullis.core.ports import Sealer, SecretSource
from portcullis.core.secret import Secret
from portcullis.core.secret_ports import Forgets
from portcullis.execution.secrets.env import EnvSecrets
from portcullis.execution.secrets.file import FileSecrets

__all__ = ["EnvSecrets", "FileSecrets", "Secrets", "local_secrets"]


class Secrets:
    """Resolves whole references (``env:NAME``, ``file:PATH``) by their scheme.

    It is itself a ``SecretSource``: ``resolve`` raises Problem PC5007 for an unknown scheme, and
    what the scheme's source raises. The detail never holds the value.
    """

    def __init__(self, sources: Mapping[str, SecretSource]) -> None:
        self._sources = dict(sources)

    def resolve(self, reference: str) -> Secret:
        """Return the secret that ``reference`` names."""
        source, rest = self.source(reference)
        return source.resolve(rest)

    def anew(self, reference: str) -> Secret:
        """The secret, asked of its source and of no memory."""
        source, rest = self.source(reference)
        if isinstance(source, Forgets):
            source.forget(rest)
        return source.resolve(rest)

    def source(self, reference: str) -> tuple[SecretSource, str]:
        """The source of a reference, and what it is asked for."""
        scheme, _, rest = reference.partition(":")
        source = self._sources.get(scheme)
        if source is None or not rest:
            known = ", ".join(f"{name}:" for name in sorted(self._sources))
            raise Problem("PC5007", f"not a secret reference (known: {known})")
        return source, rest


def local_secrets(environ: Mapping[str, str], sealer: Sealer | None = None) -> Secrets:
    """The registry of the sources that need no server: ``env:`` and ``file:``.

    ``sealer`` opens files that were sealed; without one they are refused.
    """
    return Secrets({"env": EnvSecrets(environ), "file": FileSecrets(sealer)})
