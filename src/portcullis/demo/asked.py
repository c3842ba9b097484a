"""The scene in which a human is asked, and the call that waits for one when the story is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from portcullis.core.event import EventType
from portcullis.demo.agent import Done
from portcullis.demo.cast import AGENT, CUSTOMER, Cast
from portcullis.demo.story import Ending

ACCOUNT: Final = "DE89 3704 0044 0532 0130 00"
"""An account number that everybody tests with."""
WAITING: Final = "refund of O-5002"
REQUEST: Final = f"My order O-5002 never came. Please refund it to {ACCOUNT}."
"""What the user says in the session in which it waits."""
_TOOL: Final = "tickets.create"
_AGAIN_SECONDS: Final = 2.0


def _ticket(about: str) -> dict[str, Any]:
    return {"customer_id": CUSTOMER, "subject": f"A {about}", "body": f"Please pay to {ACCOUNT}."}


async def approved_by_a_human(cast: Cast) -> Ending:
    """A ticket that names a bank account waits for somebody; then the same call goes through."""
    before = cast.stage.records.count("tickets")
    wanted = _ticket("refund of O-5001")
    held = await cast.agent.act(_TOOL, wanted)
    waited = cast.stage.records.count("tickets") == before
    if not held.approval:
        return Ending(ok=False, actual=f"{held.code or 'not held'} {held.text}"[:70])
    await cast.stage.approve(held.approval, "asked the customer on the phone")
    done = await cast.agent.act(_TOOL, wanted)
    opened = cast.stage.records.count("tickets") - before
    return Ending(
        ok=waited and not done.code and opened == 1,
        actual=f"{held.code} until somebody approved it; then {opened} ticket was opened",
        recorded=lambda event: (
            event.type is EventType.TOOL_CALL and event.approval == held.approval
        ),
    )


async def ask_on(cast: Cast, told: Callable[[str], None]) -> None:
    """Ask for one more such ticket until somebody decides on it; ``told`` what came of it.

    Also while the agent is cut off: it may be let act again.
    """
    wanted, cut = _ticket(WAITING), False
    while True:
        try:
            done = await cast.agent.act(_TOOL, wanted)
        except Exception:  # noqa: BLE001 - a client of somebody who is cut off fails in many ways
            if not cut:
                told(f"{AGENT}: the gate answers no more; it goes on asking")
            cut = True
        else:
            cut = False
            if not done.approval:
                told(_outcome(done))
                return
        await asyncio.sleep(_AGAIN_SECONDS)


def _outcome(done: Done) -> str:
    if done.code:
        return f"{AGENT}: the {WAITING} was refused: {done.code}"
    return f"{AGENT}: the {WAITING} went through: {done.data['ticket_id']}"
