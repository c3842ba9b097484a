"""What the gateways of a deployment share beside the database, and the way from one to another.

One process alone keeps all of it in its memory. A ``portcullis mcp`` has a caller of its own, who
may speak to gateways too: it shares the placeholders. See docs/state-of-gateways.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import structlog
from sqlalchemy import Engine

from portcullis.audit.keys import DIGESTS, shared_subjects
from portcullis.checks.overheard import Called, LocalCalled
from portcullis.config import Config
from portcullis.config.places import Role
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Once, Sealer
from portcullis.core.relay_ports import Claims
from portcullis.core.session_ports import SessionState
from portcullis.execution.secrets import local_secrets
from portcullis.gateway.mcp import Mcp
from portcullis.gateway.mcp_conversations import Conversations
from portcullis.gateway.owned import Owned
from portcullis.gateway.relay import Ids
from portcullis.identity.keymanager import KEYS
from portcullis.identity.keys import derived, issuer_key
from portcullis.identity.once import LocalOnce
from portcullis.oversight.recent import LocalRemembered, Remembered
from portcullis.store.called import SharedCalled
from portcullis.store.called_redis import RedisCalled
from portcullis.store.claims import SharedClaims
from portcullis.store.claims_redis import RedisClaims
from portcullis.store.once import SharedOnce
from portcullis.store.once_redis import RedisOnce
from portcullis.store.proposals import Proposals, SharedProposals
from portcullis.store.proposals_redis import RedisProposals
from portcullis.store.recent import SharedRecent
from portcullis.store.recent_redis import RedisRecent
from portcullis.store.sessions import LocalSessionState, SharedSessionState
from portcullis.store.sessions_watched import WatchedSessionState
from portcullis.store.shared_server import Server
from portcullis.store.vaults import LocalVaults
from portcullis.store.vaults_redis import RedisVaults
from portcullis.store.vaults_shared import SharedVaults

SHARED = "shared"
"""Below the state directory: what the processes that run share, and no restart of all needs."""
_SWEEP_SECONDS = 30.0

log = structlog.get_logger(__name__)

_Stack: TypeAlias = contextlib.ExitStack | contextlib.AsyncExitStack
AnyVaults: TypeAlias = LocalVaults | SharedVaults | RedisVaults


def shares(role: Role) -> bool:
    """Whether other processes serve the same agents over the network."""
    return role in {Role.CONTROL, Role.GATEWAY}


def server_of(stack: _Stack, config: Config, role: Role, clock: Clock) -> Server | None:
    """Where all of this lies for the gateways of several hosts, if anywhere; the stack closes it.

    Raises Problem PC7085 for its address, and those of the reference.
    """
    if config.shared.url is None or role.alone:
        return None
    url = local_secrets(os.environ).resolve(config.shared.url).reveal()
    server = Server(url, config.trust_domain, clock=clock)
    stack.callback(server.close)
    return server


def once_of(
    stack: _Stack, config: Config, role: Role, clock: Clock, server: Server | None = None
) -> Once:
    """What remembers proofs; the stack closes it."""
    if not shares(role):
        return LocalOnce(clock)
    if server is not None:
        return RedisOnce(server, clock, skew=config.tokens.clock_skew_seconds)
    once = SharedOnce(_place(config, "once"), clock)
    stack.callback(once.close)
    return once


def vaults_of(stack: _Stack, config: Config, services: Services) -> AnyVaults:
    """The placeholders of sessions; the stack closes them."""
    if _role(services) not in {Role.GATEWAY, Role.WRAPPER}:
        return LocalVaults(services.clock)
    key = secret(config, services.sealer, "vaults")
    server = _server(stack, config, services)
    if server is not None:
        return RedisVaults(server, key, services.clock)
    vaults = SharedVaults(_place(config, "vaults"), key, services.clock)
    stack.callback(vaults.close)
    return vaults


def sessions_of(
    stack: _Stack,
    config: Config,
    role: Role,
    engine: Engine,
    clock: Clock,
    sealer: Sealer,
    server: Server | None = None,
) -> SessionState:
    """The sessions; the stack closes what is shared of them. Raises what their making raises."""
    if role.alone:
        return LocalSessionState(engine, clock, sealer)
    proposals: Proposals | None = None
    if shares(role):
        key = secret(config, sealer, "proposals")
        if server is not None:
            proposals = RedisProposals(server, key)
        else:
            proposals = file = SharedProposals(_place(config, "proposals"), key)
            stack.callback(file.close)
    kind = WatchedSessionState if role is Role.CONTROL else SharedSessionState
    sessions = kind(engine, clock, sealer, proposals)
    stack.callback(sessions.shut)
    return sessions


def called_of(stack: _Stack, config: Config, services: Services) -> Called:
    """What sessions have called; the stack closes it."""
    if _role(services) is not Role.GATEWAY:
        return LocalCalled()
    server = _server(stack, config, services)
    if server is not None:
        return RedisCalled(server, services.clock)
    called = SharedCalled(_place(config, "called"))
    stack.callback(called.close)
    return called


def steps_of(stack: _Stack, config: Config, services: Services) -> Remembered:
    """The last calls of sessions; the stack closes them."""
    if _role(services) is not Role.GATEWAY:
        return LocalRemembered()
    key = secret(config, services.sealer, "recent")
    server = _server(stack, config, services)
    if server is not None:
        return RedisRecent(server, key)
    recent = SharedRecent(_place(config, "recent"), key)
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


async def sweeping(vaults: AnyVaults, sessions: SessionState) -> None:
    """Have vaults forgotten whose sessions nobody knows any more, for ever.

    A gateway forgets those of sessions that it knew; one that was killed leaves its own behind.
    """
    while not isinstance(vaults, LocalVaults) and isinstance(sessions, SharedSessionState):
        await asyncio.sleep(_SWEEP_SECONDS)
        try:
            await vaults.forget(await sessions.ended(await vaults.keys()))
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
    claims: Claims
    server = _server(stack, config, services)
    if server is not None:
        claims = RedisClaims(server, name)
    else:
        claims = file = SharedClaims(_place(config, "claims"), name)
        stack.callback(file.close)
    ids = Ids(calls=Owned("calls", name, key), sessions=Owned("sessions", name, key))
    return Conversations(mcp, ids.sessions, claims, name), Among(name, key, ids, claims)


def secret(config: Config, sealer: Sealer, purpose: str) -> bytes:
    """32 bytes for a purpose, the same in all processes of a deployment."""
    return derived(issuer_key(config.state / "keys", sealer), purpose)


def _server(stack: _Stack, config: Config, services: Services) -> Server | None:
    """The server that this process has already; or one for it."""
    if config.shared.url is None:
        return None
    if isinstance(services.once, RedisOnce):
        return services.once.server
    return server_of(stack, config, _role(services), services.clock)


def _name(services: Services) -> str:
    """What this process is called, whatever its log is since a restore (``places.log_name``)."""
    return services.gateway.rpartition("/")[2].partition(".")[0]


def _role(services: Services) -> Role:
    return Role.of(_name(services))


def _place(config: Config, name: str) -> Path:
    return config.state / SHARED / f"{name}.db"
