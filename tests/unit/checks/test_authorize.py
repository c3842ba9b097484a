import msgspec
import pytest

from policies import PAIR, call, chained, context, pdp_of, session_of
from portcullis.checks.authorize import Authorize
from portcullis.core.call import Action, Result
from portcullis.core.verdict import PASS, Allow, Deny, Transform


@pytest.fixture
def listed(pdp):
    def listed(target, payload, *, is_error=False, action=Action.LIST, **around):
        result = Result(payload=payload, size=1, is_error=is_error)
        return Authorize(pdp).judge_result(call(action, target), context(**around), result, None)

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


# scopes


def narrowed(around, *words):
    principal = msgspec.structs.replace(around.principal, scope=words)
    return msgspec.structs.replace(around, principal=principal)


@pytest.fixture(scope="module")
def pair():
    """Decides for the agents ``shop`` and ``helper``."""
    return Authorize(pdp_of(PAIR))


@pytest.mark.parametrize(
    ("action", "target", "word", "other"),
    [
        ("model", ".gpt-5.2", "model:gpt-5.2", "model:gpt-5"),
        ("tool", "kb.search", "tool:kb.search", "tool:kb.read"),
        ("tool", "kb.search", "tool:kb.*", "tool:orders.*"),
        ("resource", "kb.memo://one", "resource:kb.memo://one", "resource:kb.memo://two"),
        ("prompt", "kb.hello", "prompt:kb.hello", "tool:kb.hello"),
        ("complete", "kb.hello", "prompt:kb.hello", "prompt:kb.bye"),
        ("complete", "kb.memo://one", "resource:kb.memo://one", "tool:kb.*"),
    ],
)
def test_a_scope_narrows_what_policy_allows(pair, action, target, word, other):
    asked = call(action, target)
    assert isinstance(pair.judge(asked, context("shop"), None), Allow)
    assert isinstance(pair.judge(asked, narrowed(context("shop"), word), None), Allow)
    for words in ((other,), ()):
        verdict = pair.judge(asked, narrowed(context("shop"), *words), None)
        assert isinstance(verdict, Deny)
        assert verdict.code == "PC3013"


def test_a_scope_widens_nothing(pair):
    around = narrowed(context("shop"), "tool:kb.write")
    assert pair.judge(call("tool", "kb.write"), around, None).code == "PC3001"


@pytest.mark.parametrize("action", ["list", "protocol", "server_request"])
def test_what_a_scope_is_not_about_is_policys_alone(pair, action):
    asked = call(action, "kb.tools")
    free = pair.judge(asked, context("shop"), None)
    assert pair.judge(asked, narrowed(context("shop"), "model:gpt-5.2"), None) == free


def shown(pair, around, kind, *names):
    member, key = {
        "tools": ("tools", "name"),
        "resource_templates": ("resourceTemplates", "uriTemplate"),
    }[kind]
    result = Result(payload={member: [{key: name} for name in names]}, size=1)
    verdict = pair.judge_result(call("list", f"kb.{kind}"), around, result, None)
    kept = result.payload if verdict == PASS else verdict.payload
    return [entry[key] for entry in kept[member]]


def test_a_scope_filters_lists_too(pair):
    around = narrowed(context("shop"), "tool:kb.read", "tool:kb.write")
    assert shown(pair, context("shop"), "tools", "search", "read", "write") == ["search", "read"]
    assert shown(pair, around, "tools", "search", "read", "write") == ["read"]
    assert shown(pair, around, "resource_templates", "memo://one") == []


# on behalf of others


def test_who_acts_for_another_may_do_what_both_may(pair):
    helper = chained(context("helper"), "shop")
    assert isinstance(pair.judge(call("tool", "kb.search"), helper, None), Allow)
    verdict = pair.judge(call("tool", "kb.write"), helper, None)
    assert verdict.code == "PC3014"
    assert "shop" in verdict.reason
    assert "PC3001" in verdict.reason
    assert pair.judge(call("tool", "kb.read"), helper, None).code == "PC3001"
    assert pair.judge(call("model", ".claude-5"), helper, None).code == "PC3014"
    assert isinstance(pair.judge(call("model", ".gpt-5.2"), helper, None), Allow)


def test_every_delegator_is_asked_and_an_unknown_one_stops_the_call(pair):
    asked = call("tool", "kb.search")
    for chain in (("shop", "nobody"), ("nobody", "shop"), ("nobody",)):
        assert pair.judge(asked, chained(context("helper"), *chain), None).code == "PC3014"


def test_a_list_holds_what_both_may_use(pair):
    helper = chained(context("helper"), "shop")
    assert shown(pair, helper, "tools", "search", "read", "write") == ["search"]


def test_who_acts_in_anothers_session_is_held_to_its_subject(pair):
    session = session_of(agent="shop")
    helper = chained(context("helper", session=session), "shop")
    good = call("tool", "orders.find", {"customer_id": "C-1"})
    bad = call("tool", "orders.find", {"customer_id": "C-2"})
    assert isinstance(pair.judge(good, helper, None), Allow)
    assert pair.judge(bad, helper, None).code == "PC3004"


def test_a_session_of_anybody_outside_the_chain_is_not_entered(pair):
    session = session_of(agent="stranger")
    for around in (
        context("helper", session=session),
        chained(context("helper", session=session), "shop"),
    ):
        verdict = pair.judge(call("tool", "kb.search"), around, None)
        assert isinstance(verdict, Deny)
