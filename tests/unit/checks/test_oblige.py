"""If these fail, nobody is asked, or a server says beside its results what they do not show."""

import msgspec
import pytest

from policies import call, chained, context, pdp_of
from portcullis.catalogue.inventory import LocalInventory
from portcullis.checks.oblige import Oblige
from portcullis.core.call import Action, Result, ToolSpec
from portcullis.core.obligation import ColumnMask, MaskTreatment, Obligations
from portcullis.core.verdict import PASS, Deny, Hold, Transform

POLICY = """\
version: 1
agents: {a: {role: r}, b: {role: s}}
roles:
  r: {allowed_tools: [{tool: crm.get, obligations: {mask: {iban: mask}}}, bank.pay]}
  s: {allowed_tools: [crm.get]}
tools:
  bank.pay:
    risk: modify
    arguments: {amount: {role: amount}}
    raise: [{when: {amount: {over: 100}}, risk: external}]
"""
MASKED = Obligations(mask=(ColumnMask(path=("iban",), treatment=MaskTreatment.MASK),))
NUMBER = {"properties": {"iban": {"type": "integer"}}, "required": ["iban"]}


@pytest.fixture
def check():
    inventory = LocalInventory()
    return Oblige(pdp_of(POLICY), inventory, lambda subject, value: f"{subject}{len(value)}" * 4)


def owing(asked, owed):
    return msgspec.structs.replace(asked, obligations=owed)


def result(payload, **more):
    return Result(payload=payload, size=1, **more)


def test_people_are_asked_as_many_as_the_grant_says(check):
    asked = call(target="bank.pay")
    assert check.judge(asked, context("a"), None) is PASS
    assert check.judge(owing(asked, MASKED), context("a"), None) is PASS
    for people in (1, 2):
        held = check.judge(owing(asked, Obligations(approvers=people)), context("a"), None)
        assert isinstance(held, Hold)
        assert held.approvers == people


def test_arguments_that_raise_the_class_raise_the_number(check):
    owed = Obligations(approvers=0, by_risk=(("external", 1), ("delete", 2)))
    little = owing(call(target="bank.pay", arguments={"amount": 5}), owed)
    assert check.judge(little, context("a"), None) is PASS
    much = owing(call(target="bank.pay", arguments={"amount": 500}), owed)
    assert check.judge(much, context("a"), None).approvers == 1
    unlisted = owing(call(target="bank.other"), owed)
    assert check.judge(unlisted, context("a"), None).approvers == 2


def test_what_cannot_be_masked_in_its_schema_is_withheld(check):
    tool = ToolSpec(name="get", input_schema={}, output_schema=NUMBER)
    asked = owing(call(target="crm.get", tool=tool), MASKED)
    new = check.judge_result(
        asked, context("a"), result({"content": [], "structuredContent": {"iban": 12}}), None
    )
    assert isinstance(new, Transform)
    assert type(new.payload["structuredContent"]["iban"]) is int
    assert new.payload["structuredContent"]["iban"] != 12
    fixed = {"properties": {"iban": {"const": 12}}, "required": ["iban"]}
    other = msgspec.structs.replace(asked, tool=msgspec.structs.replace(tool, output_schema=fixed))
    denied = check.judge_result(
        other, context("a"), result({"content": [], "structuredContent": {"iban": 12}}), None
    )
    assert denied.code == "PC3030"


def test_a_question_back_is_no_result(check):
    asked = owing(call(target="crm.get"), MASKED)
    back = result({"resultType": "input_required", "inputRequests": {}})
    assert check.judge_result(asked, context("a"), back, None).code == "PC3032"
    assert check.judge_result(call(target="crm.get"), context("b"), back, None) is PASS


def question(server="crm", within=(), params=None):
    asked = call(Action.SERVER_REQUEST, f"{server}.elicitation/create", within=within)
    said = {"message": "Is it DE12?"} if params is None else params
    return msgspec.structs.replace(asked, payload={"jsonrpc": "2.0", "params": said})


def test_a_server_asks_nothing_of_its_own_while_results_are_masked(check):
    masked = owing(call(target="crm.get"), MASKED)
    verdict = check.judge(question(within=(masked,)), context("a"), None)
    assert isinstance(verdict, Deny)
    assert verdict.code == "PC3032"
    assert check.judge(question(within=(call(target="crm.get"),)), context("a"), None) is PASS
    assert check.judge(question(within=(masked,), params={}), context("a"), None) is PASS
    assert check.judge(question(), context("a"), None).code == "PC3032", "whenever it asks"
    assert check.judge(question(), context("b"), None) is PASS
    assert check.judge(question(), chained(context("b"), "a"), None).code == "PC3032"
    assert check.judge(question("bank"), context("a"), None) is PASS


def notice(method, within=()):
    asked = call(Action.PROTOCOL, f"crm.{method}", within=within)
    return msgspec.structs.replace(asked, method=method)


def test_a_server_tells_only_how_far_it_is(check):
    masked = owing(call(target="crm.get"), MASKED)
    far = {"progressToken": 1, "progress": 2, "message": "DE12", "_meta": {"x": "DE12"}}
    progress = notice("notifications/progress", (masked,))
    new = check.judge_result(progress, context("a"), result(far), None)
    assert new.payload == {"progressToken": 1, "progress": 2}
    log = result({"level": "info", "data": {"iban": "DE12"}, "logger": "DE12"})
    told = check.judge_result(notice("notifications/message"), context("a"), log, None)
    assert told.payload["level"] == "info"
    assert "DE12" not in repr(told.payload)
    assert check.judge_result(notice("notifications/message"), context("b"), log, None) is PASS
    assert told.payload.keys() == {"level", "data"}
    gone = result({"requestId": 7, "reason": "DE12"})
    new = check.judge_result(notice("notifications/cancelled", (masked,)), context("a"), gone, None)
    assert new.payload == {"requestId": 7}
    other = notice("notifications/progress", (call(target="crm.get"),))
    assert check.judge_result(other, context("a"), result(far), None) is PASS


def test_members_beside_the_columns_have_room_for_no_words(check):
    asked = owing(call(target="crm.get"), MASKED)
    plain = {"content": [], "structuredContent": {"iban": "DE12"}}
    for kind in ("DE12", {"iban": "DE12"}, 1):
        denied = check.judge_result(asked, context("a"), result(plain | {"isError": kind}), None)
        assert denied.code == "PC3030"
    told = plain | {"_meta": {"progressToken": "DE12"}}
    new = check.judge_result(asked, context("a"), result(told), None)
    assert "DE12" not in repr(new.payload)
