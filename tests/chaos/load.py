"""Clients of the fleet: each call goes to one gateway, and what became of it is kept."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
import traceback
from collections.abc import Mapping
from typing import Any, Self

import aiohttp
import httpx2
import openai
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from chaos.history import HANGS, LOST, Asked, History, Streamed
from chaos.house import ACCOUNT, House, Session

VERSION = "2026-07-28"
WORDS = 10
"""The most tokens of an answer."""
_REFUSED = 0.2
"""Seconds that who was refused waits."""
_PATIENCE = 0.3
"""Seconds after which a session goes on at the next gateway, while it still waits at this one."""
_STREAMS = 20.0
"""Seconds that a stream is listened to."""
_ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Clients:
    """Asks on behalf of sessions; all of it is in ``history``.

    ``streams`` is how many have begun to come.
    """

    def __init__(self, house: House, history: History) -> None:
        self._house = house
        self._history = history
        self._numbers = itertools.count()
        self.streams = 0
        limit = aiohttp.ClientTimeout(total=history.bounds.answer)
        self._http = aiohttp.ClientSession(timeout=limit, connector=aiohttp.TCPConnector(limit=0))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def call(self, kind: str, session: Session, gateway: str, text: str = "") -> Asked:
        """One call; without a ``text`` it has one of its own."""
        return (await self._call(kind, session, gateway, text))[0]

    async def hold(self, session: Session, gateway: str, text: str) -> str:
        """Ask for what somebody has to approve; the approval that it waits for.

        LookupError or TypeError when it was refused for something else.
        """
        said = (await self._call("pay", session, gateway, text))[1]
        return str(said["result"]["_meta"]["portcullis/approval"])

    async def official(self, session: Session, gateway: str) -> None:
        """A chat and a tool's call by the official clients, until they get what they ask for."""
        for kind, ask in (("chat", self._openai), ("note", self._mcp)):
            end, code = time.monotonic() + self._history.bounds.serves, LOST
            while code:
                mark, began = secrets.token_hex(16), time.monotonic()
                text = f"official {kind} {mark[:6]}"
                try:
                    await ask(self._house.urls[gateway], session.token, _traced(mark), text)
                    code = ""
                except Exception:  # noqa: BLE001 - whatever a client raises, it was not served
                    assert time.monotonic() < end, traceback.format_exc()
                    await asyncio.sleep(_REFUSED)
                known = (mark, text, kind, session.id, session.agent, gateway)
                self._history.asked.append(Asked(*known, began, time.monotonic(), code))

    async def _openai(self, url: str, token: str, headers: dict[str, str], text: str) -> None:
        made = {"api_key": token, "max_retries": 0, "timeout": self._history.bounds.answer}
        base = f"{url}/openai/v1"
        async with openai.AsyncOpenAI(base_url=base, default_headers=headers, **made) as client:
            said = [{"role": "user", "content": text}]
            answer = await client.chat.completions.create(
                model="gpt-chaos", max_tokens=WORDS, messages=said
            )
            assert answer.choices[0].message.content == "It is done."

    async def _mcp(self, url: str, token: str, headers: dict[str, str], text: str) -> None:
        bearer = headers | {"authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=bearer, timeout=self._history.bounds.answer) as http,
            Client(streamable_http_client(f"{url}/mcp/desk", http_client=http)) as client,
        ):
            assert not (await client.call_tool("note", {"text": text})).is_error

    async def _call(
        self, kind: str, session: Session, gateway: str, text: str
    ) -> tuple[Asked, Any]:
        mark = secrets.token_hex(16)
        text = text or f"{kind} {next(self._numbers)} {mark[:6]}"
        path, body, more = _request(kind, text)
        headers = {"authorization": f"Bearer {session.token}"} | _traced(mark)
        began, said = time.monotonic(), None
        try:
            async with self._http.post(
                f"{self._house.urls[gateway]}{path}", json=body, headers=headers | more
            ) as answer:
                said = await answer.json(content_type=None)
                code = _code(said)
        except TimeoutError:
            code = HANGS
        except (aiohttp.ClientError, OSError, ValueError, TypeError):
            code = LOST
        ended = time.monotonic()
        known = (mark, text, kind, session.id, session.agent, gateway, began, ended, code)
        self._history.asked.append(Asked(*known))
        return self._history.asked[-1], said

    async def stream(self, session: Session, gateway: str, over: asyncio.Event) -> None:
        """Take an answer that comes piece by piece, for as long as it comes."""
        while not over.is_set() and not await self._streamed(session, gateway, over):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REFUSED):
                    await over.wait()

    async def _streamed(self, session: Session, gateway: str, over: asyncio.Event) -> bool:
        """Whether a piece came, before this ended."""
        mark = secrets.token_hex(16)
        text = f"stream {next(self._numbers)} {mark[:6]}"
        path, body, more = _request("chat", text)
        headers = {"authorization": f"Bearer {session.token}"} | _traced(mark)
        url, asked = f"{self._house.urls[gateway]}{path}", body | {"stream": True}
        began, last, code = time.monotonic(), 0.0, LOST
        with contextlib.suppress(aiohttp.ClientError, OSError):  # which a timeout is too
            async with (
                asyncio.timeout(_STREAMS),
                self._http.post(url, json=asked, headers=headers | more) as answer,
            ):
                code = "" if answer.status == 200 else str(answer.status)
                async for line in answer.content:
                    if b'"content":"' in line:
                        self.streams += not last
                        last = time.monotonic()
                    if over.is_set():
                        break
        known = (mark, text, "stream", session.id, session.agent, gateway)
        self._history.asked.append(Asked(*known, began, time.monotonic(), code))
        if last:
            came = Streamed(session.id, session.agent, gateway, began, last)
            self._history.streamed.append(came)
        return bool(last)

    async def keep(
        self,
        kind: str,
        session: Session,
        gateways: tuple[str, ...],
        pace: float,
        over: asyncio.Event,
    ) -> None:
        """Go on calling, at one gateway after the other, until it is over.

        A gateway that hangs keeps nobody from the other.
        """
        async with asyncio.TaskGroup() as waiting:
            for gateway in itertools.cycle(gateways):
                if over.is_set():
                    return
                one = waiting.create_task(self.call(kind, session, gateway))
                await asyncio.wait({one}, timeout=_PATIENCE)
                await asyncio.sleep(_REFUSED if one.done() and one.result().code else pace)


def _traced(mark: str) -> dict[str, str]:
    return {"traceparent": f"00-{mark}-{'1' * 16}-01"}


def _request(kind: str, text: str) -> tuple[str, Any, Mapping[str, str]]:
    """Where to, the body, and headers."""
    if kind == "chat":
        said = [{"role": "user", "content": text}]
        return (
            "/openai/v1/chat/completions",
            {"model": "gpt-chaos", "max_tokens": WORDS, "messages": said},
            {},
        )
    arguments = {"text": text} | ({"account": ACCOUNT} if kind == "pay" else {})
    params = {"_meta": _ENVELOPE, "name": kind, "arguments": arguments}
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": "tools/call",
        "mcp-name": kind,
    }
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return "/mcp/desk", asked, headers


def _code(said: Any) -> str:
    """Of a refusal, in the shape of each route; "" for what was done."""
    if not isinstance(said, dict):
        raise TypeError(said)
    if error := said.get("error"):
        return str((error.get("data") or error).get("code"))
    if (said.get("result") or {}).get("isError"):
        found: str = said["result"]["content"][0]["text"]
        return found[:6]
    return str(said.get("code", ""))
