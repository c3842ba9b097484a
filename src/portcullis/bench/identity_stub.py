"""The upstream of ``bench identity``: a model that streams slowly and never ends by itself.

Run as ``python -m portcullis.bench.identity_stub PORT``. A POST whose body has ``"stream":true``
(compact JSON) is answered with a piece of text every ``PERIOD`` seconds until the caller leaves,
any other like ``bench.stub``.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from portcullis.bench.serve import body_of, lifespan, serve
from portcullis.bench.stub import ANSWER, EVENTS

PERIOD: Final = 0.2
"""Seconds between two pieces of a stream."""
_HEAD, _PIECE = EVENTS[:2]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        await lifespan(receive, send)
        return
    stream = b'"stream":true' in await body_of(receive)
    headers = [(b"content-type", b"text/event-stream" if stream else b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if not stream:
        await send({"type": "http.response.body", "body": ANSWER})
        return
    await send({"type": "http.response.body", "body": _HEAD, "more_body": True})
    left = asyncio.ensure_future(receive())
    while not left.done():
        await send({"type": "http.response.body", "body": _PIECE, "more_body": True})
        await asyncio.wait({left}, timeout=PERIOD)


if __name__ == "__main__":
    serve(app)
