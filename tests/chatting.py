"""Real peers for notifications: a chat that understands what Slack does, and a mail server.

Both judge what they get by the rules of the real ones (docs.slack.dev: chat.postMessage,
chat.update, Block Kit; RFC 5321, RFC 3207) and keep it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

MOST_BLOCKS, MOST_FIELDS = 50, 10
TEXTS = {"header": 150, "section": 3000, "context": 3000, "field": 2000, "button": 75}


class ChatServer:
    """``messages`` are those that the channel shows, by their ``ts``; ``seen`` all bytes it got.

    ``judge`` may answer a request otherwise, before anything is done; ``after`` once it is done.
    """

    def __init__(self) -> None:
        self.token = "xoxb-" + secrets.token_hex(12)
        self.path = "/services/" + secrets.token_hex(12)
        self.signing = secrets.token_hex(16)
        self.url = ""
        self.messages: dict[str, dict[str, Any]] = {}
        self.once: dict[str, str] = {}
        self.calls: list[str] = []
        self.seen: list[bytes] = []
        self.judge: Callable[[str], web.Response | None] = lambda _: None
        self.after: Callable[[str], web.Response | None] = lambda _: None

    @property
    def api(self) -> str:
        return f"{self.url}/api"

    @property
    def incoming(self) -> str:
        return f"{self.url}{self.path}"

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen.append(body)
        method = request.path.rpartition("/")[2]
        self.calls.append(method)
        refusal = self.judge(method)
        if refusal is not None:
            return refusal
        assert request.content_type == "application/json"
        said = json.loads(body)
        if request.path == self.path:
            judged(said)
            self.messages[self._ts()] = said
            done = web.Response(text="ok")
        else:
            done = web.json_response(self._called(request, method, said))
        return self.after(method) or done

    def _called(self, request: web.Request, method: str, said: dict[str, Any]) -> dict[str, Any]:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return {"ok": False, "error": "invalid_auth"}
        judged(said)
        if method == "chat.update":
            if said["ts"] not in self.messages:
                return {"ok": False, "error": "message_not_found"}
            self.messages[said["ts"]] = said
            return {"ok": True, "channel": said["channel"], "ts": said["ts"]}
        assert method == "chat.postMessage"
        ts = self.once.get(said["client_msg_id"])
        if ts is None:
            ts = self.once[said["client_msg_id"]] = self._ts()
            self.messages[ts] = said
        return {"ok": True, "channel": "C0123", "ts": ts}

    def _ts(self) -> str:
        return f"1800000000.{len(self.messages):06}"

    async def press(
        self, control: str, name: str, user: str, button: dict[str, Any], **odd: Any
    ) -> int:
        """Press a button as a user; the status that the gate answers with.

        ``odd`` changes the request: ``at``, ``secret``, ``signature``, ``body``, ``headers``.
        """
        payload = {
            "type": "block_actions",
            "user": {"id": user, "username": "somebody", "team_id": "T1"},
            "api_app_id": "A1",
            "token": "not-used",
            "trigger_id": "1.2.3",
            "response_url": "https://hooks.example/1",
            "container": {"type": "message"},
            "actions": [{"type": "button", "block_id": "b", "action_ts": "1.2", **button}],
        }
        body = odd.get("body") or urlencode({"payload": json.dumps(payload)}).encode()
        at = str(odd.get("at", int(time.time())))
        secret = odd.get("secret", self.signing).encode()
        mac = hmac.new(secret, f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "x-slack-request-timestamp": at,
            "x-slack-signature": odd.get("signature", f"v0={mac}"),
        } | odd.get("headers", {})
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{control}/hooks/slack/{name}", data=body, headers=headers) as answer,
        ):
            await answer.read()
            return answer.status


def judged(said: dict[str, Any]) -> None:
    """Hold a message against the limits and forms of Block Kit."""
    assert said["text"]
    assert len(said["blocks"]) <= MOST_BLOCKS
    ids = [block["block_id"] for block in said["blocks"] if "block_id" in block]
    assert len(set(ids)) == len(ids)
    for block in said["blocks"]:
        kind = block["type"]
        if kind == "header":
            _text(block["text"], TEXTS["header"], "plain_text")
        elif kind == "section":
            assert "text" in block or 1 <= len(block["fields"]) <= MOST_FIELDS
            if "text" in block:
                _text(block["text"], TEXTS["section"])
            for field in block.get("fields", ()):
                _text(field, TEXTS["field"])
        elif kind == "context":
            assert 1 <= len(block["elements"]) <= 10
            for element in block["elements"]:
                _text(element, TEXTS["context"])
        else:
            assert kind == "actions"
            assert len(block["block_id"]) <= 255
            for element in block["elements"]:
                assert element["type"] == "button"
                assert len(element["action_id"]) <= 255
                assert len(element["value"]) <= 2000
                assert element["style"] in {"primary", "danger"}
                _text(element["text"], TEXTS["button"], "plain_text")


def _text(text: dict[str, Any], most: int, kind: str = "") -> None:
    assert text["type"] in ({kind} if kind else {"plain_text", "mrkdwn"})
    assert 1 <= len(text["text"]) <= most


def buttons(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The buttons of a message, as an interaction names them."""
    return [
        {"action_id": one["action_id"], "value": one["value"]}
        for block in message["blocks"]
        if block["type"] == "actions"
        for one in block["elements"]
    ]


@contextlib.asynccontextmanager
async def chat_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[ChatServer]:
    """A chat on loopback, until the block ends."""
    server = ChatServer()
    app = web.Application()
    app.router.add_post("/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    server.url = f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


class MailServer:
    """``mails`` are the envelopes that it took. ``judge`` may refuse one, by a reply."""

    def __init__(self) -> None:
        self.port = 0
        self.user = "portcullis"
        self.password = secrets.token_urlsafe(12)
        self.mails: list[Envelope] = []
        self.encrypted: list[bool] = []
        self.judge: Callable[[Envelope], str | None] = lambda _: None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:  # noqa: N802
        refusal = self.judge(envelope)
        if refusal is not None:
            return refusal
        self.encrypted.append(bool(session.ssl))
        self.mails.append(envelope)
        return "250 taken"

    def authenticate(self, server: Any, session: Any, envelope: Any, how: Any, data: Any) -> Any:
        given = (self.user.encode(), self.password.encode())
        right = isinstance(data, LoginPassword) and (data.login, data.password) == given
        return AuthResult(success=right, handled=False)


@contextlib.asynccontextmanager
async def mail_server(
    tls: ssl.SSLContext | None = None, *, implicit: bool = False, auth: bool = True
) -> AsyncIterator[MailServer]:
    """A mail server on loopback: STARTTLS and AUTH are required, or TLS from the first byte."""
    server = MailServer()
    loop = asyncio.get_running_loop()

    def session() -> SMTP:
        options: dict[str, Any] = {"hostname": "mail.example", "loop": loop}
        if tls is not None and not implicit:
            options |= {"tls_context": tls, "require_starttls": True}
        if auth:
            options |= {
                "authenticator": server.authenticate,
                "auth_required": True,
                "auth_require_tls": not implicit,
            }
        return SMTP(server, **options)

    listening = await loop.create_server(session, "127.0.0.1", 0, ssl=tls if implicit else None)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
