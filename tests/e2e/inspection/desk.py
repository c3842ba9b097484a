"""A gate whose roles treat content in different ways, and one way to ask each API of a model."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
import yaml
from mcp import MCPError

import needles
import standins
from e2e.inspection import files
from portcullis.core.principal import PrincipalKind

APIS = ("chat", "responses", "messages")
ROLES: dict[str, dict[str, Any]] = {
    "plain": {},
    "hiding": {"from_tool": {"EMAIL_ADDRESS": "tokenise"}},
    "hashing": {"from_tool": {"EMAIL_ADDRESS": "hash"}},
    "masking": {"to_model": {"secret": "allow"}},
    "blocking": {"to_model": {"secret": "allow"}, "from_model": {"secret": "block"}},
    "wrapping": {"injection": {"tool": "wrap", "document": "wrap"}},
    "marking": {"injection": {"tool": "wrap"}, "envelope": "datamark"},
    "stripping": {"injection": {"tool": "strip"}},
    "seeing": {"opaque": {"to_model": "allow", "from_tool": "block"}},
    "linking": {"links": ["docs.example"]},
}
"""What is done with content in each role; an agent has the name of its role."""
HONEY = "crm-backup"


def policy() -> str:
    """The demonstration's policy, with these roles in place of its own."""
    text = yaml.safe_load(standins.support_policy())
    role = text["roles"].pop("support_agent")
    del role["inspection"]
    role["allowed_tools"] += ["files.show", "files.change"]
    role["allowed_resources"] += ["files.file://*"]
    role["allowed_prompts"] = ["files.from_file"]
    text["roles"] = {name: role | {"inspection": how} for name, how in ROLES.items()}
    text["agents"] = {name: {"role": name} for name in ROLES}
    text["tools"] |= {"files.show": {"risk": "read"}, "files.change": {"risk": "external"}}
    return json.dumps(text)


@dataclass
class Said:
    """What a client got of a model's answer: its text, its tool calls, an error's code."""

    text: str = ""
    code: str = ""
    status: int = 0
    error: str = ""
    pieces: list[str] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@dataclass
class Done:
    """What a client got of a tool, and the gate's code."""

    text: str = ""
    code: str = ""
    data: Any = None
    content: list[Any] = field(default_factory=list)


class Desk:
    """``stage`` is the gate with everything behind it, ``files`` what its server of files has."""

    def __init__(self, stage: standins.Stage, served: files.Files) -> None:
        self.stage = stage
        self.files = served
        self.application = ""
        self._tokens: dict[str, str] = {}

    async def token(self, role: str) -> str:
        """A session of the agent in this role, the same one each time."""
        if role not in self._tokens:
            await self.stage.register(PrincipalKind.AGENT, role)
            self._tokens[role] = await self.session(role)
        return self._tokens[role]

    async def session(self, role: str, **asked: Any) -> str:
        """Another session of an agent that has one."""
        self.application = self.application or await self.stage.register(
            PrincipalKind.APPLICATION, "helpdesk"
        )
        opened = await self.stage.open_session(
            self.application, role, subject=standins.SUBJECT, **asked
        )
        return opened[1]

    async def ask(
        self, token: str, api: str, how: str, content: Any, *, stream: bool = False, **more: Any
    ) -> Said:
        """One request with an official client: what a user says, or a whole conversation."""
        said = Said()
        clients = {"messages": standins.anthropic_client}
        client = clients.get(api, standins.openai_client)(self.stage, token)
        try:
            async with client:
                await _ASK[api](client, how, content, said, stream=stream, **more)
        except (openai.APIError, anthropic.APIError) as error:
            body = error.body if isinstance(error.body, dict) else {}
            found = body.get("error", body)
            said.error = str(found.get("message"))
            said.status = getattr(error, "status_code", 0)
            said.code = (
                found.get("code") or found.get("details", {}).get("error_code") or found["type"]
            )
        return said

    async def call(self, token: str, tool: str, **arguments: Any) -> Done:
        """One tool call with the official client."""
        server, _, name = tool.partition(".")
        async with self.client(token, server) as client:
            try:
                result = await client.call_tool(name, arguments)
            except MCPError as error:
                return Done(code=error.error.data["code"], text=str(error))
        text = "\n".join(getattr(part, "text", "") for part in result.content)
        return Done(text, "", result.structured_content, list(result.content))

    @asynccontextmanager
    async def client(self, token: str, server: str):
        async with standins.mcp_client(self.stage, server, token) as client:
            yield client

    def reached(self) -> str:
        """All that came to the model."""
        return "\n".join(seen.body.decode() for seen in self.stage.model.seen)

    def last(self) -> Any:
        """The last request that came to the model."""
        return json.loads(self.stage.model.seen[-1].body)

    async def finding(self, shown: str, *values: str, code: str = "") -> Any:
        """Wait for the event with a finding (its end may be left out); no value is in any file."""
        event = await standins.eventually(
            self.stage,
            lambda e: e.code == code and any(found.startswith(shown) for found in e.findings),
        )
        for value in values:
            assert needles.files_with(value, self.stage.config.parent / "state") == []
        return event


