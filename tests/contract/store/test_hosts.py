"""If these fail, a host takes keys from whoever writes the database, or a name has two gateways."""

from __future__ import annotations

import msgspec
import pytest

from databases import changed
from portcullis.core.errors import Problem
from portcullis.core.hosts import Presence
from portcullis.store.hosts import SqlPresences, SqlShelf

SAID = Presence(
    name="edge",
    log="edge",
    host="one",
    at=10.0,
    apart=True,
    vkey="a.test/edge+01234567+key",
    version="1.0",
    urls={"gate": "http://127.0.0.1:1"},
)


@pytest.fixture
def shelf(engine, sealer):
    return SqlShelf(engine, sealer)


@pytest.fixture
def presences(engine, sealer):
    return SqlPresences(engine, sealer)


def with_(**fields):
    return msgspec.structs.replace(SAID, **fields)


def test_a_bundle_comes_as_it_was_put_and_its_version_only_grows(shelf):
    assert shelf.get("keys") is None
    assert shelf.versions() == {}
    first = shelf.put("keys", {"a": b"1"}, above=2**52)
    assert first > 2**52
    second = shelf.put("keys", {"b": b"2"})
    assert shelf.versions() == {"keys": second}
    assert second > first
    assert shelf.get("keys").files == {"b": b"2"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE shared_files SET version = version + 1 WHERE name = 'keys'",
        "UPDATE shared_files SET sealed = (SELECT sealed FROM gateways) WHERE name = 'keys'",
        "UPDATE shared_files SET sealed = (SELECT sealed FROM shared_files WHERE name = 'ca')",
    ],
    ids=["an older one as the newest", "no bundle", "another bundle"],
)
def test_a_bundle_that_was_not_put_there_is_refused(statement, shelf, presences, engine):
    shelf.put("keys", {"a": b"1"})
    shelf.put("ca", {"a": b"2"})
    presences.claim(SAID, "p1")
    changed(engine, statement)
    with pytest.raises(Problem) as refused:
        shelf.get("keys")
    assert refused.value.code == "PC7082"
    shelf.put("keys", {"a": b"3"})
    assert shelf.get("keys").files == {"a": b"3"}


def test_whoever_writes_the_database_cannot_let_the_versions_run_out(shelf, engine):
    first = shelf.put("keys", {"a": b"1"})
    changed(engine, "UPDATE shared_files SET version = 9223372036854775807 WHERE name = 'keys'")
    again = shelf.put("keys", {"a": b"1"}, above=first)
    assert first < again < first + 2**32
    assert shelf.get("keys").version == again


def test_a_name_is_of_one_process_and_of_one_log(presences, engine):
    presences.claim(SAID, "p1")
    with pytest.raises(Problem) as twin:  # the same folder, copied
        presences.claim(with_(host="two"), "p2")
    with pytest.raises(Problem) as other:
        presences.claim(with_(host="two", vkey="a.test/edge+76543210+other"), "p2")
    assert (twin.value.code, other.value.code) == ("PC6003", "PC6003")
    presences.claim(with_(at=20.0), "p3")  # it was started again where it ran
    assert not presences.say(SAID, "p1", b"x 1\n")
    assert presences.say(with_(at=30.0), "p3", b"x 1\n")
    assert presences.figures("edge") == b"x 1\n"
    changed(engine, "UPDATE gateways SET expires = 0")
    with pytest.raises(Problem) as lost:
        presences.claim(with_(host="two", vkey="a.test/edge+76543210+other"), "p4")
    assert lost.value.code == "PC7083"
    presences.claim(with_(host="two"), "p5")
    assert [one.host for one in presences.all()] == ["two"]
    assert presences.running() == presences.all()
    presences.leave(with_(host="two", at=50.0), "p5")
    assert presences.running() == ()
    assert [(one.ended, one.at) for one in presences.all()] == [(True, 50.0)]
    presences.claim(with_(host="three"), "p6")


def test_what_somebody_else_wrote_in_a_gateways_place_is_left_out(presences, engine):
    presences.claim(SAID, "p1")
    presences.claim(with_(name="near", log="near"), "p1")
    changed(
        engine,
        "UPDATE gateways SET sealed = (SELECT sealed FROM gateways WHERE name = 'near')"
        " WHERE name = 'edge'",
    )
    assert [one.name for one in presences.all()] == ["near"]
    with pytest.raises(Problem) as refused:
        presences.claim(SAID, "p2")
    assert refused.value.code == "PC7082"
