"""If these fail, a token is good for somebody who does not hold its key."""

import pytest

from holders import Holder, peer_of
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.identity.tokens import Actor, Confirmation
from unit.identity.tokens.making import NOW, issue, refusal, shown

URL = "https://gate.test/mcp/orders"


# who shows nothing, a certificate, or both


def test_nothing_shown_is_nobody(strict):
    assert refusal(strict, shown("")) == "PC2001"
    assert refusal(strict, shown("spiffe")) == "PC2020"


@pytest.mark.parametrize("kind", ["agent", "application", "gateway"])
@pytest.mark.parametrize("token", ["", "spiffe"])
def test_a_certificate_alone_is_a_credential(strict, kind, token):
    peer = peer_of(f"/{kind}/shop-1", NOW)
    assert strict.authenticate(shown(token, peer=peer)) == Principal(
        kind=PrincipalKind(kind),
        id="shop-1",
        credential=f"svid:{peer.serial}",
        expires_at=NOW + 3600,
        svid=peer.serial,
        issued_at=NOW,
    )


def test_a_certificate_that_expires_on_an_open_connection_is_worth_nothing(strict, clock):
    peer = peer_of("/agent/shop-1", NOW, life=10)
    token = issue(strict, cnf=Confirmation(x5t=peer.thumbprint))
    clock.time = NOW + 10
    for shows in (shown("", peer=peer), shown(token, peer=peer)):
        assert refusal(strict, shows) == "PC2022"


def test_a_foreign_identity_is_whom_it_is_registered_for_and_never_whom_its_path_names(strict):
    peer = peer_of("/ns/shop", NOW, domain="elsewhere.test")
    assert strict.authenticate(shown("", peer=peer)).id == "shop-1"
    posing = peer_of("/agent/shop-1", NOW, domain="elsewhere.test")
    assert refusal(strict, shown("", peer=posing)) == "PC2007"
    nameless = peer_of("/ns/shop", NOW)
    assert refusal(strict, shown("", peer=nameless)) == "PC2007"


def test_a_token_bound_to_a_certificate_is_good_under_that_certificate_only(strict):
    mine, renewed, other = (
        peer_of(f"/agent/{name}", NOW) for name in ("shop-1", "shop-1", "other")
    )
    token = issue(strict, cnf=Confirmation(x5t=mine.thumbprint))
    for _ in range(2):
        principal = strict.authenticate(shown(token, peer=mine))
        assert (principal.id, principal.svid) == ("shop-1", mine.serial)
        assert principal.credential == strict.verify(token).jti
        assert refusal(strict, shown(token, peer=renewed)) == "PC2041"
        assert refusal(strict, shown(token, peer=other)) == "PC2041"
        assert refusal(strict, shown(token)) == "PC2040"
        assert refusal(strict, shown(token, local=True)) == "PC2040"


def test_token_and_certificate_never_name_two_principals(strict):
    other = peer_of("/agent/other", NOW)
    token = issue(strict, cnf=Confirmation(x5t=other.thumbprint))
    assert refusal(strict, shown(token, peer=other)) == "PC2005"
    holder = Holder()
    token = issue(strict, cnf=Confirmation(jkt=holder.jkt))
    proof = holder.proof("POST", URL, NOW, token)
    shows = shown(token, peer=other, dpop=proof, method="POST", url=URL)
    assert refusal(strict, shows) == "PC2005"


def test_a_token_bound_to_a_key_is_good_with_a_new_proof_each_time(strict):
    holder, thief = Holder(), Holder()
    token = issue(strict, cnf=Confirmation(jkt=holder.jkt))
    request = {"method": "POST", "url": URL}
    proof = holder.proof("POST", URL, NOW, token)
    assert strict.authenticate(shown(token, dpop=proof, **request)).id == "shop-1"
    assert refusal(strict, shown(token, dpop=proof, **request)) == "PC2046"
    assert refusal(strict, shown(token, **request)) == "PC2040"
    stolen = thief.proof("POST", URL, NOW, token)
    assert refusal(strict, shown(token, dpop=stolen, **request)) == "PC2047"
    another = holder.proof("POST", URL, NOW, token)
    assert strict.authenticate(shown(token, dpop=another, **request)).id == "shop-1"
    assert refusal(strict, shown(token, dpop=holder.proof("GET", URL, NOW, token), **request)) == (
        "PC2044"
    )


