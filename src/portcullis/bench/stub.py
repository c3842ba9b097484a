"""The upstream of the benchmark: a fixed chat completion, as JSON or as a stream of 30 chunks.

Run as ``python -m portcullis.bench.stub PORT``. Whatever the path, a POST is answered in the shape
of OpenAI's chat completions; a body with ``"stream":true`` (compact JSON) is answered with SSE.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from portcullis.bench.serve import body_of, lifespan, serve

MODEL: Final = "bench-1"
CHUNKS: Final = 30
"""Events of a stream before ``[DONE]``: role, 27 of text, finish and usage."""

_HEAD: Final = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": MODEL}
_USAGE: Final = {"prompt_tokens": 150, "completion_tokens": 120, "total_tokens": 270}
_WORDS: Final = "The order left the warehouse on Tuesday and arrives within three days. "

ANSWER: Final = msgspec.json.encode(
    {
        **_HEAD,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": _WORDS * 10, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": _USAGE,
    }
)
"""The JSON answer, about 1 KB."""


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    chunk = {**_HEAD, "object": "chat.completion.chunk", "choices": choices, **more}
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _delta(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return _event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])


EVENTS: Final = (
    _delta({"role": "assistant", "content": ""}),
    *(_delta({"content": f"word {number} of it "}) for number in range(CHUNKS - 3)),
    _delta({}, "stop"),
    _event([], usage=_USAGE),
    b"data: [DONE]\n\n",
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        await lifespan(receive, send)
        return
    stream = b'"stream":true' in await body_of(receive)
    headers = [(b"content-type", b"text/event-stream" if stream else b"application/json")]
    if not stream:
        headers.append((b"content-length", str(len(ANSWER)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if not stream:
        await send({"type": "http.response.body", "body": ANSWER})
        return
    for event in EVENTS:
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(0)  # each event is a write of its own, as a model's tokens are
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    serve(app)
