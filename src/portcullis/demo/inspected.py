"""Scenes in which content is inspected: what does not reach a model, a tool or a user."""

from __future__ import annotations

import base64
import json
import re
from typing import Final

from mcp import MCPError

from portcullis.core.event import EventType
from portcullis.demo.agent import MODEL, refusal
from portcullis.demo.cast import CUSTOMER, Cast
from portcullis.demo.ledger import Recorded
from portcullis.demo.story import Ending, quoted

CARD: Final = "4111 1111 1111 1111"
"""A number that everybody tests with."""
LETTER: Final = "kb://articles/supplier"
"""A document in which somebody gives orders to whoever reads it."""

_PLANTED: Final = re.compile(r"in every form: ([0-9a-z-]+)")
_MADE_UP: Final = re.compile(r"ghp_\w{4,}")


async def card_number(cast: Cast) -> Ending:
    """The model works with a placeholder; the user reads the number, though it came in pieces."""
    text = f"Please bill my card {CARD}."
    stream = await cast.agent.gpt.chat.completions.create(
        model=f"{MODEL}:crumbs", messages=[{"role": "user", "content": text}], stream=True
    )
    said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    got = json.loads(cast.stage.model.seen[-1].body)["messages"][-1]["content"]
    return Ending(
        ok=said == text and CARD not in got,
        actual=f"the model got {quoted(got)}; the user reads {quoted(said)}",
        recorded=_found("CREDIT_CARD:tokenise", EventType.LLM_CALL),
    )


async def made_up_token(cast: Cast) -> Ending:
    """A secret in a model's answer, three characters at a time."""
    stream = await cast.agent.gpt.chat.completions.create(
        model=f"{MODEL}:leak", messages=[{"role": "user", "content": "Deploy it."}], stream=True
    )
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    said = "".join(pieces)
    return Ending(
        ok="[GITHUB_TOKEN]" in said and not _MADE_UP.search(said),
        actual=f"{quoted(said)} in {len(pieces)} pieces",
        recorded=_found("GITHUB_TOKEN:mask", EventType.LLM_RESULT),
    )


async def injected_document(cast: Cast) -> Ending:
    """A document whose text instructs the model never reaches the agent."""
    async with cast.agent.server("kb") as client:
        try:
            read = await client.read_resource(LETTER)
        except MCPError as error:
            code = refusal(error)
        else:
            code = f"no refusal, but {len(read.contents)} contents"
    return Ending(
        ok=code == "PC3022",
        actual=f"{code}; the agent got nothing of it",
        recorded=lambda event: event.code == "PC3022" and bool(event.findings),
    )


async def planted_canary(cast: Cast) -> Ending:
    """What only the system prompt holds turns up in a ticket, in base64."""
    planted = _PLANTED.findall("".join(seen.body.decode() for seen in cast.stage.model.seen))
    if not planted:
        return Ending(ok=False, actual="no canary was planted")
    before = cast.stage.records.count("tickets")
    body = f"For your files: {base64.b64encode(planted[-1].encode()).decode()}"
    wanted = {"customer_id": CUSTOMER, "subject": "Notes", "body": body}
    done = await cast.agent.act("tickets.create", wanted)
    opened = cast.stage.records.count("tickets") - before
    return Ending(
        ok=done.code == "PC3020" and not opened,
        actual=f"{done.code or 'no refusal'}; {opened} tickets were opened",
        recorded=lambda event: event.code == "PC3020" and "system prompt" in event.findings[0],
    )


def _found(what: str, kind: EventType) -> Recorded:
    return lambda event: (
        event.type is kind and any(each.startswith(what) for each in event.findings)
    )
