import msgspec
import pytest

from policies import call, context, session_of
from portcullis.checks.validate import Validate
from portcullis.core.call import Action, Result, ToolSpec
from portcullis.core.verdict import PASS, Deny


def listed(inventory, asked):
    """The call, of the tool as its server lists it."""
    return msgspec.structs.replace(asked, tool=inventory.tool(asked.server, asked.name))


@pytest.fixture
def judge(inventory, pdp):
    check = Validate(inventory, pdp)

    def judge(target, arguments=None, action=Action.TOOL, **around):
        around.setdefault("session", session_of())
        asked = listed(inventory, call(action, target, arguments))
        return check.judge(asked, context(**around), None)

    return judge


@pytest.fixture
def judge_result(inventory, pdp):
    check = Validate(inventory, pdp)

    def judge(payload, target="orders.search", action=Action.TOOL, *, is_error=False):
        result = Result(payload=payload, size=1, is_error=is_error)
        asked = listed(inventory, call(action, target))
        return check.judge_result(asked, context(), result, None)

    return judge


def test_arguments_that_fit_pass(judge):
    assert judge("orders.search", {"customer_id": "C-1", "limit": 3}) == PASS


def test_arguments_that_break_the_schema_are_refused_by_field_and_rule(judge):
    verdict = judge("orders.search", {"customer_id": 1, "extra": 2})
    assert verdict.code == "PC3010"
    assert "$.customer_id: type" in verdict.reason


def test_a_suspicious_value_is_refused_without_quoting_it(judge):
    verdict = judge("orders.search", {"customer_id": "C-1' OR '1'='1"})
    assert verdict == Deny(code="PC3011", reason="customer_id: sql")


def test_a_value_that_policy_tolerates_passes(judge, inventory):
    inventory.tolerate({"orders.search": {"customer_id": frozenset({"sql"})}})
    assert judge("orders.search", {"customer_id": "C-1' OR '1'='1"}) == PASS
    assert judge("orders.search", {"customer_id": "C-1\x07"}).code == "PC3011"


def test_a_granted_tool_that_its_server_does_not_offer_is_unknown(judge):
    assert judge("kb.search").code == "PC3003"
    assert judge("files.read", {"path": "/srv/docs/a"}).code == "PC3003"


def test_an_agent_cannot_tell_whether_a_tool_exists_that_it_may_not_use(judge):
    for arguments in ({}, {"customer_id": 1}, {"customer_id": "1' OR"}):
        exists, invented = judge("crm.read", arguments), judge("crm.invented", arguments)
        assert exists == invented
        assert exists.code == "PC3001"
    assert judge("crm.delete").code == "PC3002"
    assert judge("danger.invented").code == "PC3002"
    assert judge("orders.search", {}, session=session_of(grant=())).code == "PC3007"
    assert judge("orders.search", {}, agent="stranger", session=None).code == "PC3009"


@pytest.mark.parametrize("action", [action for action in Action if action != "tool"])
def test_what_is_not_a_tool_call_is_not_its_business(judge, judge_result, action):
    assert judge("x.y", {"id": "\x00"}, action=action) == PASS
    assert judge_result("anything", action=action) == PASS


def test_a_structured_result_must_fit_its_schema(judge_result):
    assert judge_result({"content": [], "structuredContent": {"total": 1}}) == PASS
    for payload in ({"structuredContent": {"total": "1"}}, {"content": []}, "text", None):
        assert judge_result(payload).code == "PC5009"


def test_errors_and_requests_for_input_owe_no_structure(judge_result):
    assert judge_result({"content": []}, is_error=True) == PASS
    assert judge_result({"resultType": "input_required", "inputRequests": {}}) == PASS
    assert judge_result({"resultType": "complete"}).code == "PC5009"
    assert judge_result({"content": []}, target="crm.read") == PASS
    assert judge_result({"content": []}, target="crm.gone") == PASS


def test_a_tool_that_is_listed_otherwise_meanwhile_is_judged_as_it_was_called(inventory, pdp):
    asked = listed(inventory, call(target="orders.search", arguments={"customer_id": "C-1"}))
    other = ToolSpec(name="search", input_schema=asked.tool.input_schema)
    inventory.learn("orders", [other])
    check, around = Validate(inventory, pdp), context(session=session_of())
    result = Result(payload={"content": []}, size=1)
    assert check.judge_result(asked, around, result, None).code == "PC5009"
    assert check.judge(asked, around, None).code == "PC3026"
    assert check.judge(listed(inventory, asked), around, None) == PASS
