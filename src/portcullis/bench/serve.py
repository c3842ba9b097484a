"""How the upstream stub and the bare proxy are served: uvicorn with httptools and uvloop."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn


def serve(app: Any) -> None:
    """Serve a raw ASGI application on 127.0.0.1 at the port of the first argument."""
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,  # an idle connection that ends while it is taken is an error
    )


async def body_of(receive: Any) -> bytes:
    """The whole body of an ASGI HTTP request."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def lifespan(receive: Any, send: Any) -> None:
    """Answer ASGI's lifespan protocol until shutdown."""
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
