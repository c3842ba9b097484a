"""Credentials that go into egress after the last check, by the names that policy uses."""

from __future__ import annotations

from collections.abc import Mapping

from portcullis.config.egress import EgressCredential
from portcullis.core.behalf import Behalf
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource
from portcullis.core.secret import Secret
from portcullis.execution.credential import Credential
from portcullis.execution.secrets.broker import SecretBroker, Unnoted


class Injected:
    """One credential in its header. Implements ``core.egress_ports.Given``."""

    def __init__(self, settings: EgressCredential, secret: Secret) -> None:
        self._credential = Credential(secret)
        self._secret = secret
        self._settings = settings

    @property
    def header(self) -> tuple[str, str]:
        """The header's name in lower case, and its value."""
        scheme, value = self._settings.scheme, self._secret.reveal()
        return self._settings.header.lower(), f"{scheme} {value}" if scheme else value

    def found_in(self, data: bytes) -> bool:
        """Whether an answer repeats the credential."""
        return self._credential.found_in(data)

    def __repr__(self) -> str:
        """Never the value."""
        return "Injected(...)"


class EgressCredentials:
    """Implements ``core.egress_ports.Credentials``; each use is noted by the broker, if it is one.

    What is given out is for the upstream ``egress.NAME``, and the host is its scope.
    """

    def __init__(
        self, configured: Mapping[str, EgressCredential], secrets: SecretSource | SecretBroker
    ) -> None:
        self._configured = dict(configured)
        self._broker = secrets if isinstance(secrets, SecretBroker) else Unnoted(secrets)

    async def give(self, name: str, host: str, context: Context) -> Injected:
        """See the port."""
        settings = self._configured.get(name)
        if settings is None:
            raise Problem("PC5056", f"no credential {name} is configured under egress.credentials")
        lease = await self._broker.lease(
            settings.credential,
            upstream=f"egress.{name}",
            scope=host,
            behalf=Behalf.of(context),
        )
        return Injected(settings, lease.secret)
