"""If these fail, a sidecar's word about whose request it is counts for more than it should."""

import json

import pytest

from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.verdict import Allow, Deny
from portcullis.gateway.decisions import Decided
from portcullis.gateway.ext_authz import Authorizer
from portcullis.wire.envoy import authorization_pb2 as wire

pytestmark = pytest.mark.anyio
SIDECAR = Principal(
    kind=PrincipalKind.APPLICATION, id="spiffe://a/sidecar", credential="svid:1", expires_at=9.0
)


class Decisions:
    def __init__(self):
        self.asked, self.told = [], []

    async def decide(self, call, agent, session, asker):
        self.asked.append((agent, call.name, call.method, asker.trace_id))
        return Decided(verdict=Allow(rule="r"), event="e")

    def refused(self, problem, route, agent, asker):
        self.told.append((problem.code, agent))
        return Decided(verdict=Deny(code=problem.code, reason=problem.detail))


def stands_for(spiffe_id):
    if spiffe_id.trust_domain != "a":
        raise Problem("PC2007", "unknown")
    return PrincipalKind.AGENT, spiffe_id.path.rpartition("/")[2]


async def checked(header, principal="spiffe://a/agent/shown", **headers):
    http = wire.HttpRequest(
        method="GET", scheme="https", host="x.example", path="/a?q=1", headers=headers
    )
    asked = wire.CheckRequest(
        attributes=wire.AttributeContext(
            source=wire.Peer(principal=principal), request=wire.Request(http=http)
        )
    )
    decisions = Decisions()
    answer = await Authorizer(decisions, stands_for, header).check(asked, SIDECAR, "10.0.0.1:9")
    return answer, decisions


async def test_without_a_header_the_certificate_names_the_agent():
    parent = "00-" + "ab" * 16 + "-" + "1" * 16 + "-01"
    answer, decisions = await checked(None, **{"x-agent": "other", "traceparent": parent})
    assert decisions.asked == [("shown", "x.example:443", "GET", "ab" * 16)]
    assert answer.status.code == 0
    assert list(answer.ok_response.headers_to_remove) == []


@pytest.mark.parametrize("said", ["worker", "spiffe://a/agent/worker"])
async def test_with_one_it_does_alone_and_does_not_go_on(said):
    answer, decisions = await checked("x-agent", **{"x-agent": said})
    assert decisions.asked[0][0] == "worker"
    assert list(answer.ok_response.headers_to_remove) == ["x-agent"]


@pytest.mark.parametrize(
    ("header", "principal", "headers", "code"),
    [
        ("x-agent", "spiffe://a/agent/shown", {}, "PC2001"),
        ("x-agent", "spiffe://a/agent/shown", {"x-agent": "spiffe://b/agent/x"}, "PC2007"),
        (None, "", {"x-agent": "worker"}, "PC2001"),
        (None, "worker", {}, "PC2024"),
    ],
    ids=["no header", "foreign", "no certificate", "no SPIFFE ID"],
)
async def test_who_is_not_said_is_not_decided_on(header, principal, headers, code):
    answer, decisions = await checked(header, principal, **headers)
    assert decisions.asked == []
    assert decisions.told == [(code, "")]
    assert json.loads(answer.denied_response.body)["code"] == code
