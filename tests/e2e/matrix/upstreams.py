"""The misbehaving upstreams over HTTP: ``peer.py`` as a web application, and a model endpoint."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from e2e.matrix.peer import BREAK, LARGE, Peer, document, told, wait
from portcullis.demo.serve import Receive, Scope, Send, read_body

STRAY = [
    (b"set-cookie", b"stray=1; Path=/"),
    (b"connection", b"x-hop"),
    (b"x-hop", b"stray"),
    (b"www-authenticate", b"Bearer realm=stray"),
    (b"alt-svc", b'h3=":443"; persist=stray'),
    (b"x-stray", b"stray"),
]
"""Headers that must not cross the gate; each value holds the word stray."""


class PeerOverHttp:
    """Serves a ``Peer`` to whoever presents its key."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        body = await read_body(receive)
        if headers.get("authorization") != f"Bearer {self.peer.key}":
            await respond(send, 401, [b"{}"])
        elif scope["method"] == "GET":
            await self._listen(receive, send)
        elif scope["method"] == "DELETE":
            await respond(send, 200, [])
        else:
            message = json.loads(body)
            self.peer.note(message, headers)
            if "id" in message and "method" in message:
                await self._answer(send, message)
            else:
                self.peer.told(message)
                await respond(send, 202, [])

    async def _answer(self, send: Send, message: dict[str, Any]) -> None:
        how = message.get("params", {}).get("arguments", {}).get("how", "")
        extra = list(STRAY)
        if message["method"] == "initialize":
            self.peer.sessions.append(secrets.token_hex(16))
            extra.append((b"mcp-session-id", self.peer.sessions[-1].encode()))
        if how == "redirect":
            await respond(send, 307, [], [(b"location", b"/elsewhere")])
            return
        name = message.get("params", {}).get("name", "")
        streams = how.startswith("pieces") or name == "ask"

        async def pieces() -> AsyncIterator[bytes | None]:
            async for found in self.peer.play(message):
                if found is BREAK or not streams:
                    yield found
                else:
                    event = b"event: steal\n" if how == "pieces-event" else b""
                    yield event + b"data: " + found + b"\n\n"

        kind = b"text/event-stream" if streams else b"application/json"
        await respond(send, 200, pieces(), extra, kind=kind)

    @staticmethod
    async def _listen(receive: Receive, send: Send) -> None:
        said = document(method="notifications/message", params={"level": "info", "data": "hi"})
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send(
            {
                "type": "http.response.body",
                "body": b"id: 7\ndata: " + said + b"\n\n",
                "more_body": True,
            }
        )
        while (await receive())["type"] != "http.disconnect":
            continue


