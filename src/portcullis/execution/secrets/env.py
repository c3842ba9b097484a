"""``env:NAME``: a secret in the gate's own environment."""

from __future__ import annotations

from collections.abc import Mapping

from portcullis.core.errors import Problem
from portcullis.core.secret import Secret
from portcullis.execution.secrets.value import secret_of


class EnvSecrets:
    """A ``SecretSource`` over an environment, looked up at each call."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._read: dict[str, tuple[str, Secret]] = {}

    def resolve(self, reference: str) -> Secret:
        """Return the variable's value; Problem PC5007 when it is not set."""
        value = self._environ.get(reference)
        if value is None:
            raise Problem(
                "PC5007",
                f"the environment variable {reference} is not set",
                hint=f"Set {reference} in the environment of the gate.",
            )
        known = self._read.get(reference)
        if known is None or known[0] != value:
            known = self._read[reference] = value, secret_of(f"env:{reference}", value)
        return known[1]