async def _chat(client, how, content, said, *, stream, **more):
    messages = [{"role": "user", "content": content}] if isinstance(content, str) else content
    answer = await client.chat.completions.create(
        model=f"gpt-standin:{how}", messages=messages, stream=stream, **more
    )
    if not stream:
        message = answer.choices[0].message
        said.text = message.content or ""
        calls = [(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    else:
        parts: dict[int, list[str]] = {}
        async for chunk in answer:
            for choice in chunk.choices:
                _grow(said, choice.delta.content or "")
                for call in choice.delta.tool_calls or ():
                    named = parts.setdefault(call.index, [call.function.name, ""])
                    named[1] += call.function.arguments or ""
        calls = [tuple(part) for part in parts.values()]
    said.calls = [(name, json.loads(arguments)) for name, arguments in calls]


async def _responses(client, how, content, said, *, stream, **more):
    answer = await client.responses.create(
        model=f"gpt-standin:{how}", input=content, stream=stream, **more
    )
    if stream:
        async for event in answer:
            if event.type == "response.output_text.delta":
                _grow(said, event.delta)
            elif event.type == "error":
                said.error = event.message
                return
            elif event.type == "response.completed":
                answer = event.response
    assert not stream or answer.output_text == said.text
    said.text = answer.output_text
    said.calls = [
        (item.name, json.loads(item.arguments))
        for item in answer.output
        if item.type == "function_call"
    ]


async def _messages(client, how, content, said, *, stream, **more):
    messages = [{"role": "user", "content": content}] if isinstance(content, str) else content
    asked = {"model": f"claude-standin:{how}", "max_tokens": 99, "messages": messages} | more
    if stream:
        async with client.messages.stream(**asked) as events:
            async for piece in events.text_stream:
                _grow(said, piece)
            answer = await events.get_final_message()
    else:
        answer = await client.messages.create(**asked)
    text = "".join(block.text for block in answer.content if block.type == "text")
    assert not stream or text == said.text
    said.text = text
    said.calls = [(block.name, block.input) for block in answer.content if block.type == "tool_use"]


def _grow(said: Said, piece: str) -> None:
    said.text += piece
    said.pieces.append(piece)


_ASK = {"chat": _chat, "responses": _responses, "messages": _messages}


@asynccontextmanager
async def desks(folder, **sections):
    """A desk for as long as the block lasts, with other sections of its configuration."""
    async with files.serving_files() as served:
        settings = {
            "mcp": {"files": {"url": served.url}},
            "inspection": {"honey": [HONEY]},
            **sections,
        }
        async with standins.staged(folder, policy=policy(), settings=settings) as stage:
            yield Desk(stage, served)


async def until(condition, seconds=60):
    """Wait for a condition that takes an await to see."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what it asks has no event for it
            await asyncio.sleep(0.05)