class Provider:
    """A model endpoint of both shapes; ``probe:HOW`` is the model that misbehaves so.

    The text of the last message is answered, or is the folder of a way that waits. The ways
    ``tell`` and ``pieces-tell`` answer what the file ``told`` in the folder holds: a text, which
    a stream has in pieces of three characters, or further members of OpenAI's message. ``seen``
    holds the headers and payloads of what arrived.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.seen: list[tuple[dict[str, str], dict[str, Any]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        payload = json.loads(await read_body(receive))
        given = headers.get("x-api-key") or headers.get("authorization", "")[7:]
        if given != self.key:
            await respond(send, 401, [b'{"error": {"message": "who are you?"}}'])
            return
        self.seen.append((headers, payload))
        api = "anthropic" if scope["path"] == "/v1/messages" else "openai"
        how = payload["model"].partition(":")[2]
        text = payload["messages"][-1]["content"]
        if how == "wait":
            await wait(Path(text))
        if how.endswith("tell"):
            text = told(Path(text))
        if payload.get("stream") and how.startswith("pieces"):
            pieces = self._stream(api, how, text)
            await respond(send, 200, pieces, STRAY, kind=b"text/event-stream")
        elif how == "redirect":
            await respond(send, 307, [], [(b"location", b"/elsewhere")])
        elif payload.get("stream") and how in {"wait", "plain", "headers"}:
            frames = streamed(api, text)
            await respond(send, 200, frames, STRAY, kind=b"text/event-stream")
        elif payload.get("stream") and how == "unknown":
            await respond(send, 200, [whole(api, "not a stream")], STRAY)
        elif payload.get("stream"):
            # The other ways answer a stream's request with a whole error, as providers do.
            failed = failure(api, text if how == "tell" else "overloaded")
            await respond(send, 529, self._whole(api, how, failed), STRAY)
        else:
            kind = b"text/event-stream" if how == "pieces-unknown" else b"application/json"
            pieces = self._whole(api, how, whole(api, text))
            await respond(send, 200, pieces, STRAY, kind=kind)

    async def _whole(self, api: str, how: str, good: bytes) -> AsyncIterator[bytes | None]:
        """A whole answer; the ways with pieces deliver it in pieces."""
        if not how.startswith("pieces"):
            yield {
                "duplicate-key": good[:-1] + b', "type": "message"' * 2 + b"}",
                "unknown": good.replace(b'"role"', b'"shadow_call": {"name": "x"}, "role"', 1)
                if api == "openai"
                else good.replace(b'"type":"text"', b'"type":"shadow"', 1),
                "large": good[:-1] + b', "pad": "' + LARGE.encode() + b'"}',
                "reflect": good.replace(b"hello", self.key.encode()).replace(
                    b"overloaded", self.key.encode()
                ),
            }.get(how, good)
            return
        good = {
            "pieces-duplicate-key": good[:-1] + b', "type": "message"' * 2 + b"}",
            "pieces-reflect": good.replace(b"hello", self.key.encode()),
            "pieces-unknown": b"".join(streamed(api, "hello")),
        }.get(how, good)
        third = len(good) // 3
        yield good[:third]
        if how == "pieces-wait":
            await wait(Path(json.loads(good)["folder"]))
        yield good[third : 2 * third]
        if how == "pieces-break":
            yield BREAK
            return
        while how == "pieces-endless":
            yield b" "
            await asyncio.sleep(0.01)
        yield good[2 * third :]

    async def _stream(self, api: str, how: str, text: Any) -> AsyncIterator[bytes | None]:
        frames = streamed(api, text, size=3 if how == "pieces-tell" else 0)
        half = len(frames) // 2
        for frame in frames[:half]:
            yield frame
        word = delta(api, "more ")
        match how:
            case "pieces-wait":
                await wait(Path(text))
                yield word
                await wait(Path(text), "end")
            case "pieces-endless":
                while True:
                    yield word * 50
                    await asyncio.sleep(0.005)
            case "pieces-break":
                yield BREAK
                return
        stray = {"type": "shadow_event", "object": "shadow", "do": "steal"}
        flaws: dict[str, Iterable[bytes]] = {
            "pieces-duplicate-key": [word.replace(b"}\n\n", b', "id": "1", "id": "2"}\n\n')],
            "pieces-unknown": [event(stray, api)],
            "pieces-reflect": cut(delta(api, f"the key is {self.key}")),
        }
        for piece in flaws.get(how, []):
            yield piece
        for frame in frames[half:]:
            yield frame


def cut(data: bytes) -> Iterable[bytes]:
    return [data[at : at + 5] for at in range(0, len(data), 5)]


def event(payload: dict[str, Any], api: str) -> bytes:
    head = f"event: {payload['type']}\n".encode() if api == "anthropic" else b""
    return head + b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def failure(api: str, text: str) -> bytes:
    error = {"type": "overloaded_error", "message": text}
    shown = {"type": "error", "error": error} if api == "anthropic" else {"error": error}
    return json.dumps(shown).encode()


def whole(api: str, said: Any) -> bytes:
    text = said if isinstance(said, str) else "see there"
    if api == "anthropic":
        answer: dict[str, Any] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "probe",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 4},
        }
    else:
        message = {"role": "assistant", "content": text}
        message |= {} if isinstance(said, str) else said
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "probe",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        }
    return json.dumps(answer | {"folder": text}, separators=(",", ":")).encode()


def delta(api: str, said: Any) -> bytes:
    text = said if isinstance(said, str) else ""
    if api == "anthropic":
        piece: dict[str, Any] = {"type": "text_delta", "text": text}
        return event({"type": "content_block_delta", "index": 0, "delta": piece}, api)
    piece = {"content": said} if isinstance(said, str) else said
    return event(chunk([{"index": 0, "delta": piece, "finish_reason": None}]), api)


def chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "probe",
        "choices": choices,
    }


def streamed(api: str, said: Any, size: int = 0) -> list[bytes]:
    """A good stream: its first half carries the text, its second half the end.

    It has the text in words, or in pieces of ``size`` characters.
    """
    if not isinstance(said, str):
        words = [delta(api, said)]
    elif size:
        words = [delta(api, said[at : at + size]) for at in range(0, len(said), size)]
    else:
        words = [delta(api, f"{word} ") for word in said.split()]
    if api == "anthropic":
        start = json.loads(whole(api, "")) | {"content": [], "stop_reason": None}
        del start["folder"]
        empty = {"type": "text", "text": ""}
        stop = {"stop_reason": "end_turn", "stop_sequence": None}
        before = [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": empty},
        ]
        after: list[dict[str, Any]] = [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 4}},
            {"type": "message_stop"},
        ]
        return [event(e, api) for e in before] + words + [event(e, api) for e in after]
    first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return [
        event(chunk([first]), api),
        *words,
        event(chunk([last]), api),
        event(chunk([]) | {"usage": usage}, api),
        b"data: [DONE]\n\n",
    ]


async def respond(
    send: Send,
    status: int,
    pieces: Iterable[bytes] | AsyncIterator[bytes | None],
    headers: Iterable[tuple[bytes, bytes]] = (),
    *,
    kind: bytes = b"application/json",
) -> None:
    """Send an answer in pieces; BREAK leaves it unfinished, and the server drops the line."""
    head = [(b"content-type", kind), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    async for piece in pieces if isinstance(pieces, AsyncIterator) else _each(pieces):
        if piece is BREAK:
            return
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _each(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
