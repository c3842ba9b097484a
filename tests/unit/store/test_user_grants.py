"""Users' grants at rest: sealed with their user, claimed by one, gone when they are to be."""

from __future__ import annotations

import pytest

from databases import changed, each_kind, each_test, new_database, opened, stored  # noqa: F401 - fixtures
from portcullis.audit.keys import shared_subjects
from portcullis.core.errors import Problem
from portcullis.core.grants import Grant, Holding, Link
from portcullis.core.secret import Secret
from portcullis.store.user_grants import SqlGrants
from sealers import sealer_at

ADA = Holding(upstream="mail", application="desk", user="ada-of-example")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "portcullis.db"


@pytest.fixture
def keys(tmp_path):
    opened = shared_subjects(tmp_path / "keys", sealer_at(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def grants(path, keys, tmp_path):
    engine = new_database(path)
    yield SqlGrants(engine, keys, sealer_at(tmp_path))
    engine.dispose()


def grant(name: str = "g1", holding: Holding = ADA) -> Grant:
    return Grant(id=name, holding=holding, scopes=("mail.read",), created_at=5.0, account="ada")


def test_a_grant_is_found_by_whose_it_is_and_by_nothing_else(grants) -> None:
    grants.put(grant(), Secret("refresh-1"))
    found, token = grants.find(ADA)
    assert (found, token) == (grant(), "refresh-1")
    for other in (
        Holding(upstream="files", application="desk", user=ADA.user),
        Holding(upstream="mail", application="rival", user=ADA.user),
        Holding(upstream="mail", application="desk", user="bob"),
    ):
        assert grants.find(other) is None
    assert grants.all(user=ADA.user) == (found,) == grants.all(application="desk")
    assert grants.all(upstream="files") == ()


def test_neither_the_token_nor_the_user_is_in_the_file(grants, path) -> None:
    grants.put(grant(), Secret("refresh-token-in-clear"))
    grants.vouch("s1", ADA.user, Secret("an.id.token"), 100.0)
    link = Link(holding=ADA, session="s1", expires_at=100.0, by="application:desk")
    grants.offer("d1", link, 1.0)
    written = stored(opened(path))
    for text in (b"refresh-token-in-clear", b"an.id.token", ADA.user.encode()):
        assert text not in written


def test_one_alone_claims_a_refresh_token_and_the_next_takes_its_place(grants) -> None:
    grants.put(grant(), Secret("refresh-1"))
    assert grants.claim("g1", 1, now=10.0, until=40.0)
    assert not grants.claim("g1", 1, now=11.0, until=41.0)
    assert grants.claim("g1", 1, now=50.0, until=80.0)  # whoever had it has crashed
    assert grants.renew(grant(), Secret("refresh-2"), 51.0)
    found, token = grants.find(ADA)
    assert (found.version, token.reveal(), found.refreshed_at) == (2, "refresh-2", 51.0)
    assert not grants.renew(grant(), Secret("refresh-x"), 52.0)  # of the version before
    assert not grants.claim("g1", 1, now=90.0, until=99.0)
    assert grants.claim("g1", 2, now=53.0, until=60.0)  # free at once after it was renewed
    assert grants.renew(found, None, 54.0)
    assert grants.find(ADA)[1] == "refresh-2"


def test_another_connection_takes_the_place_of_the_one_before(grants) -> None:
    assert grants.put(grant(), Secret("refresh-1")) == ""
    assert grants.put(grant("g2"), Secret("refresh-2")) == "g1"
    assert [one.id for one in grants.all()] == ["g2"]
    removed, token = grants.remove("g2")
    assert (removed.id, token.reveal()) == ("g2", "refresh-2")
    assert grants.remove("g2") is None
    assert grants.find(ADA) is None


def test_whoever_destroys_the_users_key_has_destroyed_the_grant(grants, keys) -> None:
    grants.put(grant(), Secret("refresh-1"))
    grants.vouch("s1", ADA.user, Secret("an.id.token"), 100.0)
    keys.erase([keys.handle(f"user:{ADA.user}")])
    assert grants.find(ADA) is None
    assert grants.vouched("s1", ADA.user, 1.0) is None
    assert grants.all() == ()
    assert not grants.renew(grant(), Secret("refresh-2"), 2.0)
    grants.put(grant("g2"), Secret("refresh-2"))  # under a new key, in place of what no key opens
    assert [one.id for one in grants.all()] == ["g2"]
    keys.erase([keys.handle(f"user:{ADA.user}")])
    grants.forget(1.0)
    assert grants.remove("g2") is None


def test_a_row_that_was_altered_or_moved_does_not_open(grants, path) -> None:
    grants.put(grant(), Secret("refresh-1"))
    grants.put(
        grant("g2", Holding(upstream="files", application="desk", user=ADA.user)), Secret("x")
    )
    changed(
        opened(path),
        "UPDATE user_grants SET sealed = (SELECT sealed FROM user_grants WHERE id = 'g2')"
        " WHERE id = 'g1'",
    )
    with pytest.raises(Problem, match="PC6005"):
        grants.find(ADA)
    assert [one.id for one in grants.all()] == ["g2"]  # the others can still be ended


def test_a_link_is_taken_once_and_in_time(grants) -> None:
    link = Link(holding=ADA, session="s1", expires_at=100.0, by="application:desk")
    grants.offer("d1", link, 1.0)
    assert grants.offered("d1", 99.0) == link == grants.offered("d1", 99.0)
    assert grants.offered("d1", 100.0) is None
    assert grants.taken("d1", 99.0) == link
    assert grants.taken("d1", 99.0) is None
    grants.offer("d2", link, 1.0)
    assert grants.taken("d2", 100.0) is None
    grants.offer("d3", link, 1.0)
    grants.forget(100.0)
    assert grants.taken("d3", 1.0) is None


def test_an_id_token_is_of_one_session_and_one_user(grants) -> None:
    grants.vouch("s1", ADA.user, Secret("an.id.token"), 100.0)
    assert grants.vouched("s1", ADA.user, 99.0).reveal() == "an.id.token"
    for session, user, now in (("s2", ADA.user, 1.0), ("s1", "bob", 1.0), ("s1", ADA.user, 100.0)):
        assert grants.vouched(session, user, now) is None
