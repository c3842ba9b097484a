"""The ways into the gate, each with a real client, behind one interface; see also ``guarded``.

``good`` is a request that passes; ``scripted(how)`` one whose upstream then behaves as ``how``
says; ``raw`` sends bytes that no real client would. Each returns a ``Seen``.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import httpx2
import openai
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult

from e2e.matrix.deployment import BOXED, HELD, PORTCULLIS, Deployment
from e2e.matrix.guarded import GuardRoute
from e2e.matrix.seen import Seen, code_in
from e2e.matrix.ways import Way

HERE = Path(__file__).parent
MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}


class ModelRoute:
    """``api`` is whose client speaks; ``stream`` says which of the two routes it is."""

    def __init__(self, deployment: Deployment, api: str, *, stream: bool) -> None:
        self.deployment = deployment
        self.api = api
        self.stream = stream
        self.name = "llm-stream" if stream else "llm-json"
        self.token = deployment.token
        self.way = Way(deployment.url)
        self.mode = ""
        self.path = (
            "/anthropic/v1/messages" if api == "anthropic" else "/openai/v1/chat/completions"
        )

    async def good(self, token: str | None = None) -> Seen:
        family = "claude" if self.api == "anthropic" else "gpt"
        return await self.ask(f"{family}-standin:say", token=token)

    effect = good

    async def scripted(self, how: str, folder: Path | None = None, **more: Any) -> Seen:
        return await self.ask(f"probe:{how}", text=str(folder or "hello"), **more)

    async def told(self, what: Any, folder: Path, *, pieces: bool = False, **more: Any) -> Seen:
        """What the client sees when the upstream says ``what``, whole or in pieces."""
        return await self.scripted(*tell(what, folder, pieces=pieces), **more)

    async def ask(
        self,
        model: str,
        text: str = "hello",
        *,
        token: str | None = None,
        on_piece: Any = None,
        messages: list[dict[str, Any]] | None = None,
        **extra: Any,
    ) -> Seen:
        """One request with the official client; ``on_piece`` is called for each piece.

        ``messages`` are sent in place of one with ``text``.
        """
        seen = Seen()
        create = self._anthropic if self.api == "anthropic" else self._openai
        messages = messages or [{"role": "user", "content": text}]
        try:
            async with create(token or self.token) as make:
                answer = await make(model=model, messages=messages, stream=self.stream, **extra)
                seen.headers = dict(answer.headers)
                parsed = answer.parse()
                if inspect.isawaitable(parsed):
                    parsed = await parsed
                if not self.stream:
                    seen.text = _text(parsed)
                    return seen
                async for piece in parsed:
                    seen.pieces.append(piece.model_dump_json())
                    seen.text += _delta(piece)
                    if on_piece is not None:
                        on_piece(seen)
        except (openai.APIError, anthropic.APIError) as error:
            seen.failed = True
            seen.code = code_in(f"{error} {error.body}")
            seen.headers = dict(getattr(error, "response", seen).headers)
            seen.text += str(error)
        return seen

    @asynccontextmanager
    async def _openai(self, token: str) -> AsyncIterator[Any]:
        base = f"{self.way.url}/openai/v1"
        async with openai.AsyncOpenAI(
            base_url=base, api_key=token, max_retries=0, http_client=self.way.http()
        ) as client:
            yield client.chat.completions.with_raw_response.create

    @asynccontextmanager
    async def _anthropic(self, token: str) -> AsyncIterator[Any]:
        base = f"{self.way.url}/anthropic"
        async with anthropic.AsyncAnthropic(
            base_url=base, api_key=token, max_retries=0, http_client=self.way.http()
        ) as client:

            async def create(**asked: Any) -> Any:
                return await client.messages.with_raw_response.create(max_tokens=9, **asked)

            yield create

    def body(self) -> bytes:
        """A good request's bytes."""
        asked = {"model": "probe:plain", "max_tokens": 9, "stream": self.stream}
        return json.dumps(asked | {"messages": [{"role": "user", "content": "hello"}]}).encode()

    async def raw(
        self, body: bytes, headers: list[tuple[str, str]] | None = None, *, token: str | None = None
    ) -> Seen:
        pairs = [("content-type", "application/json"), *(headers or [])]
        return await self.deployment.post(self.path, body, pairs, token=token or self.token)

    async def renew(self) -> None:
        """Nothing of this route outlives a request."""

    def upstream_saw(self) -> list[Any]:
        """What reached the upstreams of this route."""
        return [*self.deployment.stage.model.seen, *self.deployment.provider.seen]

    effects = upstream_saw

    def events(self) -> list[Any]:
        return self.deployment.events()


