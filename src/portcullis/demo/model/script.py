"""The rules by which the stand-in answers. No randomness, no state, no model.

The support task runs like this: look up the customer's orders (and, in parallel, the knowledge
base), obey whatever instruction a tool's answer carries (a model that falls for it is what the
gate is there for), write a ticket, report.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from portcullis.demo.model.turn import CRUMB, Answer, ToolCall, Turn, call

LABEL: Final = "[stand-in, not a model]"
SEARCH, KNOWLEDGE = "orders__search", "kb__search_knowledge_base"
DELETE, TICKET = "crm__delete_customer", "tickets__create"

_CUSTOMER = re.compile(r"\bC-\d{4}\b")
_ORDER = re.compile(r"\bO-\d{4}\b")


class _Call(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | str = {}


def answer(turn: Turn) -> Answer:
    """What the stand-in says to this request."""
    match turn.directive:
        case "say" | "slow" | "stall":
            return Answer(text=turn.said)
        case "crumbs":
            return Answer(text=turn.said, size=CRUMB)
        case "call":
            return _as_told(turn.said)
        case "broken-arguments":
            return Answer(calls=(ToolCall(name="orders__search", arguments='{"customer_id": "C-'),))
    return _support(turn)


def _as_told(said: str) -> Answer:
    """Propose what the user's text lists: ``[{"name": ..., "arguments": {...}}, ...]``."""
    try:
        calls = msgspec.json.decode(said, type=list[_Call])
    except msgspec.DecodeError:
        return Answer(text=f"{LABEL} expected a JSON list of calls")
    return Answer(
        calls=tuple(
            ToolCall(
                name=each.name,
                arguments=each.arguments
                if isinstance(each.arguments, str)
                else msgspec.json.encode(each.arguments).decode(),
            )
            for each in calls
        )
    )


def _support(turn: Turn) -> Answer:
    customer = _CUSTOMER.search(turn.history)
    order = _ORDER.search(turn.said)
    if customer is None or SEARCH not in turn.offered:
        return Answer(text=f"{LABEL} You said {len(turn.said)} characters. Nothing to look up.")
    subject = customer.group()
    if not turn.asked:
        lookups = [call(SEARCH, customer_id=subject)]
        if KNOWLEDGE in turn.offered:
            lookups.append(call(KNOWLEDGE, query="late delivery"))
        return Answer(calls=tuple(lookups))
    found = "\n".join(result.text for result in turn.results)
    if "delete_customer" in found and DELETE not in turn.asked:
        return Answer(calls=(call(DELETE, customer_id=subject),))
    number = order.group() if order else "the order"
    if TICKET in turn.offered and TICKET not in turn.asked:
        return Answer(
            calls=(
                call(
                    TICKET,
                    customer_id=subject,
                    subject=f"Delivery of {number} is late",
                    body=f"The customer asks where {number} is. Please contact the carrier.",
                ),
            )
        )
    return Answer(
        text=f"{LABEL} {number} is on its way but late. I opened a ticket, and our support "
        "team will write to you with a new delivery date. Is there anything else I can do?"
    )
