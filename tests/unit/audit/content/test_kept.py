"""What of a call is kept: what went on, and never what inspection took out or refused."""

from __future__ import annotations

import hmac
from typing import Any

import pytest

from portcullis.core.call import Action, Call, Context, Result, RiskClass, Route
from portcullis.core.event import Event
from portcullis.core.inspection import Treatment
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.verdict import Allow, Deny, Finding
from portcullis.gateway.outcome import Outcome
from portcullis.gateway.records import Records
from portcullis.wire.json import encode

pytestmark = pytest.mark.anyio

PASSES = [Treatment.ALLOW, Treatment.HOLD, Treatment.BLOCK]
HIDES = [treatment for treatment in Treatment if treatment not in PASSES]


class Kept:
    """A ``Contents`` that remembers."""

    def __init__(self, *, results: bool = True) -> None:
        self.results = results
        self.fields: dict[str, bytes] = {}
        self.subject = ""

    def keep(self, event: Event, subject: str, fields: dict[str, bytes]) -> None:
        """See Contents."""
        assert event.commitments.keys() >= fields.keys()
        for name, value in fields.items():
            assert event.commitments[name] == commitment(subject, value)
        self.fields |= fields
        self.subject = subject


def commitment(subject: str, value: bytes) -> str:
    return "hmac-sha256:" + hmac.digest(subject.encode(), value, "sha256").hex()


class Recorder:
    commitment = staticmethod(commitment)


class Sessions:
    async def proposed(self, *_: Any) -> None:
        return None


class Policy:
    digest = "sha256:test"


class Clock:
    def now(self) -> float:
        return 1_750_000_000.0


def records(kept: Kept | None) -> Records:
    return Records("gate", Recorder(), Sessions(), Policy(), Clock(), kept)


CONTEXT = Context(
    principal=Principal(kind=PrincipalKind.AGENT, id="helper", credential="c", expires_at=2e9),
    session=None,
    source="test",
    trace_id="0" * 32,
    received_at=1_750_000_000.0,
)


def decided(
    verdict: Allow | Deny | None = None,
    findings: tuple[Finding, ...] = (),
    action: Action = Action.TOOL,
) -> Outcome:
    arguments = {"to": "<EMAIL_ADDRESS_1>", "limit": 3}
    call = Call(
        id="e1",
        route=Route.MCP_HTTP,
        action=action,
        server="mail",
        name="send",
        method="tools/call",
        arguments=arguments,
        payload={"params": {"arguments": arguments}},
        body=encode({"params": {"arguments": arguments}}),
    )
    allowed = Allow(rule="r", risk=RiskClass.READ, clear=("limit",))
    return Outcome(verdict=verdict or allowed, call=call, event="e1", findings=findings)


def found(treatment: Treatment) -> tuple[Finding, ...]:
    return (Finding(type="EMAIL_ADDRESS", where="params.arguments.to", treatment=treatment),)


async def test_arguments_that_the_event_does_not_show_are_kept_under_their_subject() -> None:
    kept = Kept()
    await records(kept).decision(decided(), CONTEXT)
    assert kept.fields == {"arguments.to": b'"<EMAIL_ADDRESS_1>"'}
    assert kept.subject == "agent:helper"


async def test_a_models_request_is_kept_whole_and_the_gates_own_talk_is_not() -> None:
    kept = Kept()
    outcome = decided(action=Action.MODEL)
    await records(kept).decision(outcome, CONTEXT)
    assert kept.fields == {"request": outcome.call.body}
    kept = Kept()
    for action in (Action.LIST, Action.PROTOCOL):
        await records(kept).decision(decided(action=action), CONTEXT)
    assert not kept.fields


@pytest.mark.parametrize("treatment", HIDES)
async def test_what_inspection_put_in_the_place_of_a_finding_is_kept(treatment: Treatment) -> None:
    kept = Kept()
    await records(kept).decision(decided(findings=found(treatment)), CONTEXT)
    answer = Result(payload={"content": "[EMAIL_ADDRESS]"}, size=10)
    records(kept).result(
        decided(), CONTEXT, answer, None, check="inspect", findings=found(treatment)
    )
    assert kept.fields.keys() == {"arguments.to", "result"}


@pytest.mark.parametrize("treatment", PASSES)
async def test_a_finding_that_went_on_as_it_was_is_not_kept(treatment: Treatment) -> None:
    kept = Kept()
    await records(kept).decision(decided(findings=found(treatment)), CONTEXT)
    answer = Result(payload={"content": "ada@customer.example"}, size=10)
    event = records(kept).result(
        decided(), CONTEXT, answer, None, check="inspect", findings=found(treatment)
    )
    assert not kept.fields
    assert not event.commitments


async def test_what_was_refused_is_not_kept() -> None:
    kept, no = Kept(), Deny(code="PC3021", reason="no")
    await records(kept).decision(decided(no), CONTEXT)
    answer = Result(payload={"content": "secret"}, size=10)
    records(kept).result(decided(), CONTEXT, answer, no, check="inspect", findings=())
    assert not kept.fields


@pytest.mark.parametrize("kept", [None, Kept(results=False)])
async def test_results_are_kept_only_where_the_configuration_says_so(kept: Kept | None) -> None:
    answer = Result(payload={"content": "x"}, size=10)
    event = records(kept).result(decided(), CONTEXT, answer, None, check="", findings=())
    assert not event.commitments
    assert kept is None or not kept.fields


@pytest.mark.parametrize("treatment", list(Treatment))
async def test_of_a_stream_is_kept_what_the_event_commits_to_if_nothing_passed_as_it_was(
    treatment: Treatment,
) -> None:
    kept = Kept()
    answer = Result(payload=None, size=10, streamed={"result": b'{"texts":{"a":"[MAIL]"}}'})
    event = records(kept).result(
        decided(action=Action.MODEL),
        CONTEXT,
        answer,
        None,
        check="inspect",
        findings=found(treatment),
    )
    assert kept.fields == (answer.streamed if treatment in HIDES else {})
    assert event.commitments.keys() == kept.fields.keys()


def test_streams_are_gathered_only_where_results_are_kept_and_only_of_content() -> None:
    model, talk = decided(action=Action.MODEL).call, decided(action=Action.LIST).call
    for keeps, call in ((None, model), (Kept(results=False), model), (Kept(), talk)):
        with records(keeps).streamed(call) as gathered:
            assert gathered is None
    with records(Kept()).streamed(model) as gathered:
        assert gathered is not None