class McpRoute:
    """``name`` is the route; ``server`` the misbehaving server and ``tools`` the good one."""

    server = "peer"
    tools = "orders"

    def __init__(self, deployment: Deployment, name: str) -> None:
        self.deployment = deployment
        self.name = name
        self.mode = "legacy" if name == "mcp-http-legacy" else MODERN
        self.token = deployment.token
        self.way = Way(deployment.url)

    @asynccontextmanager
    async def client(
        self, server: str | None = None, token: str | None = None, **options: Any
    ) -> AsyncIterator[Client]:
        headers = {"authorization": f"Bearer {token or self.token}"}
        options["logging_callback"] = self.deployment.log
        url = f"{self.way.url}/mcp/{server or self.server}"
        async with (
            self.way.http(headers=headers) as http,
            Client(
                streamable_http_client(url, http_client=http), mode=self.mode, **options
            ) as client,
        ):
            yield client

    async def good(self, token: str | None = None) -> Seen:
        return await self.call("say", token=token, text="hello")

    async def effect(self, token: str | None = None) -> Seen:
        return await self.call("write", token=token, text="hello")

    async def scripted(
        self, how: str, folder: Path | None = None, *, on_piece: Any = None, **more: Any
    ) -> Seen:
        where = {"folder": str(folder)} if folder else {}
        return await self.call("misbehave", on_piece=on_piece, lists=True, how=how, **where, **more)

    async def told(self, what: Any, folder: Path, *, pieces: bool = False, **more: Any) -> Seen:
        """What the client sees when the server says ``what``, as its result or before it."""
        return await self.scripted(*tell(what, folder, pieces=pieces), **more)

    async def call(
        self,
        name: str,
        /,
        *,
        server: str | None = None,
        token: str | None = None,
        on_piece: Any = None,
        lists: bool = False,
        options: dict[str, Any] | None = None,
        more: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> Seen:
        """One tool call with the official client; progress messages are its pieces.

        A client that does not list the tools before (``lists``) does so when it has a result.
        """
        seen = Seen()

        async def progress(done: float, total: float | None, message: str | None) -> None:
            seen.pieces.append(message or "")
            if on_piece is not None:
                on_piece(seen)

        try:
            async with self.client(server, token, **(options or {})) as client:
                if lists:
                    await client.list_tools()
                answer = await client.call_tool(
                    name, arguments, progress_callback=progress, **(more or {})
                )
                seen.text = "".join(getattr(part, "text", "") for part in answer.content)
                seen.failed = answer.is_error
        except (BaseExceptionGroup, MCPError, httpx2.TransportError) as error:
            _failed(seen, error)
        return seen

    async def listed(self, server: str | None = None, token: str | None = None) -> set[str]:
        """The names of the tools that an agent is shown."""
        async with self.client(server, token) as client:
            return {tool.name for tool in (await client.list_tools()).tools}

    def body(self, method: str = "tools/list", **params: Any) -> bytes:
        """A good message's bytes."""
        if self.mode == MODERN:
            params["_meta"] = META
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return json.dumps(asked).encode()

    async def raw(
        self,
        body: bytes,
        headers: list[tuple[str, str]] | None = None,
        *,
        token: str | None = None,
        method: str = "tools/list",
    ) -> Seen:
        """Send bytes in place of a message, within a session of our own where the era has them."""
        pairs = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ]
        if self.mode == MODERN:
            pairs += [("mcp-protocol-version", MODERN), ("mcp-method", method)]
        else:
            pairs += [("mcp-session-id", await self.session(token or self.token))]
        path = f"/mcp/{self.server}"
        return await self.deployment.post(
            path, body, [*pairs, *(headers or [])], token=token or self.token
        )

    async def session(self, token: str) -> str:
        """Begin a legacy session; its id."""
        asked = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"},
        }
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": asked}
        headers = {
            "authorization": f"Bearer {token}",
            "accept": "application/json, text/event-stream",
        }
        url = f"{self.deployment.url}/mcp/{self.server}"
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(url, json=message) as answer,
        ):
            return answer.headers["mcp-session-id"]

    async def renew(self) -> None:
        """Nothing of this route outlives a client."""

    def upstream_saw(self) -> list[Any]:
        return self.deployment.peer_saw()

    def effects(self) -> list[Any]:
        """The calls of ``effect`` that reached the server."""
        params = [one["message"].get("params", {}) for one in self.upstream_saw()]
        return [one for one in params if one.get("name") == "write"]

    def events(self) -> list[Any]:
        return self.deployment.events()


