"""A real gate as an enforcement point: its listener, its sessions, its log and its approvals.

The application opens a session over HTTP with the task's prompt, the agent calls tools with the
MCP SDK's client, and who is asked decides over the control plane's API; then the call comes again.
"""

from __future__ import annotations

import contextlib
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import aiohttp
import httpx2
import yaml
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from portcullis import bootstrap
from portcullis.config import load
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.redteam.catalogue import AGENTS, texts
from portcullis.redteam.dojo import Arena
from portcullis.redteam.enforcer import ALLOW, Answer, Decides, Decision, Outcome, Run, Step, Task
from portcullis.redteam.programs import Attempt
from portcullis.redteam.through_loop import Loop
from portcullis.redteam.through_tools import Tools

_APPLICATION: Final = "replay"
_OPERATOR: Final = "replay-approver"
_USER: Final = "replay-user"
_OWNER: Final = "replay-owner"
_SECONDS: Final = 30.0
_BRIEFLY: Final = 60.0
_MANY: Final = 1_000_000
"""All sessions are of one agent: what an agent may have waiting, or denied, would run out."""
_PENDING: Final = "portcullis/approval"


@dataclass(frozen=True, slots=True)
class _Running:
    gate: bootstrap.Gate
    tools: Tools
    http: aiohttp.ClientSession
    application: Mapping[str, str]
    operator: Mapping[str, str]


class Listening:
    """A gate that runs before a suite's tools; ``session`` opens one for a task."""

    def __init__(self, loop: Loop, running: _Running) -> None:
        self._loop = loop
        self._running = running

    @contextlib.contextmanager
    def session(self, task: Task, *, granted: bool = False) -> Iterator[Through]:
        """Open a session of the suite's agent; it ends with the block."""
        opened = self._loop.run(_open(self._running, task, granted=granted))
        with self._loop.entered(_client(self._running, task.suite, opened["token"])) as client:
            yield Through(self._loop, self._running, client)
        path = f"{self._running.gate.gate_url}/v1/sessions/{opened['session']}"
        self._loop.run(_asked(self._running.http, "DELETE", path, self._running.application))


class Through:
    """One session's calls, each as a request to the listener."""

    def __init__(self, loop: Loop, running: _Running, client: Client) -> None:
        self._loop = loop
        self._running = running
        self._client = client

    def call(self, attempt: Attempt, run: Run, decides: Decides) -> Step:
        """See Enforcer. A denied call's reasons are its code and detail.

        So are those of one that was allowed and whose result was withheld: the agent gets nothing.
        """
        began = time.perf_counter_ns()
        decision, outcome, approval = self._tried(attempt, run)
        took = time.perf_counter_ns() - began
        if decision.answer is not Answer.ASK:
            return Step(decision, outcome, took)
        said = decides()
        if said is not None:
            verb = "approve" if said else "deny"
            self._loop.run(self._approvals("POST", f"/{approval}/{verb}", {"reason": "replay"}))
        if said:
            again, outcome, _ = self._tried(attempt, run)
            if again.answer is not Answer.ALLOW:
                raise RuntimeError(f"what was approved was not let through: {again.reasons}")
        return Step(decision, outcome, took)

    def _tried(self, attempt: Attempt, run: Run) -> tuple[Decision, Outcome | None, str]:
        """Send it once; what the gate denies after the tool was called, it has allowed."""
        called: list[str] = []

        def world(sent: Attempt) -> Outcome:
            called.append(sent.tool)
            return run(sent)

        self._running.tools.world = world
        decision, outcome, approval = self._loop.run(self._sent(attempt))
        if decision.answer is Answer.DENY and attempt.tool in called:
            return Decision(Answer.ALLOW, decision.reasons), Outcome(None), ""
        return decision, outcome, approval

    async def _sent(self, attempt: Attempt) -> tuple[Decision, Outcome | None, str]:
        """Send it: what the gate says, what the tool says, and which approval it waits for."""
        try:
            result = await self._client.call_tool(attempt.tool, attempt.arguments)
        except MCPError as error:
            said = error.data if isinstance(error.data, dict) else {}
            reasons = str(said.get("code", error.code)), str(said.get("detail", error.message))
            return Decision(Answer.DENY, reasons), None, ""
        approval = (result.meta or {}).get(_PENDING)
        if approval is None:
            return ALLOW, _outcome(result), ""
        shown = await self._approvals("GET", f"/{approval}")
        questions = shown["call"]["questions"]
        kinds = tuple(question.partition(":")[0] for question in questions)
        return Decision(Answer.ASK, kinds), None, str(approval)

    async def _approvals(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self._running.gate.control_url}/api/v1/approvals{path}"
        return await _asked(self._running.http, method, url, self._running.operator, body)


