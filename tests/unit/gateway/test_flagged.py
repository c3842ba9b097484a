"""If these fail, what policy let pass is not looked at, or what a human approved is asked again."""

from __future__ import annotations

import hmac
from typing import Any

import msgspec
import pytest

from portcullis.core.call import Action, Call, Context, RiskClass, Route
from portcullis.core.event import Event
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.core.verdict import Allow, Deny
from portcullis.gateway.outcome import Outcome
from portcullis.gateway.records import Records
from portcullis.wire.json import encode

pytestmark = pytest.mark.anyio
FLAGGED = {(Action.TOOL, RiskClass.DELETE), (Action.TOOL, RiskClass.EXTERNAL)}


@pytest.fixture
def anyio_backend():
    return "asyncio"


def commitment(subject: str, value: bytes) -> str:
    return "hmac-sha256:" + hmac.digest(subject.encode(), value, "sha256").hex()


class Parts:
    """Everything that records ask, and the content that they keep."""

    commitment = staticmethod(commitment)
    digest = "sha256:test"
    results = False

    def __init__(self) -> None:
        self.kept: list[tuple[str, dict[str, bytes]]] = []

    def now(self) -> float:
        return 1_750_000_000.0

    async def proposed(self, *_: Any) -> None:
        return None

    def keep(self, event: Event, subject: str, fields: dict[str, bytes]) -> None:
        assert all(event.commitments[name] == commitment(subject, fields[name]) for name in fields)
        self.kept.append((subject, dict(fields)))


SESSION = Session(
    id="s1",
    agent="shop-1",
    application="web",
    user="ada",
    prompt="Delete me",
    subject={"customer_id": "C-1"},
    grant=None,
    opened_at=0.0,
    expires_at=4e9,
)
CONTEXT = Context(
    principal=Principal(kind=PrincipalKind.AGENT, id="shop-1", credential="c", expires_at=2e9),
    session=SESSION,
    source="test",
    trace_id="0" * 32,
    received_at=0.0,
)


async def recorded(
    verdict: Allow | Deny, parts: Parts, action: Action = Action.TOOL, context: Context = CONTEXT
) -> Event:
    arguments = {"id": "C-1"}
    call = Call(
        id="e1",
        route=Route.MCP_HTTP,
        action=action,
        server="crm",
        name="delete",
        method="tools/call",
        arguments=arguments,
        payload=arguments,
        body=encode(arguments),
    )
    records = Records("gate", parts, parts, parts, parts, parts, FLAGGED)
    return await records.decision(Outcome(verdict=verdict, call=call, event="e1"), context)


@pytest.mark.parametrize(
    ("verdict", "action", "expected"),
    [
        (Allow(rule="r", risk=RiskClass.DELETE), Action.TOOL, True),
        (Allow(rule="r", risk=RiskClass.EXTERNAL), Action.TOOL, True),
        (Allow(rule="r"), Action.TOOL, True),  # what nobody classified is in the highest class
        (Allow(rule="r", risk=RiskClass.MODIFY), Action.TOOL, False),
        (Allow(rule="r", risk=RiskClass.EXTERNAL), Action.MODEL, False),
        (Allow(rule="r", risk=RiskClass.DELETE, approval="a1"), Action.TOOL, False),
        (Deny(code="PC3001", reason="no", risk=RiskClass.DELETE), Action.TOOL, False),
    ],
)
async def test_what_passes_at_a_high_risk_without_a_human_is_flagged(verdict, action, expected):
    event = await recorded(verdict, Parts(), action)
    assert event.review is expected
    assert (b"review" in msgspec.json.encode(event)) is expected


async def test_the_user_is_kept_under_his_own_key_of_what_is_flagged_and_of_nothing_else():
    parts = Parts()
    await recorded(Allow(rule="r", risk=RiskClass.DELETE), parts)
    assert parts.kept[1:] == [("user:ada", {"user": b"ada"})]
    parts = Parts()
    await recorded(Allow(rule="r", risk=RiskClass.READ), parts)
    assert ["user" in fields for _, fields in parts.kept] == [False]
    parts = Parts()
    nobody = msgspec.structs.replace(CONTEXT, session=None)
    assert (await recorded(Allow(rule="r"), parts, context=nobody)).review
    assert ["user" in fields for _, fields in parts.kept] == [False]
