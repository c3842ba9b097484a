"""The bare proxy: what any Python proxy on this stack must pay. It decides nothing.

Run as ``python -m portcullis.bench.passthrough PORT UPSTREAM``: one uvicorn worker (httptools,
uvloop), a raw ASGI application and one aiohttp session that keeps its connections.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import aiohttp

from portcullis.bench.serve import body_of, lifespan, serve

_DROPPED: Final = frozenset({b"connection", b"content-length", b"host", b"transfer-encoding"})


class Passthrough:
    """An ASGI application that forwards every request to one upstream."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Forward one request and pass the answer on as it comes."""
        if scope["type"] != "http":
            await self._live(receive, send)
            return
        if self._session is None:
            msg = "a request came before the lifespan began"
            raise RuntimeError(msg)
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name not in _DROPPED
        }
        body = await body_of(receive)
        url = self._upstream + scope["path"]
        async with self._session.request(
            scope["method"], url, data=body, headers=headers
        ) as answer:
            back = [
                (name.lower(), value)
                for name, value in answer.raw_headers
                if name.lower() != b"transfer-encoding"
            ]
            await send({"type": "http.response.start", "status": answer.status, "headers": back})
            if answer.content_length is not None:
                await send({"type": "http.response.body", "body": await answer.read()})
                return
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _live(self, receive: Any, send: Any) -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        ) as self._session:
            await lifespan(receive, send)


if __name__ == "__main__":
    serve(Passthrough(sys.argv[2]))
