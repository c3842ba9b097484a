"""The environment of a process that is given secrets: as it is when the process starts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from portcullis.config import SECRET
from portcullis.config.secrets import Injection, filled
from portcullis.core.ports import SecretSource
from portcullis.core.secret import Secret
from portcullis.execution.credential import Credential
from portcullis.execution.secrets.broker import SecretBroker


class Environment(NamedTuple):
    """Variables, and what to watch the process's answers for."""

    variables: dict[str, str]
    credentials: tuple[Credential, ...]


async def environment(
    env: Mapping[str, str],
    source: SecretSource | SecretBroker,
    *,
    upstream: str,
    injections: Sequence[Injection] = (),
) -> Environment:
    """What is named for a process, its secret references replaced and its templates filled.

    A broker notes the use, for the call during which the process starts. Raises what the source
    raises, and Problem PC5007 for a secret that cannot be watched for.
    """
    variables, credentials = dict[str, str](), list[Credential]()

    async def given(reference: str) -> str:
        secret = await _given(source, reference, upstream)
        credentials.append(Credential(secret))
        return secret.reveal()

    for name, value in env.items():
        variables[name] = await given(value) if re.match(SECRET, value) else value
    for injection in injections:
        if injection.env is not None:
            values = {
                name: await given(reference) for name, reference in injection.references.items()
            }
            variables[injection.env] = filled(injection.template, values)
    return Environment(variables, tuple(credentials))


def held(
    env: Mapping[str, str],
    source: SecretSource | SecretBroker,
    injections: Sequence[Injection] = (),
) -> Callable[[], None]:
    """Say that a process has got what is named for it; call what is returned when it has ended."""
    if not isinstance(source, SecretBroker):
        return lambda: None
    named = [value for value in env.values() if re.match(SECRET, value)]
    for injection in injections:
        named += injection.references.values() if injection.env is not None else ()
    return source.hold(named)


async def _given(source: SecretSource | SecretBroker, reference: str, upstream: str) -> Secret:
    if isinstance(source, SecretBroker):
        return (await source.lease(reference, upstream=upstream)).secret
    return await asyncio.to_thread(source.resolve, reference)
