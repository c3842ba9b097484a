"""If these fail, an agent gets a token that it should not have, or none that it should."""

import pytest

from holders import Holder, Issuer, peer_of
from portcullis.control.form import ACCESS_TOKEN, JWT
from portcullis.core.credential import Presented
from portcullis.core.lifecycle import State
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import Confirmation
from unit.control.exchange.asking import (
    NOW,
    TOOL,
    URL,
    hand_on,
    issued,
    own,
    proof_of,
    refused,
    session,
    swap,
)

# the caller's own token


@pytest.mark.parametrize("kind", ["agent", "application"])
def test_a_certificate_gets_a_token_bound_to_it(gate, world, kind):
    name = {"agent": "shop-1", "application": "web"}[kind]
    peer = peer_of(f"/{kind}/{name}", world.clock.now())
    answer = own(gate, world, peer)
    claims = issued(world, answer)
    body = answer.json()
    assert (body["token_type"], body["issued_token_type"]) == ("Bearer", ACCESS_TOKEN)
    assert (body["expires_in"], "scope" in body) == (599, False)
    assert answer.headers["cache-control"] == "no-store"
    assert (claims.sub, claims.client_id) == (f"{kind}:{name}", f"{kind}:{name}")
    assert claims.cnf == Confirmation(x5t=peer.thumbprint)
    shows = Presented(token=body["access_token"], peer=peer)
    assert world.services.authority.authenticate(shows).id == name
    event = world.recorder.last
    assert (event.type, event.method, event.verdict) == ("identity", "token.issue", "allow")
    assert (event.principal_kind, event.principal) == (kind, name)
    assert event.credential == claims.jti
    assert event.parameters["binding"] == f"x5t#S256:{peer.thumbprint}"
    assert body["access_token"] not in repr(event)


def test_no_token_is_made_of_what_was_rotated_while_it_was_looked_at(gate, world, holder):
    directory = world.services.directory
    look = directory.get

    def meanwhile(kind, name):
        found = look(kind, name)
        world.services.feed.outdate(kind, name, world.clock.now() + 0.001)
        world.clock.time += 0.01
        return found

    world.clock.time += 1
    stolen = world.issuer.svid("/agent/shop-1", world.clock.now())
    directory.get = meanwhile
    answer = swap(gate, world, stolen, kind=JWT, proof=proof_of(holder, world))
    refused(world, answer, "PC4001")


def test_an_operators_token_is_not_renewed_while_it_is_rotated(gate, world):
    world.register("operator", "ada", ("admin",))
    world.clock.time += 1
    stolen = world.token("operator", "ada", roles=("admin",))
    directory = world.services.directory
    look = directory.get

    def meanwhile(kind, name):
        found = look(kind, name)
        world.services.feed.outdate(kind, name, world.clock.now() + 0.001)
        world.clock.time += 0.01
        return found

    directory.get = meanwhile
    refused(world, swap(gate, world, stolen), "PC4001")


def test_a_token_ends_with_its_certificate(gate, world):
    peer = peer_of("/agent/shop-1", world.clock.now(), life=100)
    assert issued(world, own(gate, world, peer)).exp == NOW + 100
    world.clock.time += 100
    refused(world, own(gate, world, peer), "PC2022", "invalid_client", 401)


def test_without_a_certificate_there_are_no_client_credentials(gate, world, holder):
    event = refused(world, own(gate, world, None), "PC2020", "invalid_client", 401)
    assert event.principal == ""
    answer = own(gate, world, None, proof=proof_of(holder, world))
    refused(world, answer, "PC2020", "invalid_client", 401)


@pytest.mark.parametrize("path", ["/gateway/gate", "/operator/ada"])
def test_certificates_of_others_get_no_tokens(gate, world, path):
    world.register("operator", "ada", ("admin",))
    answer = own(gate, world, peer_of(path, world.clock.now()))
    refused(world, answer, "PC2004", "unauthorized_client")


def test_nobody_unknown_gets_a_token(gate, world):
    event = refused(world, own(gate, world, peer_of("/agent/nobody", world.clock.now())), "PC2007")
    assert (event.principal_kind, event.principal) == ("agent", "nobody")
    assert event.credential.startswith("svid:")
    refused(world, own(gate, world, peer_of("/ns/shop", world.clock.now())), "PC2007")


@pytest.mark.parametrize("client", ["agent:shop-1", "spiffe://example.test/agent/shop-1"])
def test_a_client_may_say_who_it_is_if_it_is_true(gate, world, shop, client):
    issued(world, own(gate, world, shop, client_id=client))
    answer = own(gate, world, shop, client_id="agent:helper")
    refused(world, answer, "PC2005", "invalid_client", 401)


