"""The secret broker: gives out credentials, and knows which agent had access to which.

A version is a keyed digest of the value: equal values show as equal, and it says nothing of them.
Uses are merged in memory and written down beside the line; when they can no longer be, nothing is
given out.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from threading import Lock
from typing import Final, TypeAlias

import msgspec
import structlog

from portcullis.core.behalf import Behalf
from portcullis.core.errors import Problem
from portcullis.core.names import HIDDEN, made_of_words
from portcullis.core.ports import Clock, SecretSource
from portcullis.core.secret import Secret
from portcullis.core.secret_ports import Lease, Leases, RemoteSource, Use
from portcullis.core.secret_use import NOBODY, holder
from portcullis.execution.secrets import Secrets
from portcullis.execution.secrets.file import FileSecrets

KEEP_SECONDS: Final = 1.0
"""How long uses wait to be written down."""
MOST_USES: Final = 8192
"""Different uses that may wait."""
_AGAIN_SECONDS: Final = 1.0
"""A source is asked anew for a refused credential this often at most."""
_LEASED_SECONDS: Final = 60.0
"""The same for one that is leased."""
_VERSION: Final = 12
_LATE_SECONDS: Final = 30.0
"""Uses that could not be written down for so long are too many, however few they are."""

_Key: TypeAlias = tuple[str, str, str, str, str, str]
Changed: TypeAlias = Callable[[str, str], None]
"""Told that a secret has another version than before."""

log = structlog.get_logger(__name__)


class _Known(msgspec.Struct):
    """A secret as it was last given out, and the one before it."""

    lease: Lease
    used: float
    former: Lease | None = None
    until: float = 0.0
    asked: float = -_AGAIN_SECONDS


class SecretBroker:
    """The ``Broker`` of a process, and its ``SecretSource``; see the ports for their promises.

    ``key`` makes the versions, the same in all processes of a deployment. ``leases`` remembers,
    ``remote`` are the sources that have to be tended, ``forbidden`` are honeytokens. ``changed``
    is told of other versions. Use ``lease`` and ``newer`` from one event loop and run ``keep``
    there. ``own`` is for the gate's own needs, on any thread; ``resolve`` notes nothing.
    """

    def __init__(
        self,
        sources: Secrets,
        *,
        key: bytes,
        leases: Leases,
        clock: Clock,
        fresh_seconds: float,
        overlap_seconds: float,
        remote: Collection[RemoteSource] = (),
        forbidden: Collection[str] = (),
        changed: Changed = lambda _reference, _version: None,
    ) -> None:
        self._sources = sources
        self._key = key
        self._leases = leases
        self._clock = clock
        self._fresh = fresh_seconds
        self._overlap = overlap_seconds
        self._remote = tuple(remote)
        self._forbidden = frozenset(forbidden)
        self._changed = changed
        self._known: dict[str, _Known] = {}
        self._uses: dict[_Key, list[float]] = {}
        self._waiting_since: float | None = None
        self._ours: dict[_Key, list[float]] = {}
        self._ours_lock = Lock()
        self._asking: dict[str, asyncio.Task[_Known]] = {}
        self._held: Counter[str] = Counter()
        self._seen = -1

    def resolve(self, reference: str) -> Secret:
        """The secret in force. Blocks where its source is behind a network."""
        self._permit(reference)
        return self._sources.resolve(reference)

    def own(self, upstream: str) -> SecretSource:
        """What gives out secrets for the gate's own work at ``upstream``, and notes each use."""
        return _Own(self, upstream)

    def given_to_us(self, reference: str, upstream: str) -> Secret:
        """The secret in force, for ``own``: as ``resolve``, and noted."""
        secret = self.resolve(reference)
        key = (reference, self.version(secret), "", "", upstream, "")
        with self._ours_lock:
            _count(self._ours, key, self._clock.now(), 1)
        return secret

    def hold(self, references: Collection[str]) -> Callable[[], None]:
        """Take secrets for used all the time, as by a process that has them in its environment.

        What was leased goes on being renewed until the function that is returned is called, once.
        """
        self._held.update(references)
        return lambda: self._held.subtract(references)

    def bait(self, reference: str) -> Secret:
        """A honeytoken, for what looks for it. Blocks. Nothing else is given out so."""
        if reference not in self._forbidden:
            raise Problem("PC5069", f"{reference} is no honeytoken")
        return self._sources.resolve(reference)

    async def lease(
        self, reference: str, *, upstream: str, scope: str = "", behalf: Behalf | None = None
    ) -> Lease:
        """See Broker."""
        known = await self._current(reference)
        return self._given(known.lease, upstream, scope, behalf)

    async def newer(
        self, lease: Lease, *, upstream: str, scope: str = "", behalf: Behalf | None = None
    ) -> Lease | None:
        """See Broker."""
        known, now = self._known.get(lease.reference), self._clock.monotonic()
        if known is None or known.lease.version == lease.version:
            asking = self._asking.get(lease.reference)
            wait = 0.0 if known is None else known.asked + self._patience(lease.reference) - now
            if asking is None and wait <= _AGAIN_SECONDS:
                asking = asyncio.create_task(self._anew(lease.reference, max(wait, 0.0)))
                self._asking[lease.reference] = asking
                asking.add_done_callback(lambda _: self._asking.pop(lease.reference, None))
            if asking is not None:  # one question, however many calls were refused at once
                try:
                    known = await asyncio.shield(asking)
                except Problem:
                    return None
            if known is None:
                return None
            if known.lease.version == lease.version:
                former = known.former if now < known.until else None
                return self._given(former, upstream, scope, behalf) if former else None
        return self._given(known.lease, upstream, scope, behalf)

    def _patience(self, reference: str) -> float:
        """How long a source is left alone after it was asked for a refused credential.

        What is here is looked at each time, a server once a second: who comes sooner waits. Each
        question about a leased one makes another: an upstream that refuses what an agent asks for,
        whoever asks, must not have leases made without end.
        """
        source, rest = self._sources.source(reference)
        for one in self._remote:
            if one is source:
                leased = one.leased(rest)
                return max(self._overlap, _LEASED_SECONDS) if leased else _AGAIN_SECONDS
        return 0.0

    def version(self, secret: Secret) -> str:
        """The name of a value."""
        value = secret.reveal().encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, value, hashlib.sha256).hex()[:_VERSION]

    def forget(self, reference: str) -> None:
        """Ask the source of a secret anew at its next use."""
        source, rest = self._sources.source(reference)
        for one in self._remote:
            if one is source:
                one.forget(rest)

    async def keep(self) -> None:
        """Write uses down, tend the sources and drop what nobody uses; runs until cancelled."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            self._drop()
            await self.write()
            if self._remote:
                await asyncio.to_thread(self._tend)

    async def write(self) -> None:
        """Write down what was used until now; what cannot be written goes on to wait."""
        taken, self._uses = self._uses, {}  # on the loop, where nobody is about to count one up
        self._join(taken)
        if not taken:
            return
        began, since = self._clock.monotonic(), self._waiting_since
        self._waiting_since = began if since is None else since
        if await asyncio.shield(asyncio.to_thread(self._written, taken)):
            self._waiting_since = began if self._uses else None
            return
        for key, (first, last, count) in taken.items():
            _count(self._uses, key, first, 0)
            _count(self._uses, key, last, count)

    def close(self) -> None:
        """Write down what is left and give back what was lent. Blocks."""
        self._join(self._uses)
        if self._uses:
            self._written(self._uses)
        for source in self._remote:
            source.close()

    async def _current(self, reference: str) -> _Known:
        self._permit(reference)
        source, rest = self._sources.source(reference)
        found: Secret | None = None
        for one in self._remote:
            if one is source:
                found = one.ready(rest) or await asyncio.to_thread(one.resolve, rest)
        return self._seen_as(reference, found or source.resolve(rest))

    async def _anew(self, reference: str, wait: float) -> _Known:
        await asyncio.sleep(wait)
        if known := self._known.get(reference):
            known.asked = self._clock.monotonic()
        self.forget(reference)
        return await self._current(reference)

    def _seen_as(self, reference: str, secret: Secret) -> _Known:
        known, now = self._known.get(reference), self._clock.monotonic()
        if known is not None:
            known.used = now
            if known.lease.secret is secret:
                return known
        lease = Lease(reference=reference, version=self.version(secret), secret=secret)
        if known is None:
            known = self._known[reference] = _Known(lease, now)
        elif known.lease.version == lease.version:
            known.lease = lease
        else:
            known.former, known.until = known.lease, now + self._overlap
            known.lease = lease
            self._changed(reference, lease.version)
        return known

    def _given(self, lease: Lease, upstream: str, scope: str, behalf: Behalf | None) -> Lease:
        """Note a use; Problem PC5066 when no more can be noted."""
        held, now = holder.get(), self._clock.now()
        agent, session = (
            (behalf.principal, behalf.session) if behalf else (held.agent, held.session)
        )
        key = (lease.reference, lease.version, agent, session, upstream, scope)
        if len(self._uses) >= MOST_USES and key not in self._uses:
            raise Problem("PC5066", f"{MOST_USES} uses of secrets wait to be written down")
        since, ticks = self._waiting_since, self._clock.monotonic()
        if since is None:
            self._waiting_since = ticks
        elif ticks - since > _LATE_SECONDS:
            raise Problem("PC5066", f"they could not be written for {_LATE_SECONDS:g} seconds")
        _count(self._uses, key, now, 1)
        if held is not NOBODY:
            mark = f"{lease.reference}@{lease.version}"
            if mark not in held.used:
                held.used.append(mark)
        return lease

    def _join(self, taken: dict[_Key, list[float]]) -> None:
        """Take in what was used on other threads."""
        with self._ours_lock:
            ours, self._ours = self._ours, {}
        for key, (first, last, count) in ours.items():
            _count(taken, key, first, 0)
            _count(taken, key, last, count)

    def _permit(self, reference: str) -> None:
        if reference in self._forbidden:
            raise Problem("PC5065", f"{reference} is a honeytoken: nothing is sent with it")

    def _drop(self) -> None:
        """Hold nothing that was not used for a while, and no former value beyond its time."""
        now = self._clock.monotonic()
        for reference, known in tuple(self._known.items()):
            if self._held[reference] > 0:
                known.used = now
                self._touch(reference)
            if known.former is not None and now >= known.until:
                known.former = None
            if now - known.used >= self._fresh:
                del self._known[reference]
                source, rest = self._sources.source(reference)
                if isinstance(source, FileSecrets):
                    source.forget(rest)

    def _touch(self, reference: str) -> None:
        """Have the source of a secret know that it is used."""
        source, rest = self._sources.source(reference)
        for one in self._remote:
            if one is source:
                one.ready(rest)

    def _tend(self) -> None:
        """Tend the sources; ask them anew when another process rotated anything."""
        for source in self._remote:
            try:
                source.tend()
            except Exception as error:  # noqa: BLE001 - the books go on being kept
                fault = error.code if isinstance(error, Problem) else type(error).__name__
                log.warning("secrets_not_tended", code=fault)
        try:
            changes = self._leases.changes()
        except Problem:
            return  # said where uses are written
        if changes != self._seen and self._seen >= 0:
            for reference in tuple(self._known):
                self.forget(reference)
        self._seen = changes

    def _written(self, taken: dict[_Key, list[float]]) -> bool:
        try:
            self._leases.add([_use(key, noted) for key, noted in taken.items()])
        except Problem as problem:
            log.warning("uses_of_secrets_not_written", code=problem.code)
            return False
        return True


class _Own:
    """A ``SecretSource`` whose uses are noted as the gate's own at one upstream."""

    def __init__(self, broker: SecretBroker, upstream: str) -> None:
        self._broker = broker
        self._upstream = upstream

    def resolve(self, reference: str) -> Secret:
        """See SecretBroker.own."""
        return self._broker.given_to_us(reference, self._upstream)