# tokens bound to no key


def test_by_default_a_token_bound_to_no_key_is_worth_nothing(strict):
    for fields in ({}, {"sub": "application:web", "client_id": "application:web"}):
        assert refusal(strict, shown(issue(strict, **fields))) == "PC2049"


def test_a_token_bound_to_no_key_is_good_where_it_was_allowed_and_without_certificates(authority):
    token = issue(authority)
    assert authority.authenticate(shown(token)).id == "shop-1"
    mine = peer_of("/agent/shop-1", NOW)
    assert refusal(authority, shown(token, peer=mine)) == "PC2049"


def test_this_process_may_vouch_for_a_token_bound_to_no_key(strict):
    assert strict.authenticate(shown(issue(strict), local=True)).id == "shop-1"


def test_an_operators_token_is_good_without_certificates_only(strict):
    token = strict.mint(PrincipalKind.OPERATOR, "ada", ttl=60, roles=("admin",)).token
    assert strict.authenticate(shown(token)).roles == ("admin",)
    peer = peer_of("/operator/ada", NOW)
    assert refusal(strict, shown(token, peer=peer)) == "PC2049"
    assert strict.authenticate(shown("", peer=peer)).roles == ()


# delegations


def delegation(authority, **fields):
    grant = {"sub": "user:s1", "sid": "s1", "client_id": "application:web"}
    return issue(authority, **(grant | {"may_act": Actor("agent:shop-1")} | fields))


def test_a_delegation_is_good_on_the_connection_of_the_agent_that_it_names_only(strict):
    token = delegation(strict)
    principal = strict.authenticate(shown(token, peer=peer_of("/agent/shop-1", NOW)))
    assert (principal.kind, principal.id) == (PrincipalKind.AGENT, "shop-1")
    assert (principal.session, principal.chain) == ("s1", ())
    assert refusal(strict, shown(token, peer=peer_of("/agent/other", NOW))) == "PC2051"
    assert refusal(strict, shown(token, peer=peer_of("/application/web", NOW))) == "PC2051"
    assert refusal(strict, shown(token)) == "PC2049"
    holder = Holder()
    proof = holder.proof("POST", URL, NOW, token)
    assert refusal(strict, shown(token, dpop=proof, method="POST", url=URL)) == "PC2049"


def test_where_it_was_allowed_a_delegation_is_a_bearer_token(authority):
    assert authority.authenticate(shown(delegation(authority))).session == "s1"


@pytest.mark.parametrize(
    ("fields", "holder", "chain"),
    [
        ({"sub": "user:s1", "sid": "s1", "act": Actor("agent:a")}, "a", ()),
        (
            {"sub": "user:s1", "sid": "s1", "act": Actor("agent:b", Actor("agent:a"))},
            "b",
            ("a",),
        ),
        ({"sub": "agent:a", "act": Actor("agent:b")}, "b", ("a",)),
        (
            {"sub": "agent:a", "act": Actor("agent:c", Actor("agent:b"))},
            "c",
            ("b", "a"),
        ),
        ({"sub": "agent:a", "may_act": Actor("agent:b")}, "b", ("a",)),
        (
            {"sub": "agent:a", "act": Actor("agent:b"), "may_act": Actor("agent:c")},
            "c",
            ("b", "a"),
        ),
    ],
)
def test_who_acts_and_for_whom_is_read_as_it_is_written(authority, fields, holder, chain):
    principal = authority.authenticate(shown(issue(authority, **fields)))
    assert (principal.kind, principal.id) == (PrincipalKind.AGENT, holder)
    assert principal.chain == chain


def test_four_agents_may_act_for_one_another(authority):
    act = Actor("agent:d", Actor("agent:c", Actor("agent:b", Actor("agent:a"))))
    token = issue(authority, sub="user:s1", sid="s1", act=act)
    assert authority.authenticate(shown(token)).chain == ("c", "b", "a")


def test_a_scope_comes_with_the_principal(authority):
    token = issue(authority, scope="model:gpt-5.2 tool:orders.search")
    assert authority.authenticate(shown(token)).scope == ("model:gpt-5.2", "tool:orders.search")
