"""If these fail, an agent reads columns and records that are not for it, or nobody is asked."""

import json
import re
import secrets

import msgspec
import pytest

import needles
from e2e.matrix.cells import GUARD, MCP, MCP_HTTP, TOOLS, cells, until
from e2e.matrix.deployment import COUNTED, OBLIGED, operator
from e2e.matrix.routes import say_yes
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio
IBAN = "DE89370400440532013000"
SECRET = "hunter-two-hunter-two"  # noqa: S105 - an example
CUSTOMERS = {"customers": [{"id": 4711, "name": "Ada", "iban": IBAN, "note": SECRET}]}


@pytest.fixture(scope="module")
async def obliged(deployment):
    return (await deployment.open(OBLIGED))[1]


def result(route, document):
    """What a tool returns that says ``document``."""
    if route.name == GUARD:
        return document
    said = {"type": "text", "text": json.dumps(document)}
    return {"content": [said], "structuredContent": document}


@cells("column-masks", "result", *TOOLS)
async def test_masked_columns_do_not_reach_the_agent(
    route, obliged, deployment, told, recorded, tmp_path
):
    seen = await route.told(result(route, CUSTOMERS), tmp_path, token=obliged)
    assert seen.passed
    (customer,) = json.loads(seen.text)["customers"]
    assert re.fullmatch(r"<ID#[0-9a-f]{16}>", customer.pop("id"))
    assert customer == {"name": "Ada", "iban": "[IBAN]"}
    await until(lambda: "IBAN" in repr([event.findings for event in told()]), 5)
    if route.name != "mcp-stdio":  # which would start a process for it
        whole = await route.told(result(route, CUSTOMERS), tmp_path)
        assert SECRET in whole.text, "they are masked for whom policy says"
    for other in (f"{IBAN} belongs to Ada", {"accounts": [{"iban": IBAN}]}):
        what = other if isinstance(other, str) else result(route, other)
        withheld = await route.told(what, tmp_path, token=obliged)
        assert withheld.code == "PC3030"
        assert IBAN not in withheld.text
        await recorded("PC3030", check="oblige", name="misbehave")
    assert needles.files_with(IBAN, deployment.stage.gate.audit_directory) == []


@cells("column-masks", "result", *MCP)
async def test_what_a_tool_says_when_it_fails_does_not_reach_the_agent(route, obliged, tmp_path):
    said = {"isError": True, "content": [{"type": "text", "text": f"no such IBAN: {IBAN}"}]}
    seen = await route.told(said, tmp_path, token=obliged)
    assert seen.failed
    assert "The tool failed" in seen.text
    assert IBAN not in seen.text


@cells("column-masks", "stream", *MCP)
async def test_a_server_says_nothing_beside_results_that_are_masked(
    route, obliged, deployment, tmp_path
):
    del deployment.logged[:]
    log = {"method": "notifications/message", "params": {"level": "info", "data": IBAN}}
    for what in (IBAN, log):
        seen = await route.told(what, tmp_path, pieces=True, token=obliged)
        assert seen.code == "PC3030", "its result is a text"
        assert IBAN not in "".join(seen.pieces)
    await until(lambda: "columns of this server's results" in repr(deployment.logged), 5)
    assert IBAN not in repr(deployment.logged)
    if route.name != "mcp-stdio":
        assert IBAN in "".join((await route.told(IBAN, tmp_path, pieces=True)).pieces)


@cells("column-masks", "stream", *MCP_HTTP)
async def test_a_server_asks_nothing_while_its_results_are_masked(route, obliged, recorded):
    options = {"elicitation_callback": say_yes}
    asked = {"method": "elicitation/create", "options": options}
    assert (await route.call("ask", **asked)).text == "answered"
    seen = await route.call("ask", token=obliged, **asked)
    assert seen.code in {"PC3032", "PC3030"}, "what it says when it is refused is no JSON"
    await recorded("PC3032", check="oblige")


def item(namespace, kind, name):
    return {"namespace": namespace, "kind": kind, "name": name}


MIXED = {
    "items": [
        item("monitoring", "ConfigMap", "own"),
        item("kube-system", "ConfigMap", "foreign"),
        item("monitoring", "Secret", "secret"),
        {"kind": "ConfigMap", "name": "silent"},
    ]
}


@cells("data-access", "request", *TOOLS)
async def test_only_data_that_the_role_names_is_asked_for(route, obliged, recorded):
    asked = {"namespace": "monitoring", "kind": "cm", "text": '{"items": []}'}
    assert (await route.call("records", token=obliged, **asked)).passed
    before = len(route.upstream_saw())
    for other in ({"namespace": "kube-system"}, {"kind": "secret"}, {"kind": "pods"}):
        seen = await route.call("records", token=obliged, **(asked | other))
        assert seen.code == "PC3029"
        await recorded("PC3029", check="authorize", name="records")
    del asked["namespace"]
    assert (await route.call("records", token=obliged, **asked)).code == "PC3029"
    assert '"records"' not in json.dumps(route.upstream_saw()[before:])


@cells("data-access", "result", *TOOLS)
async def test_only_records_that_the_role_may_reach_come_back(route, obliged, recorded, told):
    asked = {"token": obliged, "namespace": "monitoring", "kind": "cm"}
    seen = await route.call("records", text=json.dumps(MIXED), **asked)
    assert seen.passed
    assert json.loads(seen.text) == {"items": MIXED["items"][:1]}
    await until(lambda: "ROWS" in repr([event.findings for event in told()]), 5)
    for foreign in (json.dumps(item("kube-system", "ConfigMap", "foreign")), "foreign"):
        withheld = await route.call("records", text=foreign, **asked)
        assert withheld.code in {"PC3030", "PC3031"}
        assert "foreign" not in withheld.text
        await recorded(withheld.code, check="oblige", name="records")


@cells("obligations", "request", *TOOLS)
async def test_two_people_let_a_call_through_and_what_is_logged_is_logged(
    route, obliged, deployment, recorded, told
):
    text = secrets.token_hex(8)

    def asked():
        return sum(text in repr(one) for one in route.upstream_saw())

    held = await route.call("write", token=obliged, text=text)
    approval = re.search(r"approval ([0-9a-f]{32}) is pending", held.text)[1]
    await recorded("PC3040", verdict="hold", approval=approval, check="oblige")
    approving = deployment.stage.gate.services.approvals("test")
    assert (await approving.approve(operator(), approval, "one")).state == "pending"
    waits = await route.call("write", token=obliged, text=text)
    assert f"approval {approval} is pending" in waits.text
    with pytest.raises(Problem, match="PC3046"):
        await approving.approve(operator(), approval, "the same once more")
    assert asked() == 0
    first = operator()
    second = msgspec.structs.replace(first.principal, id="local-other")
    other = msgspec.structs.replace(first, principal=second)
    assert (await approving.approve(other, approval, "two")).state == "approved"
    assert (await route.call("write", token=obliged, text=text)).passed
    assert asked() == 1
    await until(lambda: text in repr([one.parameters for one in told()]), 5)


@cells("limit", "request", *MCP_HTTP, GUARD)
async def test_a_role_has_so_many_calls_in_each_session(route, deployment, recorded):
    session, token = await deployment.open(COUNTED)
    for _ in range(2):
        assert (await route.good(token)).passed
    assert (await route.good(token)).code == "PC3071"
    event = await recorded("PC3071", check="limit", session=session)
    assert event.reason.startswith(f"limit role.{COUNTED}: 2 calls per session")
    _, other = await deployment.open(COUNTED)
    assert (await route.good(other)).passed
