"""The sources of secrets that the configuration names, and what rotates them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from portcullis.config import Config
from portcullis.control.services import Services
from portcullis.core.ports import Sealer, SecretSource
from portcullis.core.rotation import RotationHook
from portcullis.core.secret_ports import RemoteSource
from portcullis.execution.rotation import CommandHook
from portcullis.execution.secrets import EnvSecrets, FileSecrets, Secrets, local_secrets
from portcullis.execution.secrets.aws import AwsSecrets
from portcullis.execution.secrets.broker import SecretBroker
from portcullis.execution.secrets.hooks import AwsHook, LeasedHook
from portcullis.execution.secrets.openbao import OpenBaoSecrets
from portcullis.execution.secrets.openbao_http import OpenBaoHttp


@dataclass(frozen=True, slots=True)
class Sources:
    """Every source, those of them that have to be tended, and what rotates, by scheme."""

    registry: Secrets
    remote: tuple[RemoteSource, ...]
    hooks: Mapping[str, RotationHook]

    def close(self) -> None:
        """Give back what servers lent. Blocks."""
        for one in self.remote:
            one.close()


def sources_of(config: Config, environ: Mapping[str, str], sealer: Sealer | None) -> Sources:
    """The sources of secrets. Nothing is asked of a server yet.

    Raises Problem PC7001 for certificates that cannot be read.
    """
    settings = config.secrets
    sources: dict[str, SecretSource] = {"env": EnvSecrets(environ), "file": FileSecrets(sealer)}
    local = Secrets(sources)
    remote: list[RemoteSource] = []
    hooks: dict[str, RotationHook] = {}
    if settings.openbao is not None:
        bao = OpenBaoSecrets(
            OpenBaoHttp(settings.openbao, local, now=time.monotonic),
            fresh_seconds=settings.fresh_seconds,
            overlap_seconds=settings.overlap_seconds,
            now=time.monotonic,
        )
        sources |= {"openbao": bao, "vault": bao}
        hooks |= {"openbao": LeasedHook(bao), "vault": LeasedHook(bao)}
        remote.append(bao)
    if settings.aws is not None:
        aws = AwsSecrets(settings.aws, fresh_seconds=settings.fresh_seconds, now=time.monotonic)
        sources["aws-sm"], hooks["aws-sm"] = aws, AwsHook(aws)
        remote.append(aws)
    for scheme, one in config.incidents.rotation.items():
        hooks[scheme] = CommandHook(one.command, one.seconds)
    return Sources(Secrets(sources), tuple(remote), hooks)


def used_by(secrets: SecretSource, upstream: str) -> SecretSource:
    """The same for the gate's own work at ``upstream``: a broker notes what is used there."""
    return secrets.own(upstream) if isinstance(secrets, SecretBroker) else secrets


def given_out(services: Services) -> SecretSource:
    """What gives out secrets in a process: its broker, or what needs no server."""
    parts = services.secret_parts
    return local_secrets(os.environ, services.sealer) if parts is None else parts.broker