@contextlib.contextmanager
def listening(
    arena: Arena, *, settings: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[Listening]:
    """Start a gate with the suite's policy, and the suite's tools behind it, until the block ends.

    ``settings`` are sections of the configuration that join what is written here. The state is in
    a folder that is removed. Raises Problem when the gate cannot start.
    """
    loop = Loop()
    try:
        with (
            TemporaryDirectory(prefix="portcullis-redteam-") as folder,
            loop.entered(_running(Path(folder), arena, settings or {})) as running,
        ):
            yield Listening(loop, running)
    finally:
        loop.close()


@contextlib.asynccontextmanager
async def _running(
    folder: Path, arena: Arena, settings: Mapping[str, Mapping[str, Any]]
) -> AsyncIterator[_Running]:
    tools, credential = Tools(arena), secrets.token_urlsafe(32)
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with (
        tools.served(credential) as url,
        bootstrap.running_gate(load(_written(folder, arena.name, url, credential, settings))) as g,
        aiohttp.ClientSession(timeout=timeout) as http,
    ):
        tokens = {
            kind: await _registered(g, kind, name, roles)
            for kind, name, roles in (
                (PrincipalKind.AGENT, AGENTS[arena.name], ()),
                (PrincipalKind.APPLICATION, _APPLICATION, ()),
                (PrincipalKind.OPERATOR, _OPERATOR, ("approver",)),
            )
        }
        yield _Running(
            g,
            tools,
            http,
            application=tokens[PrincipalKind.APPLICATION],
            operator=tokens[PrincipalKind.OPERATOR],
        )


def _written(
    folder: Path,
    suite: str,
    upstream: str,
    credential: str,
    settings: Mapping[str, Mapping[str, Any]],
) -> Path:
    """Write the configuration, the policy and the credential; the first one's path."""
    secret = folder / "credential"
    secret.touch(mode=0o600)
    secret.write_text(credential, encoding="utf-8")
    (folder / "policy").mkdir()
    name = f"{suite}.yaml"
    (folder / "policy" / name).write_text(texts()[name], encoding="utf-8")
    sections: dict[str, Any] = {
        "trust_domain": "redteam.portcullis.example",
        "state": "state",
        "policy": "policy",
        "listen": {
            "gate": "127.0.0.1:0",
            "control": "127.0.0.1:0",
            "mtls": None,
            "workload": None,
        },
        "tokens": {"bearer": "loopback"},
        "approvals": {"pending_per_agent": _MANY, "refusals": _MANY},
        "mcp": {suite: {"url": upstream, "credential": f"file:{secret}"}},
    }
    for section, keys in settings.items():
        sections[section] = sections.get(section, {}) | keys
    config = folder / "portcullis.yaml"
    config.write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")
    return config


async def _registered(
    gate: bootstrap.Gate, kind: PrincipalKind, name: str, roles: tuple[str, ...]
) -> dict[str, str]:
    """Register somebody as an operator of this machine would; the headers that it shows."""
    now = time.time()
    who = Principal(
        kind=PrincipalKind.OPERATOR,
        id="local-replay",
        credential="local",
        expires_at=now + _BRIEFLY,
        roles=("admin",),
    )
    context = Context(
        principal=who,
        session=None,
        source="local",
        trace_id=secrets.token_hex(16),
        received_at=now,
    )
    principals = gate.services.principals("cli")
    await principals.create(context, kind, name, owner=_OWNER, purpose="replay", roles=roles)
    return {"authorization": f"Bearer {(await principals.mint(context, kind, name)).token}"}


async def _open(running: _Running, task: Task, *, granted: bool) -> Any:
    asked: dict[str, Any] = {
        "agent": AGENTS[task.suite],
        "user": _USER,
        "prompt": task.prompt,
        "subject": dict(task.subject),
    }
    if granted:
        asked["tools"] = [f"{task.suite}.{tool}" for tool in sorted(task.declared)]
    url = f"{running.gate.gate_url}/v1/sessions"
    return await _asked(running.http, "POST", url, running.application, asked)


async def _asked(
    http: aiohttp.ClientSession, method: str, url: str, who: Mapping[str, str], body: Any = None
) -> Any:
    """A request that has to succeed. Raises Problem with the gate's own code and detail."""
    async with http.request(method, url, json=body, headers=who) as answer:
        if answer.status == HTTPStatus.NO_CONTENT:
            return None
        given = await answer.json(content_type=None)
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise Problem(given.get("code", "PC7007"), given.get("detail", "the gate refused it"))
    return given


@contextlib.asynccontextmanager
async def _client(running: _Running, server: str, token: str) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {token}"}
    url = f"{running.gate.gate_url}/mcp/{server}"
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loopback: the authorities are not read
    async with (
        httpx2.AsyncClient(headers=headers, timeout=_SECONDS, verify=plain) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


def _outcome(result: CallToolResult) -> Outcome:
    if result.is_error:
        return Outcome(None, failed=True)
    whole: Any = result.structured_content
    wrapped = isinstance(whole, dict) and whole.keys() == {"result"}
    return Outcome(whole["result"] if wrapped else whole)
