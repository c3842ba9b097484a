"""Another PDP is asked besides: the real OPA with a bundle of ours, and one that misbehaves."""

import asyncio
import ssl
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

import standins
from doubting import doubting
from e2e.decisions.conftest import POLICY, asked, request
from opa import needs_opa, opa_server
from policies import write
from portcullis.cli.policy import app
from portcullis.wire.certificates import load_identity, pem

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def doubter():
    with doubting() as made:
        yield made


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The same policy without ``kb.say``, built as for an OPA."""
    folder = tmp_path_factory.mktemp("narrower")
    narrower = POLICY.replace("kb.say,", "").replace("  kb.say: {risk: modify}\n", "")
    made = write(folder / "policy", narrower)
    result = CliRunner().invoke(app, ["build", str(made), "-o", str(folder / "bundle")])
    assert result.exit_code == 0, result.output
    return folder / "bundle"


@pytest.fixture(scope="module")
def real(bundle):
    with opa_server(bundle) as url:
        yield url


@pytest.fixture(scope="module")
async def asking(tmp_path_factory, anyio_backend, doubter, real):
    opinions = {
        "real": {"opa": f"{real}/v1/data/portcullis/decision", "seconds": 5, "actions": ["tool"]},
        "other": {"authzen": f"{doubter.url}/access/v1/evaluation", "seconds": 0.4},
    }
    async with asked(tmp_path_factory.mktemp("opinions"), opinions) as made:
        yield made


@pytest.fixture(autouse=True)
def agreeing(doubter):
    doubter.says({"decision": True})


@needs_opa
async def test_the_real_opa_narrows_what_the_gate_allows(asking):
    assert (await asking.may("call", "tool", "kb.search"))["decision"]
    said = await asking.may("call", "tool", "kb.say")
    assert said["context"]["code"] == "PC3036"
    assert said["context"]["reason"] == "the PDP real does not allow it"


@needs_opa
@pytest.mark.control("second-opinion", "authzen", "request")
async def test_another_pdp_is_asked_what_is_asked_of_us(asking, doubter):
    doubter.asked.clear()
    assert (await asking.may("call", "tool", "kb.search", arguments={"limit": 3}))["decision"]
    (_, _, question) = doubter.asked[0]
    assert question["subject"] == {"type": "agent", "id": "worker", "properties": {}}
    assert question["action"] == {"name": "call"}
    assert question["resource"] == {
        "type": "tool",
        "id": "kb.search",
        "properties": {"arguments": {"limit": 3}},
    }
    doubter.says({"decision": False})
    assert (await asking.may("call", "tool", "kb.search"))["context"]["code"] == "PC3036"


@needs_opa
@pytest.mark.parametrize(
    "how",
    [
        {"answer": {}},
        {"answer": {"decision": "true"}},
        {"answer": {"decision": 1}},
        {"answer": [True]},
        {"answer": b'{"decision": true, "decision": false}'},
        {"answer": b"true"},
        {"answer": {"decision": True}, "status": 500},
        {"answer": {"decision": True}, "status": 302},
        {"answer": {"decision": True, "more": "x" * 70_000}},
        {"answer": {"decision": True}, "seconds": 1.0},
    ],
    ids=["none", "text", "number", "list", "twice", "bare", "500", "302", "large", "late"],
)
async def test_whatever_is_no_answer_denies(asking, doubter, how):
    doubter.says(how.pop("answer"), **how)
    said = await asking.may("ask", "model", "gpt-5")
    assert (said["decision"], said["context"]["code"]) == (False, "PC3037")
    assert "x" * 9 not in said["context"]["reason"]


@needs_opa
async def test_it_is_not_told_of_what_policy_refuses(asking, doubter):
    doubter.asked.clear()
    assert not (await asking.may("ask", "model", "other"))["decision"]
    assert doubter.asked == []


@needs_opa
@pytest.mark.control("second-opinion", "ext-authz", "request")
async def test_a_sidecar_is_told_its_no(asking, doubter):
    async with asking.channel() as check:
        assert (await check(request(), timeout=10)).status.code == 0
        doubter.says({"decision": False})
        answer = await check(request(), timeout=10)
    assert "PC3036" in answer.denied_response.body


@needs_opa
@pytest.mark.control("second-opinion", "egress", "request")
async def test_no_tunnel_is_opened_against_its_no(asking, doubter):
    doubter.says({"decision": False})
    url = urlsplit(asking.stage.gate.urls["egress"])
    context = ssl.create_default_context(cadata=pem(asking.stage.gate.domain.trust.anchors()))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    load_identity(context, *asking.svid("/agent/worker"))
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(
            url.hostname, url.port, ssl=context, server_hostname="localhost"
        )
        target = b"open.partner.example:443"
        writer.write(b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (target, target))
        answer = await reader.read(4096)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"PC3036" in answer
    found = await standins.eventually(
        asking.stage, lambda event: (event.route, event.code) == ("egress", "PC3036")
    )
    assert found.check == "opinion"
