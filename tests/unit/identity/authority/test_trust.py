import ssl
import time

import pytest

from authorities import AGENT, DOMAIN, KINDS, World, context, handshake, leaf_key, root_of
from portcullis.core.errors import Problem
from portcullis.core.spiffe import parse
from portcullis.identity.bundle import Bundle, decode, encode
from portcullis.identity.trust import Trust
from portcullis.wire.certificates import verified_chain

GATE = parse(f"spiffe://{DOMAIN}/gateway/gate")


@pytest.mark.parametrize("leaf", KINDS)
@pytest.mark.parametrize("authority", KINDS)
def test_mutual_tls_works_for_every_kind_of_key_and_shows_who_is_there(present, authority, leaf):
    ours = present.open(key_type=authority)
    trust = Trust(ours.bundle)
    keys = leaf_key(leaf), leaf_key(leaf)
    agent, gate = (
        ours.issue(each, key.public_key()) for each, key in zip((AGENT, GATE), keys, strict=True)
    )
    client, server = handshake(
        context(ssl.PROTOCOL_TLS_CLIENT, agent, keys[0], trust.anchors()),
        context(ssl.PROTOCOL_TLS_SERVER, gate, keys[1], trust.anchors()),
    )
    assert client.version() == "TLSv1.3"
    seen = trust.peer(verified_chain(server))
    assert (seen.id, seen.serial, seen.issued_at) == (AGENT, agent.serial, agent.issued_at)
    assert trust.peer(verified_chain(client)).id == GATE
    assert trust.holds(seen)


def test_agents_of_the_old_and_of_the_new_root_get_in_until_the_old_one_is_retired(present):
    ours = present.open()
    trust = Trust(ours.bundle)
    keys = leaf_key(), leaf_key()
    old = ours.issue(AGENT, keys[0].public_key())
    ours.rotate("root")
    new = ours.issue(GATE, keys[1].public_key())

    def meet():
        client, server = handshake(
            context(ssl.PROTOCOL_TLS_CLIENT, old, keys[0], trust.anchors()),
            context(ssl.PROTOCOL_TLS_SERVER, new, keys[1], trust.anchors()),
        )
        return trust.peer(verified_chain(server)), trust.peer(verified_chain(client))

    seen, gate = meet()
    assert (seen.id, gate.id) == (AGENT, GATE)
    ours.retire("root")
    assert (trust.holds(seen), trust.holds(gate)) == (False, True)
    with pytest.raises(ssl.SSLError):
        meet()


def two_domains(tmp_path, at):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here = World(tmp_path / "a", at).open()
    there = World(tmp_path / "b", at).open(trust_domain="there.org")
    return here, there


def test_an_authority_speaks_for_no_other_trust_domain(tmp_path):
    here, there = two_domains(tmp_path, time.time())
    trust = Trust(here.bundle)
    foreign = there.issue(parse("spiffe://there.org/agent/shop-1"), leaf_key().public_key())
    chain = [*foreign.chain, root_of(there.bundle(), foreign)]
    with pytest.raises(Problem) as unknown:
        trust.peer(chain)
    assert unknown.value.code == "PC2027"
    assert trust.put(decode("there.org", encode(there.bundle())))
    assert str(trust.peer(chain).id) == "spiffe://there.org/agent/shop-1"
    # their authority signs an ID of ours: TLS would take it, since it trusts both
    there.trust_domain = DOMAIN
    forged = there.issue(AGENT, leaf_key().public_key())
    with pytest.raises(Problem) as refused:
        trust.peer([*forged.chain, root_of(there.bundle(), forged)])
    assert refused.value.code == "PC2027"
    trust.remove("there.org")
    with pytest.raises(Problem):
        trust.peer(chain)


def test_a_foreign_certificate_has_its_own_time_of_issue_not_that_of_its_serial(tmp_path):
    at = time.time()
    here, there = two_domains(tmp_path, at)
    trust = Trust(here.bundle)
    trust.put(there.bundle())
    foreign = there.issue(parse("spiffe://there.org/agent/shop-1"), leaf_key().public_key())
    peer = trust.peer([*foreign.chain, root_of(there.bundle(), foreign)])
    assert peer.issued_at <= at


def test_an_expired_certificate_is_refused_even_when_its_chain_was_verified(world):
    ours = world.open()
    trust = Trust(ours.bundle, world.clock.now)
    svid = ours.issue(AGENT, leaf_key().public_key())
    chain = [*svid.chain, root_of(ours.bundle(), svid)]
    assert trust.peer(chain).id == AGENT
    world.clock.at += 3600
    with pytest.raises(Problem) as refused:
        trust.peer(chain)
    assert refused.value.code == "PC2022"


def test_an_empty_chain_is_refused(world):
    with pytest.raises(Problem) as refused:
        Trust(world.open().bundle).peer([])
    assert refused.value.code == "PC2020"


def foreign_bundle(sequence, *anchors):
    return Bundle(
        trust_domain="there.org", x509=anchors, jwt={}, sequence=sequence, refresh_hint=300
    )


def test_an_old_bundle_does_not_come_back(world):
    trust = Trust(world.open().bundle)
    told = []
    trust.subscribe(lambda: told.append(trust.bundle("there.org")))
    assert trust.put(foreign_bundle(7, b"a"))
    assert not trust.put(foreign_bundle(7, b"b"))
    assert not trust.put(foreign_bundle(6, b"b"))
    assert not trust.put(foreign_bundle(0, b"b"))
    assert trust.put(foreign_bundle(8, b"b"))
    assert [bundle.x509 for bundle in told] == [(b"a",), (b"b",)]
    assert [bundle.trust_domain for bundle in trust.bundles()] == [DOMAIN, "there.org"]
    trust.remove("there.org")
    trust.remove("there.org")
    assert told[2:] == [None]


def test_a_domain_that_does_not_count_is_taken_when_its_keys_change(world):
    trust = Trust(world.open().bundle)
    assert trust.put(foreign_bundle(0, b"a"))
    assert not trust.put(foreign_bundle(0, b"a"))
    assert trust.put(foreign_bundle(0, b"a", b"b"))


def test_nobody_gives_us_a_bundle_of_our_own_domain(world):
    ours = world.open()
    trust = Trust(ours.bundle)
    with pytest.raises(Problem) as refused:
        trust.put(Bundle(trust_domain=DOMAIN, x509=(b"x",), jwt={}, sequence=99, refresh_hint=1))
    assert refused.value.code == "PC7009"
    assert trust.bundles() == (ours.bundle(),)


def test_each_anchor_stands_once_in_a_tls_context(world):
    ours = world.open()
    trust = Trust(ours.bundle)
    trust.put(foreign_bundle(1, b"a", ours.bundle().x509[0]))
    assert trust.anchors() == (ours.bundle().x509[0], b"a")
