"""The SDK's server behind real HTTP, and channels to it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from portcullis.config import Config, Limits
from portcullis.execution.endpoint import endpoints
from portcullis.execution.http import HttpForwarder
from portcullis.execution.mcp import McpChannels
from portcullis.execution.secrets import local_secrets

SERVER = Path(__file__).with_name("sdk_server.py")
MODERN = "2026-07-28"
LEGACY = "2025-11-25"


class Peer:
    """Speaks to one channel as a client of either era would."""

    def __init__(self, channel: Any, *, legacy: bool) -> None:
        self.channel = channel
        self.legacy = legacy
        self.version = LEGACY if legacy else MODERN
        self._last = 0

    def message(self, method: str, **params: Any) -> tuple[dict[str, Any], dict[str, str]]:
        self._last += 1
        headers = {"mcp-protocol-version": self.version}
        if not self.legacy:
            meta = params.setdefault("_meta", {})
            meta["io.modelcontextprotocol/protocolVersion"] = MODERN
            meta["io.modelcontextprotocol/clientInfo"] = {"name": "test", "version": "1"}
            meta["io.modelcontextprotocol/clientCapabilities"] = {}
            headers["mcp-method"] = method
            if "name" in params:
                headers["mcp-name"] = params["name"]
        elif method == "initialize":
            headers = {}
        return {"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}, headers

    async def all(self, method: str, **params: Any) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            async with aclosing(self.channel.request(*self.message(method, **params))) as answer:
                return [incoming.message async for incoming in answer]

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        return (await self.all("tools/call", name=name, arguments=arguments))[-1]["result"]

    async def start(self) -> dict[str, Any]:
        if not self.legacy:
            return (await self.all("server/discover"))[-1]
        answer = await self.all(
            "initialize",
            protocolVersion=LEGACY,
            capabilities={"elicitation": {}},
            clientInfo={"name": "test", "version": "1"},
        )
        await self.tell("notifications/initialized")
        return answer[-1]

    async def tell(self, method: str, **params: Any) -> None:
        headers = {"mcp-protocol-version": self.version}
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        await self.channel.notify(message, headers)


@pytest.fixture
async def sdk_url(anyio_backend: str) -> AsyncIterator[Callable[..., Any]]:
    """Serve the SDK's server over streamable HTTP; options are the SDK's own."""
    spec = importlib.util.spec_from_file_location("sdk_server", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    running: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    async def serve(*, events: bool = False, **options: Any) -> str:
        if events:
            options |= {"event_store": module.Events(), "retry_interval": 20}
        app = module.make().streamable_http_app(**options)
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, ws="none")
        )
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        running.append((server, task))
        return f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"

    yield serve
    for server, task in running:
        server.should_exit = True
        await task


@pytest.fixture
def credential() -> str:
    return "t-" + secrets.token_urlsafe(24)


@pytest.fixture
async def connect(credential: str) -> AsyncIterator[Callable[..., Any]]:
    """Open a channel to a server by URL or command, and speak its era."""
    made: list[tuple[McpChannels, HttpForwarder]] = []
    source = local_secrets({"TOKEN": credential})

    async def to(target: str | tuple[str, ...], *, legacy: bool, **limits: Any) -> Peer:
        upstream = (
            {"url": target, "credential": "env:TOKEN"}
            if isinstance(target, str)
            else {"command": target, "sandbox": "none"}
        )
        config = Config.model_validate({"trust_domain": "example.test", "mcp": {"it": upstream}})
        bounds = Limits(**limits)
        forwarder = HttpForwarder(endpoints(config), secrets=source, limits=bounds)
        channels = McpChannels(
            config.mcp, forwarder=forwarder, secrets=source, limits=bounds, environ=os.environ
        )
        made.append((channels, forwarder))
        return Peer(await channels.open("it", "key", legacy=legacy), legacy=legacy)

    yield to
    for channels, forwarder in made:
        await channels.close()
        await forwarder.close()


@pytest.fixture
def stdio_command() -> tuple[str, ...]:
    return (sys.executable, str(SERVER))
