"""What an investigator asks a deployment: filters, cumulative access, reindexing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import delete, update
from typer.testing import CliRunner, Result

from exported import event
from portcullis.audit.log import open_log
from portcullis.cli.audit import app
from portcullis.core.errors import Problem
from portcullis.store.engine import open_sqlite
from portcullis.store.projection import SqlProjection
from portcullis.store.tables import AUDIT_EVENTS
from sealers import sealer_at
from standins import AGENT, agent_token, mcp_client, staged

USER = "hmac-sha256:01"


class Deployment:
    def __init__(self, root: Path) -> None:
        self.root = root
        config = {"trust_domain": "example.org", "state": "state"}
        (root / "portcullis.yaml").write_text(yaml.safe_dump(config))
        self.write(0, 1, 2, name="gate")

    def write(self, *numbers: int, name: str) -> None:
        place = self.root / "state/log" if name == "gate" else self.root / "state/mcp" / name
        with open_log(
            place, self.root / f"keys-{name}", f"example.org/{name}", sealer=sealer_at(self.root)
        ) as log:
            for number in numbers:
                risk = "delete" if number == 1 else "read"
                log.append_now(event(number, risk=risk, findings=("IBAN@x",) * (number == 2)))

    def ask(self, *words: Any) -> Result:
        config = str(self.root / "portcullis.yaml")
        return CliRunner().invoke(app, [*map(str, words), "-c", config])

    def rows(self, *words: Any) -> list[dict[str, Any]]:
        asked = self.ask(*words, "--json")
        assert asked.exit_code == 0, (asked.output, asked.exception)
        return [json.loads(line) for line in asked.stdout.splitlines()]

    def store(self) -> Any:
        return open_sqlite(self.root / "state/portcullis.db")


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


QUESTIONS = [
    (("--risk", "delete"), [1]),
    (("--finding", "IBAN"), [2]),
    (("--user", USER), [0, 1, 2, 3]),
    (("--user", "ada"), []),
    (("--credential", "svid:01", "--limit", "1"), [0]),
    (("--method", "tools/call", "--since", "2030-01-31T12:00:02Z"), [2, 3]),
    (("--trace", "0af7651916cd43dd8448eb211c80319c", "--verdict", "allow"), [0, 1, 2, 3]),
]


@pytest.mark.parametrize(("words", "numbers"), QUESTIONS)
def test_the_answer_is_the_same_with_and_without_the_store(
    deployment: Deployment, words: tuple[str, ...], numbers: list[int]
) -> None:
    def asked(*place: Path) -> list[int]:
        return [row["index"] for row in deployment.rows("query", *place, *words)]

    deployment.write(3, name="gate")
    assert asked() == asked(deployment.root / "state/log") == numbers  # no database yet
    deployment.store().dispose()
    assert asked() == numbers  # nothing is projected yet
    deployment.rows("reindex")
    assert asked() == numbers
    deployment.write(4, name="gate")  # behind what is projected
    assert set(numbers) <= set(asked()) == set(asked(deployment.root / "state/log"))


def test_what_is_shown_is_the_logs_entry_whatever_the_store_says(deployment: Deployment) -> None:
    deployment.store().dispose()
    deployment.rows("reindex")
    engine = deployment.store()
    with engine.begin() as connection:
        connection.execute(update(AUDIT_EVENTS).values(risk="delete", principal="mallory"))
    engine.dispose()
    assert [row["index"] for row in deployment.rows("query", "--risk", "delete")] == [1]
    assert deployment.rows("query", "--principal", "mallory") == []
    assert deployment.rows("reindex") == [{"log": "gate", "entries": 3}]
    assert [row["index"] for row in deployment.rows("query", "--principal", "agent-1")] == [0, 1, 2]


def test_access_is_complete_at_once_and_over_the_logs_of_wrappers(deployment: Deployment) -> None:
    deployment.store().dispose()
    deployment.write(5, 6, name="mcp-orders")
    (row,) = deployment.rows("access", "--agent", "agent-1")
    assert row == {
        "agent": "agent-1",
        "server": "orders",
        "action": "tool",
        "name": "search",
        "user": USER,
        "subject": "hmac-sha256:02",
        "allowed": 5,
        "denied": 0,
        "sessions": 1,
        "first": "2030-01-31T12:00:00.123Z",
        "last": "2030-01-31T12:00:06.123Z",
    }
    since = ("--since", "2030-01-31T12:00:05Z")
    assert [r["allowed"] for r in deployment.rows("access", "--agent", "agent-1", *since)] == [2]
    assert "orders.search" in deployment.ask("access", "--agent", "agent-1").stdout
    assert deployment.rows("access", "--agent", "nobody") == []


def test_an_emptied_store_hides_nothing_from_access_after_reindexing(
    deployment: Deployment,
) -> None:
    deployment.store().dispose()
    deployment.rows("reindex")
    engine = deployment.store()
    with engine.begin() as connection:
        connection.execute(delete(AUDIT_EVENTS))
    engine.dispose()
    deployment.rows("reindex")
    assert [row["allowed"] for row in deployment.rows("access", "--agent", "agent-1")] == [3]


def test_without_a_store_access_says_what_is_missing(deployment: Deployment) -> None:
    for words in (("access", "--agent", "agent-1"), ("reindex",)):
        problem = deployment.ask(*words).exception
        assert isinstance(problem, Problem)
        assert problem.code == "PC7005"
    mistyped = deployment.ask("query", "--risk", "high").exception
    assert isinstance(mistyped, Problem)
    assert mistyped.code == "PC7004"


@pytest.mark.anyio
async def test_a_running_gate_keeps_the_projection_up(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        token = await agent_token(stage)
        async with mcp_client(stage, "orders", token) as client:
            await client.call_tool("search", {"customer_id": "C-1001"})
        command = ["access", "--agent", AGENT, "--json", "-c", str(stage.config)]
        tools: list[dict[str, Any]] = []
        for _ in range(300):  # an event is there once its checkpoint is signed
            asked = await asyncio.to_thread(CliRunner().invoke, app, command)
            rows = [json.loads(line) for line in asked.stdout.splitlines()]
            tools = [row for row in rows if row["action"] == "tool"]
            if tools:
                break
            await asyncio.sleep(0.1)
        (tool,) = tools
        assert (tool["server"], tool["name"], tool["allowed"]) == ("orders", "search", 1)
        assert tool["user"].startswith("hmac-sha256:")
        projection = SqlProjection(open_sqlite(stage.config.parent / "state/portcullis.db"))
        position = projection.position("gate").next
        stage.gate.services.recorder.enqueue(event(0))
        for _ in range(600):  # and the gate itself goes on
            if projection.position("gate").next > position:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the gate does not project its log")
