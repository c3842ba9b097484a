"""If these fail, an agent gets a token that it should not have, or none that it should."""

import itertools
from urllib.parse import urlencode

import pytest

from holders import Holder, Issuer, peer_of
from portcullis.control.form import ACCESS_TOKEN, CLIENT_CREDENTIALS, GRANT, JWT
from portcullis.core.credential import Presented
from portcullis.core.lifecycle import State
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import Actor, Confirmation, Grant

NOW = 1_800_000_000
FORM = {"content-type": "application/x-www-form-urlencoded"}
URL = "http://testserver/v1/token"
TOOL = "tool:orders.search"


@pytest.fixture(autouse=True)
def strictly(world):
    """The gate as it is by default: no token that is bound to no key."""
    world.services.authority._bearer = False


@pytest.fixture
def holder():
    return Holder()


@pytest.fixture
def shop(world):
    return peer_of("/agent/shop-1", world.clock.now())


@pytest.fixture
def helper(gate, world):
    """Another agent, and its certificate."""
    world.register("agent", "helper")
    return peer_of("/agent/helper", world.clock.now())


def ask(gate, world, peer=None, proof="", headers=None, **fields):
    """What the token endpoint answers."""
    world.peer = peer
    head = FORM | ({"dpop": proof} if proof else {}) | (headers or {})
    try:
        return gate.post("/v1/token", content=urlencode(fields), headers=head)
    finally:
        world.peer = None


def own(gate, world, peer, **fields):
    return ask(gate, world, peer, grant_type=CLIENT_CREDENTIALS, **fields)


def swap(gate, world, token, peer=None, kind=ACCESS_TOKEN, **fields):
    fields = {"grant_type": GRANT, "subject_token": token, "subject_token_type": kind} | fields
    return ask(gate, world, peer, **fields)


def proof_of(holder, world, **fields):
    return holder.proof("POST", URL, world.clock.now(), **fields)


def session(gate, world, **fields):
    """The delegation that an application gets for a session of shop-1."""
    web = peer_of("/application/web", world.clock.now())
    world.peer = web
    body = {"agent": "shop-1", "user": "u", "prompt": "p"} | fields
    opened = gate.post("/v1/sessions", json=body).json()
    world.peer = None
    return opened


def issued(world, answer):
    assert answer.status_code == 200, answer.text
    return world.services.authority.verify(answer.json()["access_token"])


def refused(world, answer, code, error=None, status=400):
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert error is None or body["error"] == error
    assert answer.headers["cache-control"] == "no-store"
    event = world.recorder.last
    assert (event.type, event.verdict, event.code) == ("identity", "deny", code)
    return event


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


# delegations


def test_the_agent_of_a_session_gets_a_token_for_it(gate, world, shop):
    opened = session(gate, world)
    answer = swap(gate, world, opened["token"], shop)
    claims = issued(world, answer)
    assert (claims.sub, claims.sid) == (f"user:{opened['session']}", opened["session"])
    assert claims.act == Actor("agent:shop-1")
    assert claims.cnf == Confirmation(x5t=shop.thumbprint)
    shows = Presented(token=answer.json()["access_token"], peer=shop)
    principal = world.services.authority.authenticate(shows)
    assert (principal.id, principal.session, principal.chain) == ("shop-1", opened["session"], ())
    assert world.recorder.last.parameters["session"] == opened["session"]


def test_the_agent_of_a_session_may_show_itself_by_a_jwt_svid(gate, world, holder):
    opened = session(gate, world)
    actor = {
        "actor_token": world.issuer.svid("/agent/shop-1", world.clock.now()),
        "actor_token_type": JWT,
    }
    answer = swap(gate, world, opened["token"], proof=proof_of(holder, world), **actor)
    assert issued(world, answer).cnf == Confirmation(jkt=holder.jkt)
    answer = swap(gate, world, opened["token"], proof=proof_of(holder, world), **actor)
    refused(world, answer, "PC2036")


def test_a_delegation_is_worth_nothing_to_anybody_else(gate, world, helper, holder):
    token = session(gate, world)["token"]
    event = refused(world, swap(gate, world, token, helper), "PC2051", "unauthorized_client")
    assert event.principal == "helper"
    web = peer_of("/application/web", world.clock.now())
    refused(world, swap(gate, world, token, web), "PC2051", "unauthorized_client")
    actor = {
        "actor_token": world.issuer.svid("/agent/helper", world.clock.now()),
        "actor_token_type": JWT,
    }
    answer = swap(gate, world, token, proof=proof_of(holder, world), **actor)
    refused(world, answer, "PC2051", "unauthorized_client")
    refused(world, swap(gate, world, token), "PC2049")
    refused(world, swap(gate, world, token, proof=proof_of(holder, world)), "PC2049")
    actor["actor_token"] = world.issuer.svid("/agent/shop-1", world.clock.now())
    refused(world, swap(gate, world, token, **actor), "PC2040", "invalid_client", 401)