class StdioRoute(McpRoute):
    """``portcullis mcp -- CMD``; clients are kept, since a process takes its time to start."""

    server = "piped"
    tools = "desk"

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment, "mcp-stdio")
        self.mode = "legacy"

    def command(self, server: str) -> list[str]:
        start = [*PORTCULLIS[1:], "mcp", "-c", str(self.deployment.config), "--server", server]
        if server in HELD:
            held = HELD[server]
            profile = ["--profile", held.get("sandbox", "strict"), "--mount", f"{BOXED}:ro"]
            return [*start, *profile, "--", *held["command"]]
        key = ["--env", f"PEER_KEY={self.deployment.peer_key_reference}", "--profile", "none"]
        script = "peer.py" if server == self.server else "desk.py"
        log = str(self.deployment.piped_log)
        return [
            *start,
            *key,
            *("--", sys.executable, str(HERE / script), log),
        ]

    @asynccontextmanager
    async def client(
        self, server: str | None = None, token: str | None = None, **options: Any
    ) -> AsyncIterator[Client]:
        server, token = server or self.server, token or self.token
        options["logging_callback"] = self.deployment.log
        parameters = StdioServerParameters(
            command=PORTCULLIS[0],
            args=self.command(server),
            env={"PORTCULLIS_TOKEN": token},
        )
        kept = (server, token, tuple(sorted(options)))
        yield await self.deployment.keep(
            kept, lambda: Client(parameters, mode=self.mode, read_timeout_seconds=30, **options)
        )

    async def raw(
        self,
        body: bytes,
        headers: list[tuple[str, str]] | None = None,
        *,
        token: str | None = None,
        method: str = "",
    ) -> Seen:
        """Send one line after ``initialize``, and read the answer to it."""
        del headers, method
        process = await self.deployment.process(
            [PORTCULLIS[0], *self.command(self.server)], token or self.token
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(body + b"\n")
        await process.stdin.drain()
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        answer = json.loads(line)
        return Seen(code=code_in(answer.get("error", "")), text=line.decode())

    async def renew(self) -> None:
        """Act in a session, and so through a process, of its own: it may be broken."""
        self.token = (await self.deployment.open())[1]

    def upstream_saw(self) -> list[Any]:
        return self.deployment.peer_saw(piped=True)

    def events(self) -> list[Any]:
        return self.deployment.events(piped=True)


def tell(what: Any, folder: Path, *, pieces: bool) -> tuple[str, Path]:
    """Write down what an upstream is to say; the way in which it does, and the folder."""
    (folder / "told").write_text(json.dumps(what), encoding="utf-8")
    return "pieces-tell" if pieces else "tell", folder


def route_of(deployment: Deployment, name: str) -> ModelRoute | McpRoute | GuardRoute:
    """The route of a case: ``llm-json/openai``, ``mcp-stdio``."""
    kind, _, api = name.partition("/")
    if kind.startswith("llm-"):
        return ModelRoute(deployment, api, stream=kind == "llm-stream")
    if kind == "guard":
        return GuardRoute(deployment)
    return StdioRoute(deployment) if kind == "mcp-stdio" else McpRoute(deployment, kind)


def _failed(seen: Seen, error: BaseException) -> None:
    """Take over what a client raised: the gate's code, or that the connection failed."""
    if isinstance(error, BaseExceptionGroup):
        problems = error.split(MCPError)[0] or error.split(httpx2.TransportError)[0]
        if problems is None:
            raise error
        error = problems.exceptions[0]
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
    seen.failed = True
    if isinstance(error, httpx2.TransportError):
        return
    assert isinstance(error, MCPError)
    seen.code = code_in(error.error.data)
    seen.text += error.error.message


def _text(answer: Any) -> str:
    if hasattr(answer, "choices"):
        return str(answer.choices[0].message.content)
    return "".join(block.text for block in answer.content)


def _delta(piece: Any) -> str:
    if hasattr(piece, "choices"):
        return "".join(choice.delta.content or "" for choice in piece.choices)
    return str(getattr(getattr(piece, "delta", None), "text", ""))


async def say_yes(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"sure": True})
