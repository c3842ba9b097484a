"""Opens channels to the MCP servers of the configuration, and keeps the books of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final, TypeAlias

from portcullis.config import SECRET, Limits, McpUpstream
from portcullis.core.errors import Problem
from portcullis.core.ports import Forwarder, SecretSource
from portcullis.execution.credential import Credential
from portcullis.execution.mcp.http import McpEndpoint
from portcullis.execution.mcp.http_legacy import LegacyHttpChannel
from portcullis.execution.mcp.http_modern import ModernHttpChannel
from portcullis.execution.mcp.process import Child
from portcullis.execution.mcp.stdio import StdioChannel

_INHERITED: Final = ("PATH", "HOME", "LANG")
_Key: TypeAlias = tuple[str, str, bool]
_AnyChannel: TypeAlias = ModernHttpChannel | LegacyHttpChannel | StdioChannel


class McpChannels:
    """The ``Channels`` of the configuration's ``mcp`` section; see the port for its promises.

    ``open`` with the same server, key and era returns the same channel while it lives; after its
    end, a new one. HTTP servers are reached through ``forwarder`` (as ``mcp:NAME``); processes
    get PATH, HOME and LANG of ``environ`` and what the configuration names. Closing a channel
    that is shared, or idle for too long, is its user's business; ``close`` closes all.
    """

    def __init__(
        self,
        servers: Mapping[str, McpUpstream],
        *,
        forwarder: Forwarder,
        secrets: SecretSource,
        limits: Limits,
        environ: Mapping[str, str],
    ) -> None:
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
        """Return the names of the configured servers."""
        return tuple(self._servers)

    def spawns(self, server: str) -> bool:
        """Say whether a configured server is a command, so that each channel is a process."""
        return self._servers[server].command is not None

    async def open(self, server: str, key: str, *, legacy: bool) -> _AnyChannel:
        """Return the channel of this conversation, opening it if need be."""
        configured = self._servers.get(server)
        if configured is None:
            raise Problem("PC5012", f"no MCP server {server} is configured")
        if self._closed:
            raise Problem("PC5013", "the channels are closed")
        if not legacy and server in self._stateless:
            return self._stateless[server]
        place = (server, key, legacy)
        channel = self._open.get(place)
        if channel is not None and channel.alive:
            return channel
        if configured.command is None:
            legacy_channel = LegacyHttpChannel(
                self._endpoints[server], lambda: self._forget(place, legacy_channel)
            )
            self._open[place] = legacy_channel
            return legacy_channel
        starting = self._starting.get(place)
        if starting is None:
            starting = asyncio.create_task(self._start(place, configured.command, configured))
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
        self, place: _Key, command: tuple[str, ...], configured: McpUpstream
    ) -> StdioChannel:
        server = place[0]
        if self._processes >= self._limits.processes:
            raise Problem("PC5006", f"{self._processes} server processes are running")
        environ, credentials = self._environment(configured)
        self._processes += 1
        try:
            child = await Child.start(server, command, environ=environ, cwd=configured.cwd)
        except BaseException:
            self._processes -= 1
            raise

        def gone() -> None:
            self._processes -= 1
            self._forget(place, channel)

        channel = StdioChannel(
            server, child, limits=self._limits, credentials=credentials, gone=gone
        )
        self._open[place] = channel
        return channel

    def _started(self, place: _Key, task: asyncio.Task[StdioChannel]) -> None:
        del self._starting[place]
        if not task.cancelled():
            task.exception()  # marks it as seen: whoever asked may have left

    def _forget(self, place: _Key, channel: LegacyHttpChannel | StdioChannel) -> None:
        if self._open.get(place) is channel:
            del self._open[place]

    def _environment(self, configured: McpUpstream) -> tuple[dict[str, str], list[Credential]]:
        """Return the child's environment and the secrets in it, to watch its answers for."""
        environ = dict(self._environ)
        credentials: list[Credential] = []
        for name, value in configured.env.items():
            if re.match(SECRET, value):
                secret = self._secrets.resolve(value)
                environ[name] = secret
                credentials.append(Credential(secret))
            else:
                environ[name] = value
        return environ, credentials