def test_a_token_ends_with_its_session(gate, world, shop):
    opened = session(gate, world, ttl_seconds=100)
    assert issued(world, swap(gate, world, opened["token"], shop)).exp == NOW + 100


def test_a_closed_session_gives_no_tokens(gate, world, shop):
    opened = session(gate, world)
    world.peer = peer_of("/application/web", world.clock.now())
    assert gate.delete(f"/v1/sessions/{opened['session']}").status_code == 204
    refused(world, swap(gate, world, opened["token"], shop), "PC2006")


def test_a_delegation_that_was_cut_gives_no_tokens(gate, world, shop):
    token = session(gate, world)["token"]
    jti = world.services.authority.verify(token).jti
    gate.portal.call(world.services.feed.cut, "credential", jti, "leaked")
    refused(world, swap(gate, world, token, shop), "PC4001")


def hand_on(gate, world, token, peer, other, **fields):
    audience = f"spiffe://example.test/agent/{other}"
    return swap(gate, world, token, peer, audience=audience, **fields)


def test_an_agent_lets_another_act_for_it(gate, world, shop, helper):
    mine = own(gate, world, shop).json()["access_token"]
    answer = hand_on(gate, world, mine, shop, "helper")
    body = answer.json()
    assert (body["token_type"], body["issued_token_type"]) == ("N_A", JWT)
    delegation = issued(world, answer)
    assert (delegation.sub, delegation.may_act) == ("agent:shop-1", Actor("agent:helper"))
    assert (delegation.cnf, delegation.client_id) == (None, "agent:shop-1")
    event = world.recorder.last
    assert (event.method, event.principal) == ("token.delegate", "shop-1")
    assert event.parameters["may_act"] == "agent:helper"
    assert event.parameters["from"] == world.services.authority.verify(mine).jti
    answer = swap(gate, world, body["access_token"], helper)
    shows = Presented(token=answer.json()["access_token"], peer=helper)
    principal = world.services.authority.authenticate(shows)
    assert (principal.id, principal.chain) == ("helper", ("shop-1",))
    assert world.recorder.last.parameters["chain"] == ["shop-1"]
    refused(world, swap(gate, world, body["access_token"], shop), "PC2051")


def test_delegation_in_a_session_keeps_session_and_chain(gate, world, shop, helper):
    world.register("agent", "third")
    opened = session(gate, world)
    token = swap(gate, world, opened["token"], shop).json()["access_token"]
    token = hand_on(gate, world, token, shop, "helper").json()["access_token"]
    token = swap(gate, world, token, helper).json()["access_token"]
    token = hand_on(gate, world, token, helper, "third").json()["access_token"]
    third = peer_of("/agent/third", world.clock.now())
    claims = issued(world, swap(gate, world, token, third))
    assert claims.act == Actor("agent:third", Actor("agent:helper", Actor("agent:shop-1")))
    principal = claims.principal()
    assert (principal.id, principal.session) == ("third", opened["session"])
    assert principal.chain == ("helper", "shop-1")


def test_a_chain_of_agents_comes_to_an_end(gate, world, shop):
    peers = [shop]
    for name in ("a2", "a3", "a4", "a5"):
        world.register("agent", name)
        peers.append(peer_of(f"/agent/{name}", world.clock.now()))
    token = swap(gate, world, session(gate, world)["token"], shop).json()["access_token"]
    for giver, taker in itertools.pairwise(peers[:4]):
        name = taker.id.path.rpartition("/")[2]
        token = hand_on(gate, world, token, giver, name).json()["access_token"]
        token = swap(gate, world, token, taker).json()["access_token"]
    refused(world, hand_on(gate, world, token, peers[3], "a5"), "PC2052")


def test_a_suspended_delegator_stops_the_chain(gate, world, shop, helper):
    mine = own(gate, world, shop).json()["access_token"]
    token = hand_on(gate, world, mine, shop, "helper").json()["access_token"]
    issued(world, swap(gate, world, token, helper))
    world.services.feed.hold(PrincipalKind.AGENT, "shop-1", State.SUSPENDED)
    refused(world, swap(gate, world, token, helper), "PC4001")


def test_a_delegation_ends_with_the_token_that_it_comes_from(gate, world, helper):
    shop = peer_of("/agent/shop-1", world.clock.now(), life=50)
    mine = own(gate, world, shop).json()["access_token"]
    token = hand_on(gate, world, mine, shop, "helper").json()["access_token"]
    assert issued(world, swap(gate, world, token, helper)).exp == NOW + 50


