"""Real peers for end-to-end tests: stand-in model, tool servers, a gate, and official clients.

    async with staged(tmp_path) as stage:                 # everything, on free ports
        token = await agent_token(stage)                  # an agent in a session
        async with mcp_client(stage, "orders", token) as client: ...
        client = openai_client(stage, token)

``staged(folder, policy=..., settings=...)`` takes another policy text and other sections of the
configuration (``settings={"limits": {...}, "mcp": {"files": {"command": [...]}}}``).
``stage.model.seen`` holds what reached the model, ``stage.records`` is the tools' database,
``stage.events()`` the audit log, ``stage.upstream_credentials`` what must never be seen.
Models: see ``portcullis.demo.model.DIRECTIVES`` (``gpt-standin:die-mid-stream``).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from databases import place_database
from portcullis.core.event import Event
from portcullis.core.principal import PrincipalKind
from portcullis.demo import stage as demo_stage
from portcullis.demo.model import StandinModel
from portcullis.demo.serve import serving
from portcullis.demo.stage import Stage, support_policy
from portcullis.demo.tools import Records, tool_servers

__all__ = [
    "AGENT",
    "SUBJECT",
    "Stage",
    "agent_token",
    "anthropic_client",
    "eventually",
    "mcp_client",
    "openai_client",
    "session_token",
    "staged",
    "standin_model",
    "support_policy",
    "tools_alone",
]

AGENT = "support-agent-prod-001"
SUBJECT = {"customer_id": "C-1001", "email": "ada@customer.example"}


@contextlib.asynccontextmanager
async def staged(folder: Path, **options: Any) -> AsyncIterator[Stage]:
    """``portcullis.demo.stage.staged``, with a database that was migrated already."""
    database = folder / "state" / "portcullis.db"
    if not database.exists():  # a test may start a gate again
        place_database(database)
    async with demo_stage.staged(folder, **options) as stage:
        yield stage


@contextlib.asynccontextmanager
async def standin_model() -> AsyncIterator[tuple[StandinModel, str, str]]:
    """The stand-in model alone: itself, its base URL (before /v1), its credential."""
    credential = secrets.token_urlsafe(24)
    model = StandinModel(credential=credential)
    async with serving(model) as url:
        yield model, url, credential


@contextlib.asynccontextmanager
async def tools_alone(folder: Path) -> AsyncIterator[tuple[dict[str, str], str, Records]]:
    """The tool servers alone: name -> URL, their credential, their database."""
    credential = secrets.token_urlsafe(24)
    with Records(folder / "company.db") as records:
        async with tool_servers(records, credential=credential) as urls:
            yield urls, credential, records


async def session_token(
    stage: Stage,
    *,
    agent: str = AGENT,
    application: str = "helpdesk",
    subject: Mapping[str, Any] = SUBJECT,
    tools: Sequence[str] | None = None,
) -> str:
    """Register an application and open a session of a registered agent; the session's token."""
    token = await stage.register(PrincipalKind.APPLICATION, application)
    return (await stage.open_session(token, agent, subject=subject, tools=tools))[1]


async def agent_token(stage: Stage, agent: str = AGENT, **session: Any) -> str:
    """Register an agent and open a session for it; the session's token."""
    await stage.register(PrincipalKind.AGENT, agent)
    return await session_token(stage, agent=agent, **session)


@contextlib.asynccontextmanager
async def mcp_client(
    stage: Stage, server: str, token: str, *, mode: str = "auto", **options: Any
) -> AsyncIterator[Client]:
    """The official MCP client on one server behind the gate. ``mode="legacy"`` for the old era."""
    headers = {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=20) as http,
        Client(
            streamable_http_client(f"{stage.gate.gate_url}/mcp/{server}", http_client=http),
            mode=mode,
            **options,
        ) as client,
    ):
        yield client


def openai_client(stage: Stage, token: str) -> openai.AsyncOpenAI:
    """The official OpenAI client through the gate."""
    base = f"{stage.gate.gate_url}/openai/v1"
    return openai.AsyncOpenAI(base_url=base, api_key=token, max_retries=0, timeout=20)


def anthropic_client(stage: Stage, token: str) -> anthropic.AsyncAnthropic:
    """The official Anthropic client through the gate."""
    base = f"{stage.gate.gate_url}/anthropic"
    return anthropic.AsyncAnthropic(base_url=base, api_key=token, max_retries=0, timeout=20)


async def eventually(stage: Stage, wanted: Callable[[Event], bool], seconds: float = 60) -> Event:
    """The first event that is ``wanted``, as soon as the log holds it; AssertionError if never.

    It looks less often the longer it takes: each look reads all of the log.
    """
    end, pause = time.monotonic() + seconds, 0.02
    while True:
        for event in stage.events():
            if wanted(event):
                return event
        if time.monotonic() > end:
            raise AssertionError(
                f"no such event among {[(e.type, e.code) for e in stage.events()]}"
            )
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 1.3)
