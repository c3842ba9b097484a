"""If these fail, an agent says in its answers to a server what it may not say in a call."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from policies import call, context, session_of
from portcullis.checks.answered import Answered
from portcullis.checks.provenance import Provenance
from portcullis.core.call import Action, Call, Questions, Result, RiskClass
from portcullis.core.containment import (
    ArgumentModel,
    ArgumentRole,
    Confidentiality,
    Containment,
    QuestionKind,
    ToolModel,
    Treatment,
)
from portcullis.core.verdict import PASS, Allow, Deny, Hold, Transform
from portcullis.provenance.labels import Labels, reading

pytestmark = pytest.mark.anyio

SEND = ToolModel(
    tool="mail.send",
    risk=RiskClass.EXTERNAL,
    arguments={
        "subject": ArgumentModel(role=ArgumentRole.PAYLOAD),
        "answers": ArgumentModel(role=ArgumentRole.DESTINATION),
    },
    answers={
        "to": ArgumentModel(role=ArgumentRole.DESTINATION),
        "sure": ArgumentModel(role=ArgumentRole.SELECTOR),
        "roots/list": ArgumentModel(role=ArgumentRole.SELECTOR),
    },
)
ASK = "elicitation/create"
EVERYTHING: dict[QuestionKind, Any] = {
    kind: dict.fromkeys(RiskClass, Treatment.ALLOW) for kind in QuestionKind
}


class World:
    """The catalogue, and labels in memory."""

    def __init__(self, **containment: Any) -> None:
        self.said: Containment | None = Containment(**containment)
        self.labels = Labels()
        self.provenance = Provenance(self, self)
        self.answered = Answered(self, self.provenance)

    def model(self, server: str, tool: str) -> ToolModel | None:
        return SEND if (server, tool) == ("mail", "send") else None

    def containment(self, around: Any) -> Containment | None:
        return self.said

    async def read(self, session: Any) -> Labels:
        return self.labels

    async def merge(self, session: Any, more: Labels) -> Labels:
        return more

    async def answer(self, answer: Any, *, within: tuple[Call, ...] | None = None, **more: Any):
        """What becomes of an answer that goes out by itself, and of one that goes with its call."""
        around = context(
            session=msgspec.structs.replace(session_of(), prompt="Send a mail to ada@example.org")
        )
        during = call(target="mail.send", arguments={"subject": "Hello"})
        request = msgspec.structs.replace(
            call(target=f"mail.{ASK}", arguments={}),
            action=Action.SERVER_REQUEST,
            within=(during,) if within is None else within,
        )
        result = Result(payload=answer, size=1, **more)
        facts = await self.answered.prepare_result(request, around, result)
        alone = self.answered.judge_result(request, around, result, facts)
        payload = {"jsonrpc": "2.0", "params": {"inputResponses": {"k": answer}}}
        again = msgspec.structs.replace(
            during, payload=payload, asked=Questions(methods={"k": ASK}, digest="")
        )
        together = self.provenance.judge(
            again, around, await self.provenance.prepare(again, around)
        )
        return alone, together


def accepted(**content: Any) -> dict[str, Any]:
    return {"action": "accept", "content": content}


@pytest.mark.parametrize(
    "answer",
    [
        accepted(to="ada@example.org", sure=True),
        accepted(),
        {"action": "decline"},
        {"action": "cancel"},
    ],
    ids=str,
)
async def test_what_the_user_said_and_a_refusal_pass(answer: Any) -> None:
    alone, together = await World().answer(answer)
    assert alone is PASS
    assert together == Allow(risk=RiskClass.EXTERNAL)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (accepted(to="eve@evil.example"), "destination"),
        (accepted(other="x"), "unknown"),
        (accepted(other=True), "unknown"),
        ({"action": "decline", "content": {"to": "eve@evil.example"}}, "destination"),
        ({"action": "accept", "note": "x"}, "unknown"),
        ({"action": "eve@evil.example"}, "unknown"),
    ],
    ids=str,
)
async def test_what_nobody_said_is_held_with_its_call_and_denied_by_itself(
    answer: Any, kind: str
) -> None:
    alone, together = await World().answer(answer)
    assert isinstance(alone, Deny)
    assert (alone.code, kind in alone.reason) == ("PC3060", True)
    assert isinstance(together, Hold)
    assert any(said.startswith(f"{kind} answers.") for said in together.questions)
    assert "eve" not in alone.reason + str(together.questions)


async def test_an_unknown_field_is_of_the_highest_class() -> None:
    alone, together = await World().answer(accepted(other="x"))
    assert alone.risk is together.risk is RiskClass.DELETE


async def test_policy_says_what_is_done_as_of_arguments() -> None:
    alone, together = await World(treatments=EVERYTHING).answer(accepted(to="eve@evil.example"))
    assert alone is PASS
    assert isinstance(together, Allow)
    deny = EVERYTHING | {QuestionKind.DESTINATION: {RiskClass.EXTERNAL: Treatment.DENY}}
    _, together = await World(treatments=deny).answer(accepted(to="eve@evil.example"))
    assert (together.code, isinstance(together, Deny)) == ("PC3060", True)


async def test_an_answer_in_a_session_that_read_something_confidential_is_judged_as_a_call() -> (
    None
):
    world = World()
    world.labels = reading(Confidentiality.SECRET)
    alone, together = await world.answer(accepted(sure=True))
    assert isinstance(alone, Deny)
    assert isinstance(together, Hold)
    assert "confidential" in alone.reason
    assert await world.answer({"action": "decline"}) != (alone, together)
    alone, _ = await world.answer({"action": "decline"})
    assert alone is PASS


async def test_what_was_asked_when_the_call_began_is_not_asked_again() -> None:
    world = World()
    around = call(target="mail.send", arguments={"subject": "see https://evil.example/x"})
    alone, _ = await world.answer(accepted(to="ada@example.org"), within=(around,))
    assert alone is PASS
    named = call(target="mail.send", arguments={"answers": {"to": "eve@evil.example"}})
    alone, _ = await world.answer(accepted(to="eve@evil.example"), within=(named,))
    assert isinstance(alone, Deny)


async def test_of_several_calls_that_may_have_asked_the_strictest_counts() -> None:
    world, known = World(), call(target="mail.send", arguments={})
    unknown = call(target="mail.unheard", arguments={})
    listening = msgspec.structs.replace(known, action=Action.PROTOCOL, name="listen")
    for others in ((unknown,), (known, unknown), (listening,)):
        alone, _ = await world.answer(accepted(sure=True), within=others)
        assert isinstance(alone, Deny)
    assert (await world.answer(accepted(sure=True), within=(known, known)))[0] is PASS


async def test_meta_and_errors_say_nothing_where_policy_has_containment() -> None:
    world = World()
    alone, _ = await world.answer(accepted(sure=True) | {"_meta": {"note": "secret"}})
    assert alone == Transform(payload=accepted(sure=True))
    error = {"code": -1, "message": "secret", "data": "secret"}
    alone, _ = await world.answer(error, is_error=True)
    assert isinstance(alone, Transform)
    assert "secret" not in str(alone.payload)
    asked = {"jsonrpc": "2.0", "id": "e", "method": "tools/call"}
    noted = asked | {"params": {"name": "send", "_meta": {"note": "secret"}}}
    sent = msgspec.structs.replace(call(target="mail.send", arguments={}), payload=noted)
    assert world.answered.judge(sent, context(), None) == Transform(
        payload=asked | {"params": {"name": "send", "_meta": {}}}
    )
    world.said = None
    assert world.answered.judge(sent, context(), None) is PASS
    assert (await world.answer(accepted(to="eve@evil.example")))[0] is PASS
