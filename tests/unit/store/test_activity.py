"""If these fail, an operator sees less of what agents did than the log holds, or waits for it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from databases import each_kind, each_test, new_database  # noqa: F401 - fixtures
from plans import planned, slow
from portcullis.core.approval import Approval, State
from portcullis.core.call import RiskClass
from portcullis.core.cursor import cursor_of
from portcullis.core.desk import AgentsWanted, SeenFilter
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State as Life
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.store.activity import SqlActivity
from portcullis.store.approvals import SqlApprovals
from portcullis.store.directory import SqlDirectory
from portcullis.store.tables import AUDIT_EVENTS, AUDIT_POSITIONS

COUNT = 20_000
VERDICTS = ["allow"] * 8 + ["deny", "hold"]
RISKS = ["read"] * 7 + ["modify", "external", "delete"]
TYPES = ["tool_call", "tool_result", "llm_call", "llm_result", "decision", "admin"]
DECISIONS = {"tool_call", "llm_call", "decision"}


def row(number: int) -> dict[str, Any]:
    """One of many events in two logs; several have the same time, and most are alike."""
    verdict = VERDICTS[number * 31 % 10]
    return {
        "log": "mcp-files" if number % 9 == 0 else "gate",
        "number": number,
        "at": 1000.0 + number // 4,
        "type": TYPES[number % 6],
        "principal": f"shop-{number % 97}",
        "session": f"s{number % 301}",
        "credential": "",
        "user": "",
        "subject": "",
        "action": "tool",
        "method": "tools/call",
        "server": f"server-{number % 3}",
        "name": "gpt-4.1" if number % 50 == 0 else f"tool-{number % 13}",
        "risk": RISKS[number * 17 % 10],
        "verdict": verdict,
        "code": "PC3002" if verdict == "deny" else "PC3040" if verdict == "hold" else "",
        "trace": "",
    }


@pytest.fixture(scope="module")
def filled(each_kind, tmp_path_factory):  # noqa: F811 - it is made anew for each
    del each_kind
    engine = new_database(tmp_path_factory.mktemp("activity") / "portcullis.db")
    rows = [row(number) for number in range(COUNT)]
    with engine.begin() as connection:
        connection.execute(insert(AUDIT_EVENTS), rows)
        positions = [{"log": log, "next": COUNT - 10, "root": ""} for log in ("gate", "mcp-files")]
        connection.execute(insert(AUDIT_POSITIONS), positions)
    yield engine, [one for one in rows if one["number"] < COUNT - 10]
    engine.dispose()


def turned(activity: SqlActivity, wanted: SeenFilter, limit: int) -> tuple[list[Any], int]:
    found, cursor = [], ""
    for pages in range(1, 2000):
        page = activity.decisions(wanted, cursor, limit)
        assert len(page.decisions) <= limit
        found += [(one.at, one.log, one.number) for one in page.decisions]
        cursor = page.following
        if not cursor:
            return found, pages
    pytest.fail("the pages have no end")


QUESTIONS: list[dict[str, Any]] = [
    {},
    {"agent": "shop-3"},
    {"session": "s17"},
    {"verdict": "deny"},
    {"verdict": "allow"},
    {"code": "PC3040"},
    {"risk": "delete"},
    {"risk": "read"},
    {"tool": "tool-5"},
    {"tool": "gpt-4.1"},
    {"tool": "server-1.tool-5"},
    {"since": 3000.0, "until": 3200.0},
    {"agent": "shop-3", "verdict": "deny", "since": 2000.0},
    {"risk": "delete", "verdict": "hold", "code": "PC3040"},
    {"session": "s17", "agent": "shop-9", "tool": "tool-1", "risk": "external"},
    {"agent": "nobody"},
]


def fits(one: dict[str, Any], wanted: dict[str, Any]) -> bool:
    tool = wanted.get("tool", "")
    return (
        one["type"] in DECISIONS
        and one["principal"] == wanted.get("agent", one["principal"])
        and all(one[n] == wanted.get(n, one[n]) for n in ("session", "verdict", "code", "risk"))
        and (not tool or tool in {one["name"], f"{one['server']}.{one['name']}"})
        and wanted.get("since", 0.0) <= one["at"] < wanted.get("until", 1e18)
    )


@pytest.mark.parametrize("wanted", QUESTIONS, ids=str)
def test_the_pages_are_all_decisions_that_are_wanted_the_newest_first(filled, wanted):
    engine, rows = filled
    with planned(engine) as steps:
        found, _ = turned(SqlActivity(engine), SeenFilter(**wanted), 199)
    fitting = [(one["at"], one["log"], one["number"]) for one in rows if fits(one, wanted)]
    assert found == sorted(fitting, reverse=True)
    assert [step for step in slow(steps) if "audit_positions" not in step] == []


def test_no_page_looks_at_more_than_so_many_rows_however_few_fit(filled):
    engine, rows = filled
    wanted = {"risk": "read", "verdict": "allow"}
    found, pages = turned(SqlActivity(engine, walk=500), SeenFilter(**wanted), 1000)
    assert len(found) == sum(fits(one, wanted) for one in rows)
    assert pages > 10
    none = SqlActivity(engine, walk=500).decisions(SeenFilter(verdict="error"), "", 9)
    assert none.decisions == ()


def test_what_is_not_projected_counts_no_longer(filled):
    engine, _ = filled
    newest = SqlActivity(engine).decisions(SeenFilter(), "", 1).decisions[0]
    assert newest.number < COUNT - 10
    with pytest.raises(Problem, match="PC3051"):
        SqlActivity(engine).decisions(SeenFilter(), "bm9uZQ", 1)
    for number in (2**63, -(2**63) - 1, 2**70):
        with pytest.raises(Problem, match="PC3051"):
            SqlActivity(engine).decisions(SeenFilter(), cursor_of(1.0, "gate", number), 1)


def test_agents_are_listed_with_when_they_last_asked_and_what_waits(filled):
    engine, rows = filled
    directory, approvals = SqlDirectory(engine), SqlApprovals(engine)
    for number in range(5):
        directory.create(
            PrincipalRecord(
                kind=PrincipalKind.AGENT,
                id=f"shop-{number}",
                owner="shop",
                state=Life.SUSPENDED if number == 4 else Life.ACTIVE,
                roles=(),
                created_at=1.0,
            )
        )
    for number in range(3):
        one = Approval(
            id=f"a{number}",
            state=State.PENDING,
            binding=f"{number:064d}",
            agent="shop-1",
            session="s1",
            action="tool",
            server="mail",
            name="send",
            risk=RiskClass.EXTERNAL,
            created_at=100.0,
            expires_at=150.0 if number == 0 else 300.0,
        )
        approvals.claim(one, b"", most=9, now=100.0)
    approvals.freeze("shop-2", 100.0)
    activity = SqlActivity(engine)
    with planned(engine) as steps:
        first = activity.agents(AgentsWanted(), "", 2, 200.0)
        rest = activity.agents(AgentsWanted(), first.following, 9, 200.0)
        last = activity.last_seen(["s17", "unknown"])
    assert slow(steps) == []
    found = {one.record.id: one for one in (*first.agents, *rest.agents)}
    assert [*found] == [f"shop-{number}" for number in range(5)]
    assert (found["shop-1"].waiting, found["shop-2"].frozen, found["shop-1"].frozen) == (
        2,
        True,
        False,
    )
    asked = [one for one in rows if one["type"] in DECISIONS]
    assert found["shop-3"].last_seen == max(
        one["at"] for one in asked if one["principal"] == "shop-3"
    )
    assert last == {"s17": max(one["at"] for one in asked if one["session"] == "s17")}
    assert [
        one.record.id for one in activity.agents(AgentsWanted(state="suspended"), "", 9, 1.0).agents
    ] == ["shop-4"]
    assert [
        one.record.id for one in activity.agents(AgentsWanted(name="shop-3"), "", 9, 1.0).agents
    ] == ["shop-3"]
    assert activity.agent("shop-9", 1.0) is None


@pytest.mark.parametrize(("seconds", "count"), [(100.0, 50), (700.0, 8)])
def test_what_an_agent_asked_for_is_counted_piece_by_piece(filled, seconds, count):
    engine, rows = filled
    with planned(engine) as steps:
        course = SqlActivity(engine).course("shop-3", 1000.0, seconds, count)
    assert all("ix_decisions_principal" in one for one in steps if "audit_events" in one)
    mine = [one for one in rows if one["type"] in DECISIONS and one["principal"] == "shop-3"]
    for number, step in enumerate(course.steps):
        here = [one for one in mine if 0 <= one["at"] - 1000.0 - number * seconds < seconds]
        denied = [one for one in here if one["verdict"] == "deny"]
        assert (step.at, step.calls, step.refused) == (
            1000.0 + number * seconds,
            len(here),
            len(denied),
        )
    assert sum(step.calls for step in course.steps) == len(mine) > 100
    assert course.known == 1000.0


def test_of_an_agent_that_asks_for_very_much_the_newest_calls_are_counted(filled):
    engine, rows = filled
    course = SqlActivity(engine, walk=20).course("shop-3", 1000.0, 100.0, 50)
    mine = [one for one in rows if one["type"] in DECISIONS and one["principal"] == "shop-3"]
    newest = sorted((one["at"] for one in mine), reverse=True)[:20]
    assert sum(step.calls for step in course.steps) == 20
    assert course.known == min(newest)


def test_some_agents_are_found_by_name_at_once(filled):
    engine, _ = filled
    found = SqlActivity(engine).some(["shop-0", "shop-3", "nobody"], 1.0)
    known = {one.record.id for one in SqlActivity(engine).agents(AgentsWanted(), "", 9, 1.0).agents}
    assert set(found) == {"shop-0", "shop-3"} & known
