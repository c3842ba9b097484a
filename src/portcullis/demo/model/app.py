"""The stand-in as an ASGI application: routes, its credential, delivery."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import deque
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import msgspec

from portcullis.demo.model import (
    anthropic,
    echo,
    faults,
    listing,
    openai_chat,
    openai_responses,
    script,
)
from portcullis.demo.model.turn import Tally, text_of, tokens
from portcullis.demo.serve import Receive, Scope, Send, answer, read_body

_TURNS: Final[dict[str, ModuleType]] = {
    "/v1/chat/completions": openai_chat,
    "/v1/responses": openai_responses,
    "/v1/messages": anthropic,
}
_NOTICE: Final = ((b"x-standin", b"a stand-in for development; not a model"),)
_REMEMBERED: Final = 256


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def api(self) -> str:
        """Whose wire format this is: ``openai`` or ``anthropic``."""
        claude = self.path.startswith("/v1/messages") or "anthropic-version" in self.headers
        return "anthropic" if claude else "openai"


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A request and the way to answer it."""

    seen: Seen
    receive: Receive
    send: Send

    async def json(self, value: dict[str, Any]) -> None:
        await answer(self.send, 200, msgspec.json.encode(value), _NOTICE)

    async def refuse(
        self, status: int, kind: str, message: str, *headers: tuple[bytes, bytes]
    ) -> None:
        body = msgspec.json.encode(listing.error(self.seen.api, kind, message))
        await answer(self.send, status, body, (*_NOTICE, *headers))

    async def gone(self) -> None:
        """Wait until the client has gone."""
        while (await self.receive())["type"] != "http.disconnect":
            continue


class StandinModel:
    """Serves OpenAI's and Anthropic's wire formats to whoever presents ``credential``.

    It accepts the credential as ``Authorization: Bearer`` or as ``x-api-key``, and answers 401
    to anything else. ``seen`` holds the last requests that it answered, for tests.
    """

    def __init__(self, *, credential: str) -> None:
        """Raise ValueError for an empty credential: nobody is served without one."""
        if not credential:
            raise ValueError("the stand-in needs a credential")
        self._credential = credential
        self.seen: deque[Seen] = deque(maxlen=_REMEMBERED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        body = await read_body(receive)
        seen = Seen(method=scope["method"], path=scope["path"], headers=headers, body=body)
        exchange = _Exchange(seen, receive, send)
        if not self._authentic(headers):
            await exchange.refuse(401, "authentication_error", "wrong or missing credential")
            return
        self.seen.append(seen)
        if echo.MARKER in body and seen.path == "/v1/chat/completions":
            await _echo(send, body)
            return
        try:
            await self._route(exchange)
        except (KeyError, TypeError, AttributeError, ValueError) as fault:
            await exchange.refuse(400, "invalid_request_error", type(fault).__name__)

    def _authentic(self, headers: dict[str, str]) -> bool:
        given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self._credential.encode())

    async def _route(self, exchange: _Exchange) -> None:
        seen = exchange.seen
        match seen.method, seen.path:
            case "GET", "/v1/models":
                claude = seen.api == "anthropic"
                await exchange.json(
                    listing.anthropic_models() if claude else listing.openai_models()
                )
            case "POST", "/v1/embeddings":
                await exchange.json(listing.embeddings(_object(seen.body)))
            case "POST", "/v1/messages/count_tokens":
                await exchange.json({"input_tokens": tokens(_all_text(_object(seen.body)))})
            case "POST", path if path in _TURNS:
                await self._complete(exchange, _TURNS[path])
            case _:
                await exchange.refuse(404, "not_found_error", "no such operation here")

    async def _complete(self, exchange: _Exchange, shape: ModuleType) -> None:
        body, headers = exchange.seen.body, exchange.seen.headers
        payload = _object(body)
        turn = shape.turn(payload)
        if await _refused(exchange, turn.directive):
            return
        said = faults.special_text(turn.directive, self._credential, headers)
        said = said or script.answer(turn)
        tally = Tally(
            mark=hashlib.sha256(body).hexdigest()[:12],
            input_tokens=tokens(turn.history),
            output_tokens=tokens(said.text + "".join(each.arguments for each in said.calls)),
        )
        if turn.stream:
            delivery = faults.deliver_stream(
                turn.directive,
                shape.events(said, payload, tally),
                mystery=shape.MYSTERY,
                broken_off=_quoting(shape.BROKEN_OFF, body),
            )
        else:
            whole = shape.whole(said, payload, tally)
            if turn.directive in {"unknown-item", "unknown-event"}:
                whole = shape.unknown_item(whole)
            delivery = faults.deliver_json(turn.directive, msgspec.json.encode(whole))
        extra: list[tuple[bytes, bytes]] = []
        if turn.directive == "reflect-credential-header":
            extra.append((b"x-reflected", self._credential.encode()))
        await _deliver(exchange, delivery, extra)


def _quoting(frame: bytes, body: bytes) -> bytes:
    """An error's event, that also says to what it is the answer."""
    quoted = msgspec.json.encode(f"mid-stream of {body.decode()}")[1:-1]
    return frame.replace(b"mid-stream", quoted)


async def _deliver(
    exchange: _Exchange, delivery: faults.Delivery, extra: list[tuple[bytes, bytes]]
) -> None:
    headers = [(b"content-type", delivery.kind), *_NOTICE, *delivery.headers, *extra]
    await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
    for piece in delivery.pieces:
        await exchange.send({"type": "http.response.body", "body": piece, "more_body": True})
        if delivery.pause:
            await asyncio.sleep(delivery.pause)
    if delivery.end == "stall":
        await exchange.gone()
    elif delivery.end == "complete":
        await exchange.send({"type": "http.response.body", "body": b""})
    # "drop": the server breaks the connection of an application that leaves its answer unfinished.


async def _refused(exchange: _Exchange, directive: str) -> bool:
    """Answer the directives that are refusals; True when one of them was."""
    match directive:
        case "error-400":
            quoted = exchange.seen.body.decode()
            await exchange.refuse(400, "invalid_request_error", f"cannot do {quoted}")
        case "error-500":
            await exchange.refuse(500, "api_error", "internal error")
        case "error-429":
            await exchange.refuse(429, "rate_limit_error", "too many", (b"retry-after", b"7"))
        case "redirect":
            await exchange.refuse(307, "api_error", "moved", (b"location", b"/v1/elsewhere"))
        case "silent":
            await exchange.gone()
        case _:
            return False
    return True


async def _echo(send: Send, body: bytes) -> None:
    if b'"stream":true' not in body and b'"stream": true' not in body:
        await answer(send, 200, echo.WHOLE, _NOTICE)
        return
    kind = (b"content-type", b"text/event-stream")
    await send({"type": "http.response.start", "status": 200, "headers": [kind, *_NOTICE]})
    for piece in echo.FRAMES:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _object(body: bytes) -> dict[str, Any]:
    return msgspec.json.decode(body, type=dict[str, Any])


def _all_text(payload: dict[str, Any]) -> str:
    messages = payload["messages"]
    return text_of(payload.get("system")) + "".join(text_of(each["content"]) for each in messages)
