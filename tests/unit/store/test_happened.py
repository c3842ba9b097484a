"""If these fail, an incident's history is read for ever, or shows what its log no longer holds."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select

from databases import changed, each_kind, each_test, new_database, opened  # noqa: F401 - fixtures
from histories import BEGAN, SHOP, Past
from plans import planned
from portcullis.core.event import Event, EventType
from portcullis.core.incident import Subject
from portcullis.review.incident_about import LONGEST, POLICY, about
from portcullis.store.engine import migrate
from portcullis.store.happened import SqlHappened
from portcullis.store.projection import SqlProjection
from portcullis.store.tables import AUDIT_ABOUT, AUDIT_EVENTS, AUDIT_POSITIONS

COUNT = 6000


@pytest.fixture(scope="module")
def filled(each_kind, tmp_path_factory):  # noqa: F811 - it is made anew for each
    del each_kind
    engine = new_database(tmp_path_factory.mktemp("happened") / "portcullis.db")
    empty = dict.fromkeys(("credential", "user", "subject", "trace", "code", "method"), "")
    rows = [
        {
            **empty,
            "log": f"gw-{number % 2}",
            "number": number,
            "at": float(number // 3),
            "type": "tool_call",
            "principal": "shop" if number % 3 else "other",
            "session": f"s{number % 50}",
            "action": "tool",
            "server": "crm",
            "name": f"t{number % 7}",
            "risk": "read",
            "verdict": "allow",
        }
        for number in range(COUNT)
    ]
    told = [
        {"log": one["log"], "number": one["number"], "subject": "agent:shop", "at": one["at"]}
        for one in rows[::30]
    ]
    with engine.begin() as connection:
        connection.execute(insert(AUDIT_EVENTS), rows)
        connection.execute(insert(AUDIT_ABOUT), told)
        positions = [{"log": log, "next": COUNT - 60, "root": ""} for log in ("gw-0", "gw-1")]
        connection.execute(insert(AUDIT_POSITIONS), positions)
    yield engine
    engine.dispose()


def test_pages_of_any_order_hold_everything_once(filled) -> None:
    happened, want = SqlHappened(filled), None
    for order in ("oldest", "newest"):
        found, after = [], None
        while True:
            some = happened.spots(SHOP, 0.0, 1e12, after, 700, order)
            found += some
            if len(some) < 700:
                break
            after = some[-1].key
        keys = [one.key for one in found]
        assert keys == sorted(set(keys), reverse=order == "newest")
        assert want is None or sorted(keys) == want
        want = sorted(keys)
    assert len(want) == len([n for n in range(COUNT - 60) if n % 3 or n % 30 == 0])


def test_what_is_not_projected_yet_does_not_count(filled) -> None:
    spots = SqlHappened(filled).spots(SHOP, 0.0, 1e12, None, COUNT)
    assert max(one.number for one in spots) < COUNT - 60
    assert SqlHappened(filled).reached() == {"gw-0": COUNT - 60, "gw-1": COUNT - 60}


def test_every_question_goes_by_an_index(filled) -> None:
    happened = SqlHappened(filled)
    with planned(filled) as steps:
        happened.spots(SHOP, 5.0, 1e12, (100.0, "gw-0", 5), 50)
        happened.spots(SHOP, 5.0, 1e12, None, 50, "newest")
        happened.spots(Subject(agent="shop", session="s1"), 5.0, 1e12, None, 50)
        happened.uses([("crm", "t1")], "shop", 0.0, 1e12, 50)
        happened.joined(["s1", "s2"], "shop", 0.0, 1e12, 50)
        happened.policies(0.0, 50)
        happened.servers(SHOP, 0.0)
        happened.reviewed(["a", "b"])
    assert not [one for one in steps if one.startswith("SCAN") and "audit_pos" not in one]


def test_others_uses_are_others_and_bounded(filled) -> None:
    happened = SqlHappened(filled)
    found, whole = happened.uses([("crm", "t1"), ("gone", "t2")], "shop", 0.0, 1e12, 100)
    assert {(one.principal, one.tool) for one in found} == {("other", "crm.t1")}
    assert (len(found), whole) == (100, False)
    assert happened.joined(["s3"], "shop", 0.0, 1e12, 1000)[1]


def test_sessions_and_servers_are_the_agents_own(filled) -> None:
    happened = SqlHappened(filled)
    assert len(happened.sessions("shop", 0.0, 1e12, 10)) == 10
    assert len(happened.sessions("shop", 0.0, 1e12, 100)) == 50
    assert happened.sessions("nobody", 0.0, 1e12, 10) == ()
    assert set(happened.servers(SHOP, 0.0)) == {("crm", f"t{n}") for n in range(7)}


def test_what_is_pruned_is_about_nobody_any_more(tmp_path) -> None:
    past = Past(tmp_path)
    past.admin(0, "kills.kill", name="agent:shop")
    past.admin(1, "kills.undo", name="agent:shop")
    past.written()
    SqlProjection(past.engine).forget("gate", [0])
    with past.engine.connect() as connection:
        assert connection.execute(select(AUDIT_ABOUT.c.number)).scalars().all() == [1]
    past.close()


def test_a_review_that_was_opened_again_is_none(tmp_path) -> None:
    past = Past(tmp_path)
    for turn, verb in enumerate(("closed", "reopened", "closed"), 1):
        past.admin(turn, f"review.{verb}", name="e1", parameters={"turn": turn})
    past.admin(9, "review.reminded", name="e1", parameters={"turn": 9})
    past.admin(10, "review.closed", name="e2", parameters={"turn": 1})
    past.admin(11, "review.reopened", name="e2", parameters={"turn": 2})
    past.written()
    assert past.happened.reviewed(["e1", "e2", "e3"]) == {"e1"}
    past.close()


def event(method: str, **fields) -> Event:
    given = {"type": EventType.ADMIN, "principal_kind": "operator", "principal": "olga"}
    return Event(v=1, id="e", time=BEGAN, gateway="gw", method=method, **{**given, **fields})


@pytest.mark.parametrize(
    ("made", "whom"),
    [
        (event("kills.kill", name="agent:shop"), ("agent:shop",)),
        (event("kills.kill", name="session:s1"), ("session:s1",)),
        (event("kills.kill", name="all:*"), ("all:*",)),
        (event("approval.approved", name="a1", parameters={"agent": "shop"}), ("agent:shop",)),
        (event("breaker.open", parameters={"breaker": "agent:shop"}), ("agent:shop",)),
        (event("breaker.open", parameters={"breaker": "upstream:crm"}), ()),
        (event("policy.activate", verdict="allow"), (POLICY,)),
        (event("policy.activate", verdict="deny"), ()),
        (event("x", name="agent:" + "x" * LONGEST), ()),
        (event("x", name="operator:olga", parameters={"agent": ["shop"], "chain": [1]}), ()),
        (event("x", name="agent:a", parameters={"agent": "a", "subject": "agent:a"}), ("agent:a",)),
        (
            event("token.issue", type=EventType.IDENTITY, principal_kind="agent", principal="b",
                  parameters={"chain": ["a"], "subject": "agent:b", "session": "s1"}),
            ("session:s1", "agent:a"),
        ),
        (event("", type=EventType.TOOL_CALL, name="agent:shop"), ()),
    ],
    ids=range(13),
)  # fmt: skip
def test_an_event_is_about_whom_it_names(made, whom) -> None:
    assert about(made) == whom


def test_an_upgrade_has_the_logs_projected_anew(tmp_path) -> None:
    engine = new_database(tmp_path / "portcullis.db")
    migrate(engine, "0021")
    changed(engine, "INSERT INTO audit_positions VALUES ('gate', 7, '00')")
    engine.dispose()
    engine = opened(tmp_path / "portcullis.db")
    assert SqlHappened(engine).reached() == {}
    engine.dispose()