def test_only_the_holder_of_a_token_hands_it_on(gate, world, shop, helper, holder):
    mine = own(gate, world, shop).json()["access_token"]
    refused(world, hand_on(gate, world, mine, None, "helper"), "PC2040", "invalid_client", 401)
    refused(world, hand_on(gate, world, mine, helper, "helper"), "PC2041", "invalid_client", 401)
    svid = world.issuer.svid("/agent/shop-1", world.clock.now())
    bound = swap(gate, world, svid, kind=JWT, proof=proof_of(holder, world)).json()["access_token"]
    thief = Holder()
    refused(world, hand_on(gate, world, bound, None, "helper"), "PC2040", "invalid_client", 401)
    answer = hand_on(gate, world, bound, None, "helper", proof=proof_of(thief, world))
    refused(world, answer, "PC2047", "invalid_dpop_proof")
    answer = hand_on(gate, world, bound, helper, "helper", proof=proof_of(holder, world))
    refused(world, answer, "PC2005", "invalid_client", 401)
    answer = hand_on(gate, world, bound, None, "helper", proof=proof_of(holder, world))
    assert issued(world, answer).may_act == Actor("agent:helper")


@pytest.mark.parametrize(
    ("audience", "code"),
    [
        ("spiffe://example.test/agent/nobody", "PC2007"),
        ("spiffe://example.test/agent/shop-1", "PC2051"),
        ("spiffe://example.test/application/web", "PC2008"),
        ("spiffe://elsewhere.test/agent/helper", "PC2008"),
        ("spiffe://example.test/agent/", "PC2007"),
        ("helper", "PC2008"),
    ],
)
def test_there_is_no_delegation_for_anybody_but_a_registered_agent(
    gate, world, shop, helper, audience, code
):
    mine = own(gate, world, shop).json()["access_token"]
    refused(world, swap(gate, world, mine, shop, audience=audience), code)


def test_applications_do_not_delegate(gate, world, helper):
    web = peer_of("/application/web", world.clock.now())
    mine = own(gate, world, web).json()["access_token"]
    refused(world, hand_on(gate, world, mine, web, "helper"), "PC2051")


def test_a_suspended_agent_is_delegated_nothing(gate, world, shop, helper):
    world.services.feed.hold(PrincipalKind.AGENT, "helper", State.SUSPENDED)
    mine = own(gate, world, shop).json()["access_token"]
    refused(world, hand_on(gate, world, mine, shop, "helper"), "PC4001")


def test_a_bound_token_is_not_renewed_by_itself(gate, world, shop):
    mine = own(gate, world, shop).json()["access_token"]
    refused(world, swap(gate, world, mine, shop), "PC2008", "invalid_request")


def test_a_token_bound_to_no_key_gets_nothing(gate, world, helper):
    token = world.token("agent", "shop-1")
    refused(world, swap(gate, world, token), "PC2049")
    refused(world, hand_on(gate, world, token, None, "helper"), "PC2049")
    admin = world.token("operator", "ada", roles=("admin",))
    answer = swap(gate, world, admin, requested_subject="agent:shop-1", scope=TOOL)
    refused(world, answer, "PC2050", "invalid_scope")


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


# forgery


def test_forged_actors_and_altered_delegations_are_refused(gate, world, shop, helper):
    authority = world.services.authority
    mine = own(gate, world, shop).json()["access_token"]
    head, _, signature = mine.split(".")
    for payload in (session(gate, world)["token"].split(".")[1], mine.split(".")[1][:-4]):
        forged = f"{head}.{payload}.{signature}"
        refused(world, swap(gate, world, forged, shop), "PC2031")
    grant = Grant(
        sub="user:s2",
        sid="s2",
        client_id="application:web",
        auth_time=NOW,
        may_act=Actor("agent:shop-1"),
    )
    unknown = authority.issue(grant, expires_at=NOW + 60).token
    refused(world, swap(gate, world, unknown, shop), "PC2006")


def test_another_agents_session_is_not_entered_by_a_delegation(gate, world, helper):
    opened = session(gate, world)
    grant = Grant(
        sub=f"user:{opened['session']}",
        sid=opened["session"],
        client_id="application:web",
        auth_time=NOW,
        may_act=Actor("agent:helper"),
    )
    token = world.services.authority.issue(grant, expires_at=NOW + 60).token
    refused(world, swap(gate, world, token, helper), "PC2006")


@pytest.mark.parametrize(
    "fields",
    [
        {"actor_token": "x"},
        {"actor_token": "x", "actor_token_type": ACCESS_TOKEN},
        {"actor_token_type": JWT},
    ],
)
def test_an_actor_is_a_jwt_svid(gate, world, shop, fields):
    token = session(gate, world)["token"]
    refused(world, swap(gate, world, token, shop, **fields), "PC2008", "invalid_request")


def test_an_authorization_header_has_to_agree(gate, world, shop, helper):
    mine = own(gate, world, shop).json()["access_token"]
    for value in (f"Bearer {mine}", "Bearer spiffe"):
        issued(world, own(gate, world, shop, headers={"authorization": value}))
    theirs = own(gate, world, helper).json()["access_token"]
    answer = own(gate, world, shop, headers={"authorization": f"Bearer {theirs}"})
    refused(world, answer, "PC2041", "invalid_client", 401)
    answer = own(gate, world, shop, headers={"authorization": "Basic eDp5"})
    refused(world, answer, "PC2002")
