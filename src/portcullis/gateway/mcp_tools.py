"""The gate's own look at a server's tools, before it judges the first call of one."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog

from portcullis import __version__
from portcullis.core.errors import Problem
from portcullis.core.ports import Channel
from portcullis.gateway.mcp import Mcp, leaving
from portcullis.gateway.mcp_conversation import Conversation
from portcullis.gateway.records import new_id
from portcullis.wire.jsonrpc import (
    Failure,
    Request,
    Response,
    error_message,
    parse,
    request_message,
)
from portcullis.wire.mcp import CAPABILITIES_KEY, CLIENT_KEY, MODERN_VERSIONS, VERSION_KEY, Era
from portcullis.wire.mcp_headers import compute
from portcullis.wire.mcp_results import tool_specs

log = structlog.get_logger(__name__)

MAX_PAGES: Final = 100
MAX_TOOLS: Final = 10_000
MAX_OTHERS: Final = 1024
"""Most messages of a server's before the answer to one request; more are a flood."""


async def ensure_known(mcp: Mcp, conversation: Conversation, tool: str) -> None:
    """Have the inventory know the server's tools, asking for all pages when it does not.

    It asks again, though not often, when the tool is one that would be refused. Raises Problem
    PC5003 when the list of a server that was not known cannot be understood, PC5002 when all its
    pages took longer than ``limits.request_seconds``: nothing is called then. When a server that
    was known cannot be asked, what was known stands.
    """
    inventory, server = mcp.inventory, conversation.server
    async with conversation.listing:
        if not inventory.known(server):
            await _look(mcp, conversation)
        elif inventory.due(server, tool):
            try:
                await _look(mcp, conversation)
            except Problem as problem:
                log.warning("tools_not_listed", server=server, code=problem.code)


async def _look(mcp: Mcp, conversation: Conversation) -> None:
    channel = await conversation.channel()
    seconds = mcp.limits.request_seconds
    try:
        async with asyncio.timeout(seconds):
            tools = await _all_pages(conversation, channel)
    except TimeoutError:
        raise Problem("PC5002", f"the server's tools/list took longer than {seconds:g} s") from None
    specs = tool_specs({"tools": tools})
    await mcp.inventory.listed(conversation.server, specs, whole=True)


async def _all_pages(conversation: Conversation, channel: Channel) -> list[Any]:
    tools: list[Any] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await _page(conversation, channel, cursor)
        found = page.get("tools")
        if type(found) is not list or len(tools) + len(found) > MAX_TOOLS:
            raise Problem("PC5003", "the server's tools/list is malformed or endless")
        tools += found
        cursor = page.get("nextCursor")
        if cursor is None:
            return tools
        if type(cursor) is not str:
            raise Problem("PC5003", "the server's tools/list has a malformed cursor")
    raise Problem("PC5003", "the server's tools/list is endless")


async def _page(conversation: Conversation, channel: Channel, cursor: str | None) -> dict[str, Any]:
    """One page, asked for in the gate's own name."""
    params: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
    headers = conversation.headers()
    if conversation.era is Era.MODERN:
        version = MODERN_VERSIONS[-1]
        params["_meta"] = {
            VERSION_KEY: version,
            CAPABILITIES_KEY: {},
            CLIENT_KEY: {"name": "portcullis", "version": __version__},
        }
        headers = compute(version, "tools/list", params, None)
    request = request_message(new_id(), "tools/list", params)
    others = 0
    async with leaving(channel.request(request, headers)) as incoming:
        async for item in incoming:
            try:
                message = parse(item.message)
            except Problem as problem:
                raise Problem("PC5003", problem.detail) from None
            others += 1
            if others > MAX_OTHERS:
                raise Problem("PC5003", "the server sends ever more, and no answer to tools/list")
            if isinstance(message, Request):
                refusal = Problem("PC5025", "the client cannot take a request of the server's now")
                await conversation.tell_server(error_message(message.id, refusal))
            elif isinstance(message, Response) and message.id == request["id"]:
                return message.result
            elif isinstance(message, Response | Failure):
                raise Problem("PC5003", "the server did not answer tools/list with a list")
    raise Problem("PC5008", "the server ended tools/list without an answer")
