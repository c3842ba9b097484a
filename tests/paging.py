"""Stand-ins for what alerts are told to: PagerDuty's Events API v2, and syslog on a Unix socket.

The first judges what it gets by what is written of the real one (developer.pagerduty.com: Events
API v2, Overview and Send an Alert Event; its OpenAPI document), and keeps alerts as that says. The
second reads lines by the grammar of RFC 5424, section 6.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web

_EVENT = {
    "routing_key": str,
    "event_action": str,
    "dedup_key": str,
    "payload": dict,
    "client": str,
    "client_url": str,
    "links": list,
    "images": list,
}
_PAYLOAD = {
    "summary": str,
    "timestamp": str,
    "severity": str,
    "source": str,
    "component": str,
    "group": str,
    "class": str,
    "custom_details": dict,
}


class Pager:
    """``alerts`` are those there are, by their keys; ``events`` all that were accepted.

    ``arrived`` is when the first of each key was. ``judge`` may answer a request otherwise.
    """

    def __init__(self) -> None:
        self.key = secrets.token_hex(16)
        self.url = ""
        self.events: list[dict[str, Any]] = []
        self.alerts: dict[str, str] = {}
        self.seen: list[bytes] = []
        self.arrived: dict[str, float] = {}
        self.judge: Callable[[], web.Response | None] = lambda: None

    def about(self, alert: str) -> list[dict[str, Any]]:
        """What was sent of an alert of ours, in order."""
        keys = {one["dedup_key"] for one in self.events if alert in json.dumps(one)}
        return [one for one in self.events if one["dedup_key"] in keys]

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen.append(body)
        refusal = self.judge()
        if refusal is not None:
            return refusal
        if len(body) > 512 * 1000:
            return web.Response(status=413)
        try:
            event = json.loads(body)
        except ValueError:
            return _refused("JSON parse error")
        errors = [*_faults(event, self.key)]
        if request.content_type != "application/json" or errors:
            return _refused(*errors)
        self.events.append(event)
        self.arrived.setdefault(event["dedup_key"], time.time())
        self._apply(event)
        said = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        return web.json_response(said, status=202)

    def _apply(self, event: dict[str, Any]) -> None:
        key, action = event["dedup_key"], event["event_action"]
        if action == "trigger":
            self.alerts.setdefault(key, "triggered")
        elif action == "resolve":
            self.alerts.pop(key, None)
        elif key in self.alerts:
            self.alerts[key] = "acknowledged"


def _refused(*errors: str) -> web.Response:
    said = {"status": "invalid event", "message": "Event object is invalid", "errors": [*errors]}
    return web.json_response(said, status=400)


def _faults(event: Any, key: str) -> Iterator[str]:
    if not isinstance(event, dict):
        yield "Event object format is unrecognized"
        return
    yield from _members(event, _EVENT)
    routing = event.get("routing_key", "")
    if len(routing) != len(key):
        yield "Length of 'routing_key' is incorrect (should be 32 characters)"
    elif routing != key:
        yield "Invalid routing key"
    action = event.get("event_action")
    if action not in {"trigger", "acknowledge", "resolve"}:
        yield "'event_action' is not one of trigger, acknowledge, resolve"
    if not 0 < len(event.get("dedup_key", "")) <= 255:
        yield "'dedup_key' is missing or too long"
    payload = event.get("payload")
    if action == "trigger" and not isinstance(payload, dict):
        yield "'payload' is missing or blank"
    elif isinstance(payload, dict):
        yield from _payload(payload)


def _payload(payload: dict[str, Any]) -> Iterator[str]:
    yield from _members(payload, _PAYLOAD)
    for name in ("summary", "source", "severity"):
        if not payload.get(name):
            yield f"'payload.{name}' is missing or blank"
    if len(payload.get("summary", "")) > 1024:
        yield "'payload.summary' is too long"
    if payload.get("severity") not in {"critical", "error", "warning", "info"}:
        yield "'payload.severity' is invalid"
    try:
        datetime.fromisoformat(payload.get("timestamp", "2030-01-01T00:00:00Z"))
    except ValueError:
        yield "'payload.timestamp' is not ISO 8601"


def _members(given: dict[str, Any], known: dict[str, type]) -> Iterator[str]:
    for name, value in given.items():
        if name not in known:
            yield f"'{name}' is not known"
        elif not isinstance(value, known[name]):
            yield f"'{name}' has the wrong type"


@contextlib.asynccontextmanager
async def pager(tls: ssl.SSLContext | None = None) -> AsyncIterator[Pager]:
    """A stand-in on loopback, until the block ends."""
    made = Pager()
    app = web.Application(client_max_size=2**21)
    app.router.add_post("/v2/enqueue", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    made.url = f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}/v2/enqueue"
    try:
        yield made
    finally:
        await runner.cleanup()


_LINE = re.compile(
    r"<(?P<priority>[0-9]{1,3})>1 (?P<time>[0-9T:.+-]+Z?) (?P<host>[\x21-\x7e]{1,255}) "
    r"(?P<app>[\x21-\x7e]{1,48}) (?P<process>[\x21-\x7e]{1,128}) (?P<kind>[\x21-\x7e]{1,32}) "
    r"(?P<data>-|\[.+\])(?: (?P<text>.*))?",
    re.DOTALL,
)


def parsed(line: bytes) -> dict[str, str]:
    """A message's parts, as RFC 5424 has them. AssertionError for what is no such message."""
    found = _LINE.fullmatch(line.decode())
    assert found is not None, line
    parts = found.groupdict()
    datetime.fromisoformat(parts["time"])
    assert 0 <= int(parts["priority"]) <= 191, line
    text = parts["text"]
    assert text.isascii() or text.startswith("\ufeff"), line  # section 6.4: the BOM
    body = text.removeprefix("\ufeff")
    assert all(one.isprintable() for one in body), line
    return parts | {"severity": str(int(parts["priority"]) % 8), "text": body}


def counted(data: bytes) -> list[bytes]:
    """The messages of a connection, each after its length (RFC 6587, section 3.4.1)."""
    found = []
    while data:
        size, _, rest = data.partition(b" ")
        assert size.isdigit(), data
        assert not size.startswith(b"0"), data
        assert len(rest) >= int(size), data
        found.append(rest[: int(size)])
        data = rest[int(size) :]
    return found


@contextlib.asynccontextmanager
async def datagrams(path: Path) -> AsyncIterator[list[bytes]]:
    """A socket for datagrams, as /dev/log is; what arrives there."""
    got: list[bytes] = []

    class Received(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _: Any) -> None:
            got.append(data)

    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made.bind(str(path))
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Received, sock=made)
    try:
        yield got
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def stream(path: Path) -> AsyncIterator[list[bytes]]:
    """A stream socket; the messages of whole connections."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.extend(counted(await reader.read()))
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield got
    finally:
        server.close()
