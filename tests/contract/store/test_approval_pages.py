"""If these fail, an operator is shown a part of what waits, or waits long for it."""

import itertools

import msgspec
import pytest
from sqlalchemy import insert

from databases import KINDS, Database
from plans import planned, slow
from portcullis.core.approval import Approval, State, Verb
from portcullis.core.approval_ports import ApprovalStore
from portcullis.core.call import RiskClass
from portcullis.core.desk import Wanted
from portcullis.core.errors import Problem
from portcullis.store.approvals import SqlApprovals
from portcullis.store.tables import APPROVALS

RISKS = list(RiskClass)


def row(number, **fields):
    """An approval of which some have the same time, agent, session, tool and risk."""
    one = Approval(
        id=f"{number * 7919 % 100_003:06d}",
        state=State.PENDING,
        binding=f"{number:064d}",
        agent=f"shop-{number % 7}",
        session=f"s{number % 11}",
        action="tool",
        server=f"server-{number % 3}",
        name=f"tool-{number % 5}",
        risk=RISKS[number % 4],
        created_at=100.0 + number // 3,
        expires_at=10_000.0,
    )
    return msgspec.structs.replace(one, **fields)


def fill(engine, rows):
    values = [
        msgspec.to_builtins(one) | {"chain": " ".join(one.chain), "sealed": b"x" * 3000}
        for one in rows
    ]
    with engine.begin() as connection:
        connection.execute(insert(APPROVALS), values)


def opened(engine) -> ApprovalStore:
    return SqlApprovals(engine)


def turned(store, wanted, limit, now=200.0):
    """All pages of what is wanted, put together."""
    found, cursor = [], ""
    for _ in range(1000):
        page = store.page(wanted, cursor, limit, now)
        assert len(page.approvals) <= limit
        found += page.approvals
        cursor = page.following
        if not cursor:
            return found
    pytest.fail("the pages have no end")


STATES = [
    (State.PENDING,),
    (State.APPROVED,),
    (State.DENIED, State.CONSUMED, State.EXPIRED),
    tuple(State),
]
FILTERS = [
    {},
    {"agent": "shop-3"},
    {"session": "s4"},
    {"server": "server-1"},
    {"name": "tool-2"},
    {"risk": "delete"},
    {"agent": "shop-3", "risk": "external"},
    {"server": "server-0", "name": "tool-1", "session": "s2"},
    {"agent": "nobody"},
]


@pytest.fixture(scope="module", params=KINDS)
def filled(request, tmp_path_factory):
    with Database.of(request, tmp_path_factory.mktemp("pages")) as database:
        engine = database.open()
        settled = itertools.cycle([*[State.PENDING] * 8, *State])
        rows = [row(number, state=next(settled)) for number in range(2000)]
        fill(engine, rows)
        yield engine, rows
        engine.dispose()


@pytest.mark.parametrize("fields", FILTERS, ids=str)
@pytest.mark.parametrize("states", STATES, ids=" ".join)
def test_the_pages_are_all_that_is_wanted_each_once_and_in_order(filled, states, fields):
    engine, rows = filled
    with planned(engine) as steps:
        found = turned(opened(engine), Wanted(states=states, **fields), 37)
    fits = [
        one
        for one in rows
        if one.state in states and all(getattr(one, name) == fields[name] for name in fields)
    ]
    newest_first = states != (State.PENDING,)
    assert found == sorted(fits, key=lambda one: (one.created_at, one.id), reverse=newest_first)
    assert slow(steps) == []


def test_a_page_looks_at_so_many_rows_and_the_next_goes_on_behind_them(filled, monkeypatch):
    engine, rows = filled
    monkeypatch.setattr("portcullis.store.approvals_pages.page.__kwdefaults__", {"walk": 50})
    wanted = Wanted(states=tuple(State), agent="shop-3", risk="external")
    found = turned(opened(engine), wanted, 5)
    fits = {one.id for one in rows if (one.agent, one.risk) == ("shop-3", "external")}
    assert len(found) == len(fits)
    assert {one.id for one in found} == fits


def test_what_is_over_waits_no_more_though_nobody_has_swept_it_up(engine):
    fill(engine, [row(1), row(2, expires_at=200.0), row(3, state=State.APPROVED)])
    store = opened(engine)
    assert [one.binding for one in turned(store, Wanted(), 9)] == [row(1).binding]
    assert (store.waiting(199.0), store.waiting(200.0)) == (2, 1)


def test_a_damaged_row_is_left_out_and_what_is_no_cursor_is_said_to_be_none(engine):
    fill(engine, [row(number) for number in range(3)])
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE approvals SET risk = 'none' WHERE created_at = 100")
    store = opened(engine)
    assert turned(store, Wanted(), 1) == []
    for cursor in ("x", "bm8", "WzEsMl0", "\N{SNOWMAN}", "W" * 2000):
        with pytest.raises(Problem, match="PC3051"):
            store.page(Wanted(), cursor, 9, 200.0)


def test_only_what_is_due_is_looked_at(engine):
    rows = [
        row(0, id="over", expires_at=500.0),
        row(1, id="approved-and-over", state=State.APPROVED, expires_at=499.0),
        row(2, id="settled-and-over", state=State.DENIED, expires_at=1.0),
        row(30, id="remind", created_at=200.0),
        row(31, id="reminded", created_at=199.0, reminded_at=300.0, escalated_at=300.0),
        row(32, id="escalate", created_at=150.0, reminded_at=300.0),
        row(33, id="waits", created_at=400.0),
    ]
    fill(engine, rows)
    store = opened(engine)
    with planned(engine) as steps:
        due = [one.id for one in store.due(500.0, 99)]
        remind = [one.id for one in store.untold("reminded", 200.0, 499.0, 99)]
        escalate = [one.id for one in store.untold("escalated", 150.0, 500.0, 99)]
        store.waiting(500.0)
        assert set(store.sessions()) == {row(n).session for n in (0, 1, 30, 31, 32, 33)}
        assert [one.id for one in store.of_session(row(33).session)] == ["over", "waits"]
    assert due == ["approved-and-over", "over"]
    assert remind == ["over", "remind"]  # in the order in which they were asked
    assert escalate == ["escalate"]  # what is over is told of no more
    assert [step for step in slow(steps) if "DISTINCT" not in step] == []


def test_what_changed_since_then_is_told_to_those_who_watch(engine):
    fill(engine, [row(0, id="old"), row(1, id="new", created_at=300.0)])
    store = opened(engine)
    assert [one.id for one in store.changed(300.0, 9)] == ["new"]
    store.move("old", Verb.DENY, now=301.0, by="bea", reason="no")
    assert {one.id: one.state for one in store.changed(300.0, 9)} == {
        "new": State.PENDING,
        "old": State.DENIED,
    }


def test_of_too_much_that_changed_the_first_is_told_in_order(engine):
    rows = [row(number, id=f"a{number}", created_at=900.0 - number) for number in range(5)]
    fill(engine, [*rows, row(9, id="denied", state=State.DENIED, settled_at=897.5)])
    store = opened(engine)
    with planned(engine) as steps:
        found = store.changed(1.0, 4)
    assert [one.id for one in found] == ["a4", "a3", "denied", "a2"]
    assert slow(steps) == []