@pytest.mark.parametrize("resource", ["http://testserver", "http://testserver/mcp/orders"])
def test_a_token_for_a_resource_of_the_gate_is_one_for_the_gate(gate, world, shop, resource):
    issued(world, own(gate, world, shop, resource=resource))


@pytest.mark.parametrize(
    "resource", ["https://elsewhere.test/mcp", "http://testserver.evil.test/", "mcp"]
)
def test_there_is_no_token_for_another_resource(gate, world, shop, resource):
    refused(world, own(gate, world, shop, resource=resource), "PC2008", "invalid_target")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"audience": "elsewhere"}, "invalid_target"),
        ({"audience": "spiffe://example.test/agent/helper"}, "invalid_target"),
        ({"subject_token": "x"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"requested_subject": "agent:helper"}, "invalid_request"),
        ({"password": "x"}, "invalid_request"),
    ],
)
def test_client_credentials_are_for_oneself(gate, world, shop, helper, fields, error):
    refused(world, own(gate, world, shop, **fields), "PC2008", error)


def test_a_suspended_agent_a_cut_certificate_and_a_stale_feed_get_nothing(gate, world, shop):
    feed = world.services.feed
    gate.portal.call(feed.cut, "credential", f"svid:{shop.serial}", "stolen")
    refused(world, own(gate, world, shop), "PC4001")
    issued(world, own(gate, world, peer_of("/agent/shop-1", world.clock.now())))
    feed.hold(PrincipalKind.AGENT, "shop-1", State.SUSPENDED)
    refused(world, own(gate, world, peer_of("/agent/shop-1", world.clock.now())), "PC4001")
    feed._stale = True
    answer = own(gate, world, shop)
    refused(world, answer, "PC4002", "temporarily_unavailable", 503)


def test_no_token_leaves_unrecorded(gate, world, shop):
    world.recorder.full = True
    answer = own(gate, world, shop)
    assert (answer.status_code, answer.json()["code"]) == (503, "PC6001")
    assert "access_token" not in answer.json()


# a JWT-SVID and a DPoP proof


def test_a_jwt_svid_and_a_proof_get_a_token_bound_to_the_proofs_key(gate, world, holder):
    svid = world.issuer.svid("/agent/shop-1", world.clock.now())
    answer = swap(gate, world, svid, kind=JWT, proof=proof_of(holder, world))
    assert {answer.json()["token_type"]} == {"DPoP"}
    claims = issued(world, answer)
    assert (claims.sub, claims.cnf) == ("agent:shop-1", Confirmation(jkt=holder.jkt))
    assert world.recorder.last.parameters["binding"] == f"jkt:{holder.jkt}"


def test_a_jwt_svid_is_good_for_one_exchange(gate, world, holder):
    svid = world.issuer.svid("/agent/shop-1", world.clock.now())
    issued(world, swap(gate, world, svid, kind=JWT, proof=proof_of(holder, world)))
    thief = Holder()
    event = refused(
        world, swap(gate, world, svid, kind=JWT, proof=proof_of(thief, world)), "PC2036"
    )
    assert event.principal == "shop-1"


def test_a_proof_is_good_for_one_exchange(gate, world, holder):
    proof = proof_of(holder, world)
    for code in (None, "PC2046"):
        svid = world.issuer.svid("/agent/shop-1", world.clock.now())
        answer = swap(gate, world, svid, kind=JWT, proof=proof)
        if code is None:
            issued(world, answer)
        else:
            refused(world, answer, code, "invalid_dpop_proof")


def test_a_jwt_svid_alone_is_not_enough(gate, world):
    svid = world.issuer.svid("/agent/shop-1", world.clock.now())
    refused(world, swap(gate, world, svid, kind=JWT), "PC2040", "invalid_client", 401)


@pytest.mark.parametrize("fields", [{"issued": -1}, {"iat": None}])
def test_a_jwt_svid_from_before_the_restart_may_have_been_used(gate, world, holder, fields):
    at = world.clock.now() + fields.pop("issued", 0)
    svid = world.issuer.svid("/agent/shop-1", at, **fields)
    answer = swap(gate, world, svid, kind=JWT, proof=proof_of(holder, world))
    refused(world, answer, "PC2036")


