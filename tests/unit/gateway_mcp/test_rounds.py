"""If these fail, a server questions a client unseen, or one caller's state works for another."""

import pytest

pytestmark = pytest.mark.anyio
ASK = {
    "resultType": "input_required",
    "requestState": "server-secret-state",
    "inputRequests": {
        "ok": {
            "method": "elicitation/create",
            "params": {"message": "Sure?", "mode": "form", "requestedSchema": {}},
        }
    },
}
PARAMS = {"name": "read_order", "arguments": {"id": "1"}}
YES = {"inputResponses": {"ok": {"action": "accept", "content": {}}}}


@pytest.fixture
def asking(gate):
    """A gate whose server asks first and is content when it gets its state back."""

    def script(message):
        state = message["params"].get("requestState")
        return [{"result": ASK if state is None else {"content": [], "state": state}}]

    gate.script["tools/call"] = script
    return gate


async def begin(gate, **kw):
    answer = await gate.modern("tools/call", PARAMS, **kw)
    return answer.json["result"]


async def test_question_is_judged_shown_and_answered(asking):
    shown = await begin(asking)
    assert shown["inputRequests"] == ASK["inputRequests"]
    assert "server-secret-state" not in shown["requestState"]
    params = PARAMS | YES | {"requestState": shown["requestState"]}
    answer = await asking.modern("tools/call", params)
    assert answer.json["result"]["state"] == "server-secret-state"
    sent = asking.channel.last("tools/call")["params"]
    assert sent["requestState"] == "server-secret-state"
    assert sent["inputResponses"] == YES["inputResponses"]
    judged = [call.name for call in asking.policy.seen]
    asked = ["read_order", "elicitation/create", "elicitation/create", "read_order"]
    assert judged == ["tools", *asked]  # first, whether the gate may list them for this agent
    again = asking.policy.seen[-1]
    assert again.asked.methods == {"ok": "elicitation/create"}
    assert [call.asked for call in asking.policy.seen[:-1]] == [None] * 4
    other = await begin(asking)
    await asking.modern("tools/call", PARAMS | YES | {"requestState": other["requestState"]})
    assert asking.policy.seen[-1].asked == again.asked
    pairs = [(e.action, bool(e.decision)) for e in asking.journal.events]
    assert pairs.count(("server_request", False)) == pairs.count(("server_request", True)) == 4


async def test_denied_question_withholds_the_result(asking):
    asking.policy.denied = {"elicitation/create"}
    answer = await asking.modern("tools/call", PARAMS)
    assert answer.json["error"]["data"]["code"] == "PC3002"
    assert b"Sure?" not in answer.body


async def test_denied_answer_does_not_reach_the_server(asking):
    shown = await begin(asking)
    asking.policy.withheld = {"elicitation/create"}
    params = PARAMS | YES | {"requestState": shown["requestState"]}
    answer = await asking.modern("tools/call", params)
    assert answer.json["error"]["data"]["code"] == "PC3012"
    assert len([m for m in asking.channel.sent if m["method"] == "tools/call"]) == 1


@pytest.mark.parametrize(
    ("agent", "session", "server", "params"),
    [
        ("a2", "s1", "orders", {}),
        ("a1", "s2", "orders", {}),
        ("a1", None, "orders", {}),
        ("a1", "s1", "crm", {}),
        ("a1", "s1", "orders", {"name": "drop_table"}),
        ("a1", "s1", "orders", {"arguments": {"id": "2"}}),
    ],
)
async def test_state_works_for_its_caller_and_its_request_only(
    asking, agent, session, server, params
):
    shown = await begin(asking)
    retry = PARAMS | params | YES | {"requestState": shown["requestState"]}
    context = asking.context(agent, session)
    answer = await asking.modern("tools/call", retry, context=context, server=server)
    assert (answer.status, answer.json["error"]["data"]["code"]) == (400, "PC1037")


async def test_altered_raw_missing_and_expired_states_are_refused(asking):
    shown = await begin(asking)
    token = shown["requestState"]
    flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    for state in (flipped, "server-secret-state", "", token + "=", "é"):
        answer = await asking.modern("tools/call", PARAMS | {"requestState": state})
        assert answer.json["error"]["data"]["code"] == "PC1037"
    answer = await asking.modern("tools/call", PARAMS | YES)
    assert answer.json["error"]["data"]["code"] == "PC1037"
    asking.clock.time += 1801
    answer = await asking.modern(
        "tools/call", PARAMS | {"requestState": token}, context=asking.context()
    )
    assert answer.json["error"]["data"]["code"] == "PC1037"


async def test_answer_to_what_was_not_asked_is_refused(asking):
    shown = await begin(asking)
    forged = {"inputResponses": {"admin": {"action": "accept"}}}
    params = PARAMS | forged | {"requestState": shown["requestState"]}
    answer = await asking.modern("tools/call", params)
    assert answer.json["error"]["data"]["code"] == "PC1036"


async def test_questions_without_a_state_of_the_servers_are_bound_all_the_same(asking):
    first = {k: v for k, v in ASK.items() if k != "requestState"}
    asking.script["tools/call"] = lambda m: [
        {"result": {"content": []} if "inputResponses" in m["params"] else first}
    ]
    shown = await begin(asking)
    params = PARAMS | YES | {"requestState": shown["requestState"]}
    answer = await asking.modern("tools/call", params)
    assert answer.json["result"] == {"content": []}
    assert "requestState" not in asking.channel.last("tools/call")["params"]


@pytest.mark.parametrize(
    "result",
    [
        ASK | {"inputRequests": {"x": {"method": "shell/run"}}},
        ASK | {"inputRequests": {"x": {"method": "roots/list", "id": 1}}},
        ASK | {"inputRequests": []},
        ASK | {"inputRequests": {"x": "roots/list"}},
        ASK | {"inputRequests": {str(n): {"method": "roots/list"} for n in range(17)}},
        ASK | {"requestState": 5},
    ],
)
async def test_malformed_questions_are_not_shown(asking, result):
    asking.script["tools/call"] = [{"result": result}]
    answer = await asking.modern("tools/call", PARAMS)
    assert answer.json["error"]["data"]["code"] == "PC5003"
    assert "PC5003" in asking.codes()


async def test_lists_cannot_ask(asking):
    asking.script["tools/list"] = [{"result": ASK | {"tools": []}}]
    answer = await asking.modern("tools/list")
    assert answer.json["error"]["data"]["code"] == "PC5003"
