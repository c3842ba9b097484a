import pytest

from policies import call, context, session_of
from portcullis.checks.authorize import Authorize
from portcullis.core.call import Action, Result
from portcullis.core.verdict import PASS, Allow, Transform


@pytest.fixture
def listed(pdp):
    def listed(target, payload, *, is_error=False, action=Action.LIST, **around):
        result = Result(payload=payload, size=1, is_error=is_error)
        return Authorize(pdp).judge_result(call(action, target), context(**around), result)

    return listed


def test_the_policy_decides(pdp):
    around = context(session=session_of())
    check = Authorize(pdp)
    allowed = check.judge(call(arguments={"customer_id": "C-1"}), around, None)
    assert isinstance(allowed, Allow)
    assert allowed.clear == ("customer_id",)
    assert check.judge(call(arguments={"customer_id": "C-2"}), around, None).code == "PC3004"


@pytest.mark.parametrize(
    ("target", "member", "key", "good", "bad"),
    [
        ("orders.tools", "tools", "name", "search", "drop"),
        ("files.resources", "resources", "uri", "memo://one", "memo://two"),
        (
            "files.resource_templates",
            "resourceTemplates",
            "uriTemplate",
            "file:///srv/docs/{name}",
            "file:///{path}",
        ),
        ("files.prompts", "prompts", "name", "summarise", "other"),
    ],
)
def test_an_agent_is_shown_only_what_it_may_use(listed, target, member, key, good, bad):
    keep = {key: good, "title": "kept as it is"}
    payload = {member: [{key: bad}, keep, {"title": "nameless"}, 5], "nextCursor": "n"}
    verdict = listed(target, payload)
    assert verdict == Transform(payload={member: [keep], "nextCursor": "n"})
    assert len(payload[member]) == 4


def test_a_list_of_which_all_may_be_shown_is_left_alone(listed):
    assert listed("orders.tools", {"tools": [{"name": "search"}]}) == PASS
    assert listed("orders.tools", {"tools": []}) == PASS


def test_a_sessions_grant_narrows_the_list(listed):
    payload = {"tools": [{"name": "search"}, {"name": "export"}]}
    around = {"session": session_of(grant=("orders.export",))}
    assert listed("orders.tools", payload, **around).payload == {"tools": [{"name": "export"}]}


@pytest.mark.parametrize("payload", [None, [], {}, {"tools": None}, {"tools": {"name": "search"}}])
def test_a_list_that_is_none_is_not_passed_on(listed, payload):
    assert listed("orders.tools", payload).code == "PC5003"


def test_a_list_of_an_unknown_kind_is_not_passed_on(listed):
    assert listed("orders.secrets", {"secrets": []}).code == "PC5003"


def test_errors_and_other_results_pass(listed):
    assert listed("orders.tools", {"code": -1}, is_error=True) == PASS
    assert listed("orders.search", {"tools": []}, action=Action.TOOL) == PASS
