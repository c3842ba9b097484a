"""The upstream: a desk of tools behind the official MCP SDK, and a model; both keep books.

What tools and model are told is the call's text, which clients make up.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import msgspec
from mcp.server.mcpserver import MCPServer

from chaos.history import Received
from portcullis.demo.serve import answer, read_body, serving

PROMPT = "Post the note to the board, and pay what is due"


def _desk(books: list[Received]) -> MCPServer:
    desk = MCPServer("desk")

    def got(kind: str, text: str) -> None:
        books.append(Received(text, kind, time.monotonic()))

    @desk.tool()
    def read(text: str) -> dict[str, str]:
        got("read", text)
        return {"text": "The parcel of the customer is late."}

    @desk.tool()
    def post(text: str) -> str:
        got("post", text)
        return "posted"

    @desk.tool()
    def spend(text: str) -> str:
        got("spend", text)
        return "spent"

    @desk.tool()
    def pay(text: str, account: str) -> str:
        got("pay", text)
        return "paid"

    @desk.tool()
    def note(text: str) -> str:
        got("note", text)
        return "noted"

    return desk


class _Said(msgspec.Struct):
    content: str


class _Completion(msgspec.Struct):
    messages: list[_Said]
    max_tokens: int
    stream: bool = False


class _Model:
    """Answers in the shape of OpenAI's chat completions, with as many tokens as may be."""

    def __init__(self, books: list[Received]) -> None:
        self._books = books

    async def __call__(self, scope, receive, send) -> None:
        asked = msgspec.json.decode(await read_body(receive), type=_Completion)
        text, tokens = asked.messages[-1].content, asked.max_tokens
        if asked.stream:
            self._books.append(Received(text, "stream", time.monotonic()))
            await _piece_by_piece(receive, send)
            return
        self._books.append(Received(text, "chat", time.monotonic(), tokens))
        usage = {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": tokens + 5}
        message = {"role": "assistant", "content": "It is done.", "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        made = {"id": "chatcmpl-chaos", "created": 1_700_000_000, "model": "gpt-chaos"}
        made |= {"object": "chat.completion", "choices": [choice], "usage": usage}
        await answer(send, 200, msgspec.json.encode(made))


async def _piece_by_piece(receive, send) -> None:
    """Go on saying something until nobody listens, or for half a minute."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    made = {"id": "chatcmpl-chaos", "created": 1_700_000_000, "model": "gpt-chaos"}
    made |= {"object": "chat.completion.chunk"}
    end, number = time.monotonic() + 30, 0
    while time.monotonic() < end:
        delta = {"content": f"It is {number}. "}
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]
        event = b"data: " + msgspec.json.encode(made | {"choices": choices}) + b"\n\n"
        await send({"type": "http.response.body", "body": event, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                if (await receive())["type"] == "http.disconnect":
                    return
        number += 1
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


@contextlib.asynccontextmanager
async def upstream(books: list[Received], *, desk: int, model: int) -> AsyncIterator[None]:
    """Both, at these ports, for as long as the block lasts."""
    tools = _desk(books).streamable_http_app()
    async with (
        tools.router.lifespan_context(tools),
        serving(tools, port=desk),
        serving(_Model(books), port=model),
    ):
        yield
