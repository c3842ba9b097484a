"""What ``portcullis doctor`` says of egress: every exception, and whether its secrets are there."""

from __future__ import annotations

from collections.abc import Iterator

from portcullis.cli.doctor_finding import Finding
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource
from portcullis.execution.egress.dial import verifying


def egress(config: Config, secrets: SecretSource) -> Iterator[Finding]:
    """Nothing where there is no listener for it."""
    settings = config.egress
    if config.listen.egress is None:
        return
    exceptions = [
        f"{host} within {', '.join(map(str, networks))}"
        for host, networks in settings.private.items()
    ]
    exceptions += [
        f"{host} is {', '.join(map(str, addresses))}"
        for host, addresses in settings.resolve.items()
    ]
    found = "; ".join(exceptions) or "public addresses only"
    yield Finding("egress", ok=True, found=found)
    try:
        verifying(settings.authorities)
    except Problem as problem:
        yield Finding("egress.authorities", ok=False, found=problem.detail, do=problem.hint)
    for name, one in settings.credentials.items():
        what = f"credential egress.{name}"
        try:
            secrets.resolve(one.credential)
        except Problem as problem:
            yield Finding(what, ok=False, found=problem.detail, do=problem.hint)
        else:
            yield Finding(what, ok=True, found=one.credential)
