"""The provider of ``bench limits --via``: it takes what its caller says, and keeps its own books.

Run as ``python -m portcullis.bench.limits_stub PORT``. The last message of a chat completion says
``TOKENS SECONDS``: the answer comes after so many seconds and reports so many tokens of output.
They are counted when the request has come, as a provider counts what nobody waits for any more.
One of negative seconds is answered when somebody has asked for ``/release``. Any GET is answered
with the ``Books``.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from portcullis.bench.serve import body_of, lifespan, serve
from portcullis.bench.stub import MODEL


class Books(msgspec.Struct):
    """How many calls there were, and how many tokens they took."""

    calls: int = 0
    tokens: int = 0


class _Message(msgspec.Struct):
    content: str


class _Asked(msgspec.Struct):
    messages: list[_Message]


_books = Books()
_released = asyncio.Event()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        await lifespan(receive, send)
        return
    if scope["method"] == "GET":
        if scope["path"] == "/release":
            _released.set()
        answer = msgspec.json.encode(_books)
    else:
        answer = await _completion(await body_of(receive))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _completion(body: bytes) -> bytes:
    said = msgspec.json.decode(body, type=_Asked).messages[-1].content.split()
    tokens, seconds = int(said[0]), float(said[1])
    _books.calls += 1
    _books.tokens += tokens
    if seconds < 0:
        await _released.wait()
    else:
        await asyncio.sleep(seconds)
    message = {"role": "assistant", "content": "done", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 0, "completion_tokens": tokens, "total_tokens": tokens}
    head = {"id": "chatcmpl-limits", "created": 1_700_000_000, "model": MODEL}
    return msgspec.json.encode(
        {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
    )


if __name__ == "__main__":
    serve(app)
