"""Puts credentials into a request, after the last check: headers, query, JSON body."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from portcullis.config.secrets import Injection, filled
from portcullis.core.errors import Problem
from portcullis.core.ports import UpstreamRequest
from portcullis.core.secret import Secret
from portcullis.core.secret_ports import Broker, Lease
from portcullis.execution.credential import Credential, Credentials
from portcullis.execution.request import field
from portcullis.wire.json import decode, encode

KEEP_SECONDS: Final = 60.0
"""A credential that was not sent for so long is no longer held ready."""


_REFUSED: Final = frozenset({401, 403})
"""Statuses that say that nothing was done, for want of a good credential (RFC 9110)."""


class Filled(NamedTuple):
    """What is added to a request, what to watch its answer for, and what was used.

    ``lines`` are header lines; ``replaced`` are the lower-case names of headers that they stand
    for; ``query`` is without its question mark; ``body`` is the whole body.
    """

    lines: str
    replaced: frozenset[str]
    query: str
    body: bytes
    guard: Credential | Credentials | None
    leases: tuple[Lease, ...]


class _Made(NamedTuple):
    """An injection's value for these secrets."""

    secrets: tuple[Secret, ...]
    value: str
    guards: tuple[Credential, ...]


class Filler:
    """Fills the requests to one upstream. Use it from one event loop.

    Raises what the broker raises, Problem PC5007 for a secret that cannot be watched for (it is
    shorter than 8 characters, or not ASCII), PC1011 for a value that no header can hold, PC5068
    when a body has no such place. ``refusals`` are the statuses after which ``newer`` is asked.
    """

    refusals = _REFUSED

    def __init__(self, upstream: str, injections: Sequence[Injection], broker: Broker) -> None:
        self._upstream = upstream
        self._injections = tuple(injections)
        self._broker = broker
        self._everything = all(one.only == ("*",) for one in injections)
        self._replaced = frozenset(
            one.header.lower() for one in self._injections if one.header is not None
        )
        self._made: dict[int, _Made] = {}
        self._used = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def fill(self, request: UpstreamRequest, instead: Mapping[str, Lease] = {}) -> Filled:
        """What to add to a request; ``instead`` are leases to use in place of those in force."""
        made: list[tuple[Injection, _Made]] = []
        leases: list[Lease] = []
        for at, injection in enumerate(self._injections):
            if not self._everything and not _meant(injection, request.scope):
                continue
            found: list[Lease] = []
            for reference in injection.references.values():
                lease = instead.get(reference) or await self._broker.lease(
                    reference,
                    upstream=self._upstream,
                    scope=request.scope,
                    behalf=request.behalf,
                )
                found.append(lease)
            leases += found
            made.append((injection, self._value(at, injection, found)))
        self._keep()
        return _filled(made, leases, self._replaced, request.body)

    async def newer(self, request: UpstreamRequest, leases: Sequence[Lease]) -> dict[str, Lease]:
        """Other versions of what an upstream refused, by reference; empty when there are none."""
        found: dict[str, Lease] = {}
        for lease in leases:
            other = await self._broker.newer(
                lease, upstream=self._upstream, scope=request.scope, behalf=request.behalf
            )
            if other is not None:
                found[lease.reference] = other
        return found

    def close(self) -> None:
        """Hold nothing any more."""
        self._made.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _value(self, at: int, injection: Injection, leases: Sequence[Lease]) -> _Made:
        known = self._made.get(at)
        if known is not None and all(
            one is lease.secret for one, lease in zip(known.secrets, leases, strict=True)
        ):
            return known
        secrets = tuple(lease.secret for lease in leases)
        guards = tuple(Credential(one) for one in secrets)
        values = {
            name: secret.reveal()
            for name, secret in zip(injection.references, secrets, strict=True)
        }
        made = self._made[at] = _Made(secrets, filled(injection.template, values), guards)
        return made

    def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        self._used = loop.time()
        if self._timer is None and self._made:
            self._timer = loop.call_later(KEEP_SECONDS, self._drop, loop)

    def _drop(self, loop: asyncio.AbstractEventLoop) -> None:
        left = self._used + KEEP_SECONDS - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._drop, loop)
        else:
            self._timer = None
            self._made.clear()


def _meant(injection: Injection, scope: str) -> bool:
    return injection.only == ("*",) or (
        scope != "" and any(fnmatchcase(scope, glob) for glob in injection.only)
    )


def _filled(
    made: Sequence[tuple[Injection, _Made]],
    leases: Sequence[Lease],
    replaced: frozenset[str],
    body: bytes,
) -> Filled:
    lines, query = "", ""
    document: Any = msgspec.UNSET
    guards: list[Credential] = []
    for injection, one in made:
        guards += one.guards
        if injection.header is not None:
            lines += field(injection.header, one.value)
        elif injection.query is not None:
            query += f"{'&' if query else ''}{injection.query}={quote(one.value, safe='')}"
        elif injection.body is not None:
            document = _body(body) if document is msgspec.UNSET else document
            _put(document, injection.body, one.value)
    guard = guards[0] if len(guards) == 1 else Credentials(guards) if guards else None
    return Filled(
        lines=lines,
        replaced=replaced,
        query=query,
        body=body if document is msgspec.UNSET else encode(document),
        guard=guard,
        leases=tuple(leases),
    )


def _body(body: bytes) -> Any:
    try:
        return decode(body)
    except Problem:
        raise Problem("PC5068", "the body is not JSON") from None


def _put(document: Any, path: str, value: str) -> None:
    """Put a value where ``path`` leads; its parents must be there."""
    *parents, last = path.split(".")
    for step in parents:
        document = _step(document, step, path)
    if isinstance(document, dict):
        document[last] = value
    elif isinstance(document, list) and last.isdigit() and int(last) < len(document):
        document[int(last)] = value
    else:
        raise _nowhere(path)


def _step(document: Any, step: str, path: str) -> Any:
    if isinstance(document, dict) and step in document:
        return document[step]
    if isinstance(document, list) and step.isdigit() and int(step) < len(document):
        return document[int(step)]
    raise _nowhere(path)


def _nowhere(path: str) -> Problem:
    return Problem("PC5068", f"the body has no place {path}")
