"""Who acts for whom: tokens that agents hand on, and what forgers make of them."""

import itertools

import pytest

from holders import Holder, peer_of
from portcullis.control.form import ACCESS_TOKEN, JWT
from portcullis.core.credential import Presented
from portcullis.core.lifecycle import State
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import Actor, Confirmation, Grant
from unit.control.exchange.asking import (
    NOW,
    TOOL,
    hand_on,
    issued,
    own,
    proof_of,
    refused,
    session,
    swap,
)

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