def test_a_jwt_svid_for_somebody_else_is_refused(gate, world, holder):
    now = world.clock.now()
    for svid, code in (
        (world.issuer.svid("/agent/shop-1", now, aud="spiffe://o.test/x"), "PC2032"),
        (Issuer("example.test").svid("/agent/shop-1", now), "PC2031"),
        (Issuer("unknown.test").svid("/agent/shop-1", now), "PC2027"),
        (world.elsewhere.svid("/agent/shop-1", now), "PC2007"),
        (world.issuer.svid("/agent/shop-1", now - 400), "PC2003"),
        (world.issuer.svid("/agent/shop-1", now, header={"typ": "at+jwt"}), "PC2035"),
    ):
        answer = swap(gate, world, svid, kind=JWT, proof=proof_of(holder, world))
        refused(world, answer, code)


def test_on_a_connection_of_another_a_jwt_svid_is_worth_nothing(gate, world, helper):
    svid = world.issuer.svid("/agent/shop-1", world.clock.now())
    answer = swap(gate, world, svid, helper, kind=JWT)
    refused(world, answer, "PC2005", "invalid_client", 401)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda h, w: h.proof("GET", URL, w.clock.now()), "PC2044"),
        (lambda h, w: h.proof("POST", "http://evil.test/v1/token", w.clock.now()), "PC2044"),
        (lambda h, w: h.proof("POST", URL, w.clock.now() - 70), "PC2045"),
        (lambda h, w: h.proof("POST", URL, w.clock.now(), key=Holder().key), "PC2043"),
        (lambda h, w: "nonsense", "PC2042"),
    ],
)
def test_a_bad_proof_gets_nothing_and_spends_nothing(gate, world, holder, make, code):
    svid = world.issuer.svid("/agent/shop-1", world.clock.now())
    answer = swap(gate, world, svid, kind=JWT, proof=make(holder, world))
    refused(world, answer, code, "invalid_dpop_proof")
    issued(world, swap(gate, world, svid, kind=JWT, proof=proof_of(holder, world)))


def test_the_host_header_does_not_make_another_servers_proof_one_for_us(gate, world, holder):
    proof = holder.proof("POST", "http://evil.test/v1/token", world.clock.now())
    svid = world.issuer.svid("/agent/shop-1", world.clock.now())
    answer = swap(gate, world, svid, kind=JWT, proof=proof, headers={"host": "evil.test"})
    refused(world, answer, "PC2044")


# scopes


def test_a_scope_within_policy_is_granted_and_said(gate, world, shop):
    world.words = {TOOL, "model:gpt-5.2"}
    answer = own(gate, world, shop, scope=f"{TOOL} model:gpt-5.2")
    assert answer.json()["scope"] == "model:gpt-5.2 tool:orders.search"
    assert issued(world, answer).principal().scope == ("model:gpt-5.2", TOOL)
    (context,) = world.asked
    assert (context.principal.id, context.session) == ("shop-1", None)
    assert world.recorder.last.parameters["scope"] == "model:gpt-5.2 tool:orders.search"


@pytest.mark.parametrize("scope", [TOOL, "admin", "tool:orders", f"{TOOL}  {TOOL}"])
def test_a_scope_beyond_policy_or_of_another_form_is_refused(gate, world, shop, scope):
    refused(world, own(gate, world, shop, scope=scope), "PC2050", "invalid_scope")


def test_a_scope_only_narrows_from_token_to_token(gate, world, shop, helper):
    other = "tool:orders.refund"
    world.words = {TOOL, other}
    mine = own(gate, world, shop, scope=TOOL).json()["access_token"]
    answer = hand_on(gate, world, mine, shop, "helper", scope=other)
    refused(world, answer, "PC2050", "invalid_scope")
    answer = hand_on(gate, world, mine, shop, "helper")
    assert answer.json()["scope"] == TOOL
    token = answer.json()["access_token"]
    refused(world, swap(gate, world, token, helper, scope=f"{TOOL} {other}"), "PC2050")
    assert issued(world, swap(gate, world, token, helper)).scope == TOOL


def test_policy_is_asked_about_the_whole_chain_in_its_session(gate, world, shop, helper):
    world.words = {TOOL}
    opened = session(gate, world)
    token = swap(gate, world, opened["token"], shop).json()["access_token"]
    token = hand_on(gate, world, token, shop, "helper").json()["access_token"]
    world.asked.clear()
    issued(world, swap(gate, world, token, helper, scope=TOOL))
    (context,) = world.asked
    assert (context.principal.id, context.principal.chain) == ("helper", ("shop-1",))
    assert context.session.id == opened["session"]
