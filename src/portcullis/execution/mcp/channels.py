"""Opens channels to the MCP servers of the configuration, and keeps the books of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final, TypeAlias

from portcullis.config import Limits, McpUpstream
from portcullis.config.boxed import NONE
from portcullis.core.behalf import NOBODY, Behalf
from portcullis.core.errors import Problem
from portcullis.core.ports import Channel, Forwarder, SecretSource
from portcullis.execution.boxes import Boxes
from portcullis.execution.inside import inside, language, order
from portcullis.execution.mcp.backoff import Backoff
from portcullis.execution.mcp.http import McpEndpoint
from portcullis.execution.mcp.http_legacy import LegacyHttpChannel
from portcullis.execution.mcp.http_modern import ModernHttpChannel
from portcullis.execution.mcp.process import Child
from portcullis.execution.mcp.stdio import StdioChannel
from portcullis.execution.secrets.broker import SecretBroker
from portcullis.execution.secrets.environment import environment, held
from portcullis.execution.tools.channel import ToolChannel

_INHERITED: Final = ("PATH", "HOME", "LANG")
_Key: TypeAlias = tuple[str, str, bool]
_WORTH_RESTING: Final = frozenset({"PC5011", "PC5031"})
"""After a start that failed so, the next one waits; other faults are not of the server's."""


class McpChannels:
    """The ``Channels`` of the configuration's ``mcp`` section; see the port for its promises.

    ``open`` with the same server, key and era returns the same channel while it lives; after its
    end, a new one. HTTP servers are reached through ``forwarder`` (as ``mcp:NAME``). Commands run
    in boxes of ``boxes``, with LANG of ``environ`` and what the configuration names; under
    ``sandbox: none`` without one, with PATH and HOME of ``environ`` too. ``tools`` are the channels
    to the gate's own tools, by server. Closing a channel that is shared, or idle for too long, is
    its user's business; ``close`` closes all.
    """

    def __init__(
        self,
        servers: Mapping[str, McpUpstream],
        boxes: Boxes | None = None,
        tools: Mapping[str, ToolChannel] | None = None,
        *,
        forwarder: Forwarder,
        secrets: SecretSource | SecretBroker,
        limits: Limits,
        environ: Mapping[str, str],
    ) -> None:
        self._boxes = boxes
        self._tools = dict(tools or {})
        self._path = environ.get("PATH", "")
        self._language = language(environ)
        self._backoff = Backoff(time.monotonic)
        self._servers = dict(servers)
        self._secrets = secrets
        self._limits = limits
        self._environ = {name: environ[name] for name in _INHERITED if name in environ}
        self._endpoints = {
            name: McpEndpoint(name, forwarder, limits)
            for name, server in servers.items()
            if server.url is not None
        }
        self._stateless = {
            name: ModernHttpChannel(endpoint) for name, endpoint in self._endpoints.items()
        }
        self._open: dict[_Key, LegacyHttpChannel | StdioChannel] = {}
        self._processes = 0
        self._starting: dict[_Key, asyncio.Task[StdioChannel]] = {}
        self._closed = False

    def servers(self) -> tuple[str, ...]:
        """Return the configured names."""
        return (*self._servers, *self._tools)

    def spawns(self, server: str) -> bool:
        """Say whether a configured server is a command, so that each channel is a process."""
        return server in self._servers and self._servers[server].command is not None

    async def open(
        self, server: str, key: str, *, legacy: bool, behalf: Behalf | None = None
    ) -> Channel:
        """Return the channel of this conversation, opening it if need be."""
        configured = self._servers.get(server)
        if configured is None and server not in self._tools:
            raise Problem("PC5012", f"no MCP server {server} is configured")
        if self._closed:
            raise Problem("PC5013", "the channels are closed")
        if configured is None:
            return self._tools[server].on_behalf(behalf)
        if not legacy and server in self._stateless:
            if behalf is None:
                return self._stateless[server]
            return ModernHttpChannel(self._endpoints[server].on_behalf(behalf))
        place = (server, key, legacy)
        channel = self._open.get(place)
        if channel is not None and channel.alive:
            return channel
        if configured.command is None:
            legacy_channel = LegacyHttpChannel(
                self._endpoints[server].on_behalf(behalf),
                lambda: self._forget(place, legacy_channel),
            )
            self._open[place] = legacy_channel
            return legacy_channel
        caller = behalf or NOBODY
        if configured.per_session and not caller.session:
            raise Problem("PC5042", f"the server {server} is for calls within a session")
        starting = self._starting.get(place)
        if starting is None:
            whose = (server, caller.kind, caller.principal)
            starting = asyncio.create_task(
                self._start(place, configured.command, configured, whose)
            )
            self._starting[place] = starting
            starting.add_done_callback(lambda task: self._started(place, task))
        # Shielded: a client that leaves now must not leave a process behind that nobody knows.
        return await asyncio.shield(starting)

    async def close(self) -> None:
        """End all sessions and processes."""
        self._closed = True
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in tuple(self._open.values())))

    async def _start(
        self,
        place: _Key,
        command: tuple[str, ...],
        configured: McpUpstream,
        whose: tuple[str, ...],
    ) -> StdioChannel:
        server = place[0]
        if self._processes >= self._limits.processes:
            raise Problem("PC5006", f"{self._processes} server processes are running")
        self._backoff.may_start(whose)
        self._processes += 1
        try:
            named, credentials = await environment(
                configured.env, self._secrets, upstream=server, injections=configured.inject
            )
            child = await self._child(whose, command, configured, named, holds=bool(credentials))
        except BaseException as error:
            self._processes -= 1
            if isinstance(error, Problem) and error.code in _WORTH_RESTING:
                self._backoff.ended(whose, 0.0)
            raise
        began = time.monotonic()
        release = held(configured.env, self._secrets, configured.inject)

        def gone() -> None:
            release()
            self._processes -= 1
            self._forget(place, channel)
            if not channel.closed:
                self._backoff.ended(whose, time.monotonic() - began)

        channel = StdioChannel(
            server, child, limits=self._limits, credentials=credentials, gone=gone
        )
        self._open[place] = channel
        return channel

    async def _child(
        self,
        whose: tuple[str, ...],
        command: tuple[str, ...],
        configured: McpUpstream,
        named: dict[str, str],
        *,
        holds: bool,
    ) -> Child:
        """Start a server in its box, or without one where the configuration says so."""
        server, cwd = whose[0], configured.cwd
        if configured.sandbox == NONE:
            environ = self._environ | named
            return await Child.start(server, command, environ=environ, cwd=cwd, holds=holds)
        if self._boxes is None:
            raise Problem("PC5030", f"there is nothing to make the box of {server} with")
        profile = self._boxes.profile(configured.sandbox)
        what = await asyncio.to_thread(
            inside, command, path=self._path, cwd=cwd, mounts=configured.mounts
        )
        title = f"mcp:{server} {':'.join(whose[1:])}"
        wanted = order(title, what, profile=profile, environ=self._language | named, cwd=cwd)
        return await Child.boxed(server, wanted, self._boxes, holds=holds)

    def _started(self, place: _Key, task: asyncio.Task[StdioChannel]) -> None:
        del self._starting[place]
        if not task.cancelled():
            task.exception()  # marks it as seen: whoever asked may have left

    def _forget(self, place: _Key, channel: LegacyHttpChannel | StdioChannel) -> None:
        if self._open.get(place) is channel:
            del self._open[place]
