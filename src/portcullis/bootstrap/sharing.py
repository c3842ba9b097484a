"""What the gateways of one machine share beside the database, and the way from one to another.

One process alone keeps all of it in its memory. A ``portcullis mcp`` has a caller of its own, who
may speak to gateways too: it shares the placeholders. See docs/state-of-gateways.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import structlog
from sqlalchemy import Engine

from portcullis.audit.keys import DIGESTS, shared_subjects
from portcullis.checks.contain import Contain
from portcullis.checks.overheard import Called, LocalCalled
from portcullis.config import Config
from portcullis.config.places import Role
from portcullis.control.services import Services
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Once, Sealer
from portcullis.core.relay_ports import Claims
from portcullis.core.session_ports import SessionState
from portcullis.gateway.live import Live
from portcullis.gateway.mcp import Mcp
from portcullis.gateway.mcp_conversations import Conversations, modern_key
from portcullis.gateway.owned import Owned
from portcullis.gateway.relay import Ids, Relay
from portcullis.gateway.relay_door import Door
from portcullis.gateway.router import Router
from portcullis.identity.keymanager import KEYS
from portcullis.identity.keys import derived, issuer_key
from portcullis.identity.once import LocalOnce
from portcullis.oversight.recent import LocalRemembered, Remembered
from portcullis.store.called import SharedCalled
from portcullis.store.claims import SharedClaims
from portcullis.store.once import SharedOnce
from portcullis.store.proposals import SharedProposals
from portcullis.store.recent import SharedRecent
from portcullis.store.sessions import LocalSessionState, SharedSessionState
from portcullis.store.sessions_watched import WatchedSessionState
from portcullis.store.vaults import LocalVaults
from portcullis.store.vaults_shared import SharedVaults

SHARED = "shared"
"""Below the state directory: what the processes that run share, and no restart of all needs."""
SOCKETS = "gateways"
"""Below the state directory: where each gateway takes what others pass on to it."""
_SILENCE_SECONDS = 90.0
"""A gateway that was asked and says nothing for so long has failed; streams say more often."""

_SWEEP_SECONDS = 30.0

log = structlog.get_logger(__name__)

_Stack: TypeAlias = contextlib.ExitStack | contextlib.AsyncExitStack


def shares(role: Role) -> bool:
    """Whether other processes serve the same agents over the network."""
    return role in {Role.CONTROL, Role.GATEWAY}


def once_of(stack: _Stack, config: Config, role: Role, clock: Clock) -> Once:
    """What remembers proofs; the stack closes it."""
    if not shares(role):
        return LocalOnce(clock)
    once = SharedOnce(_place(config, "once"), clock)
    stack.callback(once.close)
    return once


def vaults_of(stack: _Stack, config: Config, services: Services) -> LocalVaults | SharedVaults:
    """The placeholders of sessions; the stack closes them."""
    if _role(services) not in {Role.GATEWAY, Role.WRAPPER}:
        return LocalVaults(services.clock)
    key = secret(config, services.sealer, "vaults")
    vaults = SharedVaults(_place(config, "vaults"), key, services.clock)
    stack.callback(vaults.close)
    return vaults


def sessions_of(
    stack: _Stack, config: Config, role: Role, engine: Engine, clock: Clock, sealer: Sealer
) -> SessionState:
    """The sessions; the stack closes what is shared of them. Raises what their making raises."""
    if role.alone:
        return LocalSessionState(engine, clock, sealer)
    proposals = None
    if shares(role):
        key = secret(config, sealer, "proposals")
        proposals = SharedProposals(_place(config, "proposals"), key)
        stack.callback(proposals.close)
    kind = WatchedSessionState if role is Role.CONTROL else SharedSessionState
    sessions = kind(engine, clock, sealer, proposals)
    stack.callback(sessions.shut)
    return sessions


def called_of(stack: _Stack, config: Config, services: Services) -> Called:
    """What sessions have called; the stack closes it."""
    if _role(services) is not Role.GATEWAY:
        return LocalCalled()
    called = SharedCalled(_place(config, "called"))
    stack.callback(called.close)
    return called


def steps_of(stack: _Stack, config: Config, services: Services) -> Remembered:
    """The last calls of sessions; the stack closes them."""
    if _role(services) is not Role.GATEWAY:
        return LocalRemembered()
    recent = SharedRecent(_place(config, "recent"), secret(config, services.sealer, "recent"))
    stack.callback(recent.close)
    return recent


def digests_of(stack: _Stack, config: Config, services: Services) -> Callable[[str, bytes], str]:
    """What makes the digests that stand for values in texts: the same at every gateway.

    One process alone makes them under the keys of its log's subjects; of several gateways each
    has such keys of its own, so theirs are under keys that they share. An erasure destroys both.
    The stack closes them; Problem PC6001, PC6002 or PC7010 when they cannot be used.
    """
    if _role(services) is not Role.GATEWAY:
        return services.recorder.commitment
    keys = shared_subjects(config.state / KEYS / DIGESTS, services.sealer)
    stack.callback(keys.close)
    return lambda subject, value: keys.shared(subject).commitment(value)


async def sweeping(vaults: LocalVaults | SharedVaults, sessions: SessionState) -> None:
    """Have vaults forgotten whose sessions nobody knows any more, for ever.

    A gateway forgets those of sessions that it knew; one that was killed leaves its own behind.
    """
    while isinstance(vaults, SharedVaults) and isinstance(sessions, SharedSessionState):
        await asyncio.sleep(_SWEEP_SECONDS)
        try:
            vaults.forget(await sessions.ended(vaults.keys()))
        except Problem as problem:
            log.warning("vaults_not_swept", code=problem.code)


@dataclass(frozen=True, slots=True)
class Among:
    """A gateway among others: what it is called, what its ids look like, what it keeps."""

    name: str
    key: bytes
    ids: Ids
    claims: Claims


def conversations_of(
    stack: _Stack, config: Config, services: Services, mcp: Mcp
) -> tuple[Conversations, Among | None]:
    """The MCP conversations of this process, and the gateway among others that it is, if any."""
    if _role(services) is not Role.GATEWAY:
        return Conversations(mcp), None
    name = _name(services)
    key = secret(config, services.sealer, "relay")
    claims = SharedClaims(_place(config, "claims"), name)
    stack.callback(claims.close)
    ids = Ids(calls=Owned("calls", name, key), sessions=Owned("sessions", name, key))
    return Conversations(mcp, ids.sessions, claims, name), Among(name, key, ids, claims)


def relay_of(
    stack: _Stack, config: Config, services: Services, mcp: Mcp, here: Among | None
) -> Relay | None:
    """The way to the other gateways; the stack closes it."""
    if here is None:
        return None
    channels, contain = mcp.channels, Contain(services.feed, services.sessions)

    def stays(server: str) -> bool:
        return server in channels.servers() and channels.spawns(server)

    def claimed(server: str, context: Context) -> str | None:
        return modern_key(server, context) if stays(server) else None

    relay = Relay(
        here.name,
        sockets(config),
        here.key,
        ids=here.ids,
        claims=here.claims,
        claimed=claimed,
        stays=stays,
        contained=contain.denied,
        clock=services.clock,
        seconds=max(_SILENCE_SECONDS, config.limits.idle_seconds),
    )
    stack.callback(relay.close)
    return relay


async def taking(
    stack: contextlib.AsyncExitStack,
    config: Config,
    services: Services,
    live: Live,
    router: Router,
    here: Among | None,
) -> Door | None:
    """Take what other gateways pass on, until the stack ends."""
    if here is None:
        return None
    limits = config.limits
    door = Door(
        router,
        here.name,
        sockets(config),
        here.key,
        live=live,
        clock=services.clock,
        seconds=limits.receive_seconds,
        drain_seconds=limits.drain_seconds,
    )
    await stack.enter_async_context(door.open())
    return door


def sockets(config: Config) -> Path:
    """The folder of the gateways' sockets, made when it is missing."""
    folder = config.state / SOCKETS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def secret(config: Config, sealer: Sealer, purpose: str) -> bytes:
    """32 bytes for a purpose, the same in all processes of a deployment."""
    return derived(issuer_key(config.state / "keys", sealer), purpose)


def _name(services: Services) -> str:
    return services.gateway.rpartition("/")[2]


def _role(services: Services) -> Role:
    return Role.of(_name(services))


def _place(config: Config, name: str) -> Path:
    return config.state / SHARED / f"{name}.db"
