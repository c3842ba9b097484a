"""The scenes about who is who: identities, sessions, thieves, and being cut off."""

from __future__ import annotations

import asyncio
import ssl
import time
from http import HTTPStatus
from typing import Final

import aiohttp
import openai
from openai.types.chat import ChatCompletionChunk

from portcullis.client.aiohttp import session
from portcullis.core.event import EventType
from portcullis.core.principal import PrincipalKind
from portcullis.demo.agent import MODEL, SupportAgent
from portcullis.demo.cast import AGENT, APPLICATION, CUSTOMER, OTHER, SECOND, Cast
from portcullis.demo.party import beside, enrolled
from portcullis.demo.story import Ending, quoted

PROMPT: Final = "Where is my order O-5001?"
SUBJECT: Final = {"customer_id": CUSTOMER, "email": "ada@customer.example"}
_LONG: Final = (
    "The stand-in says these words again, one after the other, and takes its time over it."
)
_A_WHILE: Final = 0.3
"""Seconds into a stream."""


async def get_identity(cast: Cast) -> Ending:
    """The agent enrols with a join token; its side process holds the key and what it earns."""
    stage, enter = cast.stage, cast.exits.enter_async_context
    await stage.create(PrincipalKind.AGENT, AGENT, owner="support-platform")
    cast.own = await enter(enrolled(stage, PrincipalKind.AGENT, AGENT))
    cast.base = await enter(beside(cast.own))
    svid = cast.own.identity.current
    seconds = round(svid.expires_at - svid.issued_at)
    return Ending(
        ok=str(svid.id).endswith(f"/agent/{AGENT}") and seconds <= 3600,  # noqa: PLR2004 - an hour
        actual=f"{svid.id}, for {seconds // 60} minutes",
        recorded=lambda event: (event.method, event.principal) == ("svid.issue", AGENT),
    )


async def open_session(cast: Cast) -> Ending:
    """The application, under its own SVID, vouches for the user's words and for whom they are."""
    await cast.stage.create(PrincipalKind.APPLICATION, APPLICATION)
    cast.application = await cast.exits.enter_async_context(
        enrolled(cast.stage, PrincipalKind.APPLICATION, APPLICATION)
    )
    return await renew_session(cast)


async def renew_session(cast: Cast, prompt: str = PROMPT) -> Ending:
    """One more session of the application's, with clients of the agent's in it."""
    asked = {"agent": AGENT, "user": "ada", "prompt": prompt, "subject": SUBJECT}
    async with (
        session(cast.application) as http,
        http.post(f"{cast.application.url}/v1/sessions", json=asked) as answer,
    ):
        given = await answer.json(content_type=None)
    cast.token = given["token"]
    agent = SupportAgent(cast.base, cast.token, customer=CUSTOMER)
    cast.agent = await cast.exits.enter_async_context(agent)
    cast.agent.messages.append({"role": "user", "content": prompt})
    return Ending(
        ok=True,
        actual=f"session {given['session']}, with a delegation for the agent",
        recorded=lambda event: (
            event.type is EventType.ADMIN and event.principal_kind == "application"
        ),
    )


async def no_credential(cast: Cast) -> Ending:
    """Nobody is anonymous."""
    found = await _posted(cast.url)
    return Ending(
        ok=found == (HTTPStatus.UNAUTHORIZED, "PC2001"),
        actual=f"{found[0]} {found[1]}",
        recorded=lambda event: event.type is EventType.ERROR and event.code == "PC2001",
    )


async def stolen_token(cast: Cast) -> Ending:
    """The token that the side process holds, without the key that it is bound to."""
    token = (await cast.own.ready()).value
    found = await _posted(cast.url, token)
    return Ending(
        ok=found == (HTTPStatus.UNAUTHORIZED, "PC2040"),
        actual=f"{found[0]} {found[1]}",
        recorded=lambda event: event.code == "PC2040",
    )


async def thief_with_identity(cast: Cast) -> Ending:
    """What another agent steals is worth nothing under that agent's own certificate."""
    await cast.stage.create(PrincipalKind.AGENT, SECOND, owner="support-platform")
    cast.second = await cast.exits.enter_async_context(
        enrolled(cast.stage, PrincipalKind.AGENT, SECOND)
    )
    tls = cast.second.link().context
    codes = [
        (await _posted(cast.second.url, stolen, tls))[1]
        for stolen in ((await cast.own.ready()).value, cast.token)
    ]
    return Ending(
        ok=codes == ["PC2041", "PC2051"],
        actual=f"{codes[0]} for the bound token, {codes[1]} for the session's",
        recorded=lambda event: event.code == "PC2041",
    )


async def cut_off(cast: Cast) -> Ending:
    """One agent is revoked while two streams run: its own ends, its neighbour's does not."""
    base = await cast.exits.enter_async_context(beside(cast.second))
    async with SupportAgent(base, "any", customer=OTHER) as second:
        streams = [
            await agent.gpt.chat.completions.create(
                model=f"{MODEL}:slow",
                messages=[{"role": "user", "content": _LONG}],
                stream=True,
            )
            for agent in (second, cast.agent)
        ]
        running = [asyncio.create_task(_read(stream)) for stream in streams]
        await asyncio.sleep(_A_WHILE)
        started = time.perf_counter()
        await cast.stage.revoke(PrincipalKind.AGENT, SECOND)
        cut, took = await running[0], time.perf_counter() - started
        neighbour = await running[1]
        again = await _posted(base)
    return Ending(
        ok="PC4001" in cut and neighbour == _LONG and again[1] == "PC7013",
        actual=f"{'PC4001' if 'PC4001' in cut else quoted(cut)} after {took * 1000:.0f} ms; "
        f"the neighbour read all its {len(neighbour.split())} words; "
        f"a new call: {again[1]}",
        recorded=lambda event: (event.principal, event.code) == (SECOND, "PC4001"),
    )


async def _posted(url: str, token: str = "", tls: ssl.SSLContext | None = None) -> tuple[int, str]:
    """Ask for a chat completion with no SDK: the status and the code of the refusal."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello."}]}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{url}/openai/v1/chat/completions", json=body, ssl=tls or True) as answer,
    ):
        given = await answer.json(content_type=None)
    return answer.status, str(given.get("error", given).get("code", "no refusal"))


async def _read(stream: openai.AsyncStream[ChatCompletionChunk]) -> str:
    """The text of a stream, or the error that ended it."""
    text = ""
    try:
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        return f"{error.code}: {error}"
    return text
