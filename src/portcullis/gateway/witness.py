"""The HTTP face of a witness (C2SP tlog-witness).

``POST /add-checkpoint`` cosigns; ``GET /vkey`` says under which key; ``GET /healthz`` that it runs.
Nobody authenticates: a checkpoint is its log's by its signature, and a cosignature is no secret.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from portcullis.audit.witness import MAX_BODY, Refusal, Witness
from portcullis.core.errors import Problem
from portcullis.gateway.http import ClientDisconnect, Receive, Request, Scope, Send, read_body
from portcullis.gateway.http import send_json as send_whole

_TEXT: Final = b"text/plain; charset=utf-8"
_SIZE: Final = b"text/x.tlog.size"

log = structlog.get_logger(__name__)


class WitnessApp:
    """The ASGI application around one witness."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive, send)
        match request.method, request.path:
            case "POST", "/add-checkpoint":
                await self._add(request, send)
            case "GET", "/vkey":
                await send_whole(send, 200, f"{self._witness.vkey}\n".encode(), kind=_TEXT)
            case "GET", "/healthz":
                await send_whole(send, 200, b'{"status":"ok"}')
            case _, "/add-checkpoint" | "/vkey" | "/healthz":
                await send_whole(send, 405, b"not this method\n", kind=_TEXT)
            case _:
                await send_whole(send, 404, b"not found\n", kind=_TEXT)

    async def _add(self, request: Request, send: Send) -> None:
        try:
            body = await read_body(request.receive, MAX_BODY)
        except ClientDisconnect:
            return
        except Problem as problem:
            await send_whole(send, problem.status, f"{problem.detail}\n".encode(), kind=_TEXT)
            return
        # a thread: it waits for the disk, and for whoever is before it with the same log
        try:
            answer = await asyncio.to_thread(self._witness.add, body)
        except OSError as error:
            log.exception("witness_disk_failed")
            answer = Refusal(503, f"the witness cannot write: {error.strerror}")
        if isinstance(answer, str):
            await send_whole(send, 200, answer.encode(), kind=_TEXT)
            return
        log.warning("not_cosigned", status=answer.status, reason=answer.reason)
        if answer.size is None:
            await send_whole(send, answer.status, f"{answer.reason}\n".encode(), kind=_TEXT)
        else:
            await send_whole(send, answer.status, f"{answer.size}\n".encode(), kind=_SIZE)
