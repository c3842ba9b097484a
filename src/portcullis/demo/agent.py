"""The support agent: official clients, a base URL and a token, and no other knowledge of gates."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, Self

import anthropic
import httpx2
import msgspec
import openai
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from portcullis.wire.mcp_results import APPROVAL_KEY

MODEL: Final = "gpt-standin"
CLAUDE: Final = "claude-standin"
SYSTEM: Final = "You are a support agent. You help the customer {customer} and nobody else."
_TIMEOUT: Final = 20.0


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """How a tool call ended: with a result, or refused with a ``code`` of the gate.

    ``approval`` is what it waits for, if it does.
    """

    text: str
    code: str = ""
    data: Any = None
    approval: str = ""


class Proposed(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call that the model wants; ``tool`` is ``server.tool``."""

    id: str
    tool: str
    arguments: dict[str, Any]


def refusal(error: MCPError) -> str:
    """The gate's code within a JSON-RPC error, or an empty string for anyone else's error."""
    data = error.data
    return str(data["code"]) if isinstance(data, dict) and "code" in data else ""


class SupportAgent:
    """Talks to models and tools through the gate at ``gate_url`` with one session's ``token``."""

    def __init__(self, gate_url: str, token: str, *, customer: str) -> None:
        """Make the clients; nothing is sent yet."""
        self._gate_url = gate_url
        self.gpt = openai.AsyncOpenAI(
            base_url=f"{gate_url}/openai/v1", api_key=token, max_retries=0, timeout=_TIMEOUT
        )
        self.claude = anthropic.AsyncAnthropic(
            base_url=f"{gate_url}/anthropic", api_key=token, max_retries=0, timeout=_TIMEOUT
        )
        self._http = httpx2.AsyncClient(
            headers={"authorization": f"Bearer {token}"}, timeout=_TIMEOUT
        )
        self.messages: list[Any] = [{"role": "system", "content": SYSTEM.format(customer=customer)}]
        self.tools: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.gpt.close()
        await self.claude.close()
        await self._http.aclose()

    @contextlib.asynccontextmanager
    async def server(self, name: str) -> AsyncIterator[Client]:
        """A connection to one MCP server behind the gate."""
        transport = streamable_http_client(f"{self._gate_url}/mcp/{name}", http_client=self._http)
        async with Client(transport) as client:
            yield client

    async def discover(self, servers: Iterable[str]) -> tuple[str, ...]:
        """List all tools (``server.tool``) and offer them to the model from now on."""
        found = []
        for name in servers:
            async with self.server(name) as client:
                for tool in (await client.list_tools()).tools:
                    found.append(f"{name}.{tool.name}")
                    function = {
                        "name": f"{name}__{tool.name}",
                        "description": tool.description or "",
                        "parameters": tool.input_schema,
                    }
                    self.tools.append({"type": "function", "function": function})
        return tuple(found)

    async def act(self, tool: str, arguments: dict[str, Any]) -> Done:
        """Call ``server.tool``. A refusal by the gate is a result too, for the model as for us."""
        server, _, name = tool.partition(".")
        async with self.server(server) as client:
            try:
                result = await client.call_tool(name, arguments)
            except MCPError as error:
                return Done(text=str(error), code=refusal(error) or "?")
        text = "\n".join(part.text for part in result.content if part.type == "text")
        waits = (result.meta or {}).get(APPROVAL_KEY, "")
        code = "PC3040" if waits else "?" if result.is_error else ""
        return Done(text=text, data=result.structured_content, code=code, approval=waits)

    async def think(self) -> tuple[Proposed, ...]:
        """Ask the model what to do next; what it proposes joins the conversation."""
        answer = await self.gpt.chat.completions.create(
            model=MODEL, messages=self.messages, tools=self.tools
        )
        message = answer.choices[0].message
        self.messages.append(message.model_dump(exclude_none=True))
        return tuple(
            Proposed(
                id=each.id,
                tool=each.function.name.replace("__", ".", 1),
                arguments=msgspec.json.decode(each.function.arguments),
            )
            for each in message.tool_calls or ()
            if each.type == "function"
        )

    def observe(self, proposed: Proposed, done: Done) -> None:
        """Put a tool's answer into the conversation."""
        content = f"refused: {done.text}" if done.code else done.text
        self.messages.append({"role": "tool", "tool_call_id": proposed.id, "content": content})