def _count(uses: dict[_Key, list[float]], key: _Key, at: float, count: float) -> None:
    noted = uses.setdefault(key, [at, at, 0])
    noted[0], noted[1] = min(noted[0], at), max(noted[1], at)
    noted[2] += count


def _use(key: _Key, noted: Sequence[float]) -> Use:
    reference, version, agent, session, upstream, scope = key
    first, last, count = noted
    return Use(
        reference=reference,
        version=version,
        agent=agent,
        session=session,
        upstream=upstream,
        scope=scope if made_of_words(scope) else HIDDEN,
        first=first,
        last=last,
        count=int(count),
    )


class Unnoted:
    """A ``Broker`` over a plain source, for what the gate asks by itself: nothing is noted."""

    def __init__(self, source: SecretSource) -> None:
        self._source = source

    async def lease(
        self, reference: str, *, upstream: str, scope: str = "", behalf: Behalf | None = None
    ) -> Lease:
        """The value in force, read anew."""
        del upstream, scope, behalf
        secret = self._source.resolve(reference)
        return Lease(reference=reference, version="", secret=secret)

    async def newer(
        self, lease: Lease, *, upstream: str, scope: str = "", behalf: Behalf | None = None
    ) -> Lease | None:
        """There is none: it was read for this request."""
        del lease, upstream, scope, behalf
        return None
