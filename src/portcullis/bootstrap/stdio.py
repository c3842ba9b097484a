"""The gate on standard streams, in front of one stdio server."""

from __future__ import annotations

import asyncio
import contextlib
import os

from portcullis.bootstrap.background import background
from portcullis.bootstrap.feed import following
from portcullis.bootstrap.foundation import founded
from portcullis.bootstrap.local import local_operator
from portcullis.bootstrap.parts import Parts, assembled
from portcullis.bootstrap.presence import GATE_FILE, present
from portcullis.config import Config, McpUpstream
from portcullis.config.places import log_name
from portcullis.control.services import Services
from portcullis.core.call import Context
from portcullis.core.credential import Peer, Presented
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.trace import new_trace
from portcullis.gateway.live import Live
from portcullis.gateway.mcp_stdio import serve_stdio, standard_streams
from portcullis.identity.tokens import Minted
from portcullis.store.killfeed_follower import Follower

_WRAPPERS = 16
"""Most `portcullis mcp` processes for one server at once; each writes a log of its own."""

_RENEW_SECONDS = 60
_LOOK_SECONDS = 0.1


async def wrap_stdio(
    config: Config, server: str, upstream: McpUpstream, *, agent: str, token: str
) -> None:
    """Serve MCP on standard streams in front of one stdio server, with every check in between.

    The caller is ``agent``, vouched for by the issuer's key in the state directory, or whoever
    ``token`` was minted for. The log is one of its own below ``state/mcp``, since one process
    writes one log.
    """
    alone = config.model_copy(update={"mcp": {server: upstream}, "models": {}, "tools": {}})
    async with contextlib.AsyncExitStack() as stack:
        parts = await _first_free(stack, alone, server)
        name = parts.services.gateway.rpartition("/")[2]
        heard = following(config, parts.services, name, parts.live, binding=False)
        lease = _Lease(config, parts.services, await stack.enter_async_context(heard))
        await stack.enter_async_context(background(lease.watch()))
        vouched = _Vouched(parts.services, agent)

        async def context() -> Context:
            shown = Presented(token=token or await vouched.credential(), local=True)
            return await parts.access.admit(shown, source="stdio", trace_id=new_trace())

        reader, writer = await standard_streams()
        await serve_stdio(
            reader,
            writer,
            mcp=parts.mcp,
            conversations=parts.conversations,
            server=server,
            contexts=context,
            live=parts.live,
        )


class _Lease:
    """Binds a wrapper to the feed while something rules the deployment, as its gateways are bound.

    Until then, and when that has ended, the database alone says who is cut off. What begins to
    rule is given a lease's time to be heard.
    """

    def __init__(self, config: Config, services: Services, follower: Follower) -> None:
        self._place = config.state / GATE_FILE
        self._grace = config.feed.lease_seconds
        self._feed = services.feed
        self._clock = services.clock
        self._follower = follower
        self._since: float | None = None
        services.feed.lease(self.fresh)

    def fresh(self) -> bool:
        """Whether it knows who is cut off."""
        since = self._since
        bound = since is not None and self._clock.monotonic() >= since + self._grace
        return not bound or self._follower.fresh()

    async def watch(self) -> None:
        """See whether anything rules, until cancelled."""
        was = True
        while True:
            if present(self._place) is None:
                self._since = None
            elif self._since is None:
                self._since = self._clock.monotonic()
            if self.fresh() is not was:
                was = not was
                self._feed.lapsed()
            await asyncio.sleep(_LOOK_SECONDS)


class _Nobody:
    """Nobody shows a certificate on standard streams."""

    def holds(self, peer: Peer) -> bool:
        """Trust none."""
        del peer
        return False


class _Vouched:
    """Tokens for one agent, minted under the issuer's key that this process can read."""

    def __init__(self, services: Services, agent: str) -> None:
        self._principals = services.principals("cli")
        self._clock = services.clock
        self._agent = agent
        self._minted: Minted | None = None

    async def credential(self) -> str:
        """A token that is good for a while yet. Raises Problem PC2007 for an unknown agent."""
        now = self._clock.now()
        if self._minted is None or self._minted.expires_at - now < _RENEW_SECONDS:
            owner = Principal(
                kind=PrincipalKind.OPERATOR,
                id=local_operator(),
                credential="issuer-key",
                expires_at=now,
            )
            context = Context(
                principal=owner, session=None, source="stdio", trace_id="", received_at=now
            )
            self._minted = await self._principals.mint(context, PrincipalKind.AGENT, self._agent)
        return self._minted.token


async def _first_free(stack: contextlib.AsyncExitStack, config: Config, server: str) -> Parts:
    """Assemble around the first of a server's logs that no other process is writing."""
    for number in range(1, _WRAPPERS + 1):
        name = f"mcp-{server}" if number == 1 else f"mcp-{server}-{number}"
        try:
            services = founded(stack, config, log_name(config, name))
        except Problem as problem:
            if problem.code != "PC6003" or number == _WRAPPERS:
                raise
            continue
        live = Live(services.feed, _Nobody(), config.trust_domain, services.clock)
        services.feed.subscribe(live.sweep)
        return await stack.enter_async_context(assembled(config, services, live, os.environ))
    raise Problem("PC6003", "no log is free")
