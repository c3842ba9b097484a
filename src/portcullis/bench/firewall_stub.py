"""The upstream of the firewall's benchmark: a model that thinks, and then speaks at a steady pace.

Run as ``python -m portcullis.bench.firewall_stub PORT``. A request for a stream is answered with
SSE in the shape of OpenAI's chat completions, a token every PACE seconds; any other with 1 KB of
text. The request's ``seed`` chooses what is said.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from portcullis.bench.firewall_texts import OPENINGS, ordinary
from portcullis.bench.serve import body_of, lifespan, serve
from portcullis.bench.stub import MODEL

PACE: Final = 0.01
"""Seconds from token to token: 100 a second, as fast models speak."""
_HEAD: Final = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": MODEL}
_ANSWER: Final = msgspec.json.encode(
    {
        **_HEAD,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": ordinary("chat", 1000)},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1100, "completion_tokens": 250, "total_tokens": 1350},
    }
)


class _Asked(msgspec.Struct):
    stream: bool = False
    seed: int = 0


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    chunk = {**_HEAD, "object": "chat.completion.chunk", "choices": choices}
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


_STREAMS: Final = tuple(
    (
        _event({"role": "assistant", "content": ""}),
        *(_event({"content": token}) for token in tokens),
        _event({}, "stop") + b"data: [DONE]\n\n",
    )
    for tokens in OPENINGS
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        await lifespan(receive, send)
        return
    asked = msgspec.json.decode(await body_of(receive) or b"{}", type=_Asked)
    headers = [(b"content-type", b"text/event-stream" if asked.stream else b"application/json")]
    if not asked.stream:
        headers.append((b"content-length", str(len(_ANSWER)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if not asked.stream:
        await send({"type": "http.response.body", "body": _ANSWER})
        return
    first, *rest = _STREAMS[asked.seed % len(_STREAMS)]
    await send({"type": "http.response.body", "body": first, "more_body": True})
    for event in rest:
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(PACE)
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    serve(app)
