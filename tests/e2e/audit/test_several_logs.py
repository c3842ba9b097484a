"""If these fail, a command reads one log of several and calls that everything, or mixes them up."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from portcullis.audit.beside import Beside
from portcullis.audit.log import open_log
from portcullis.audit.retention_holds import HOLD, RELEASE, HoldBook
from portcullis.audit.verify import own_verifier
from portcullis.cli.audit import app
from portcullis.cli.audit_place import Log
from portcullis.cli.audit_tail import following_on
from portcullis.config import load
from portcullis.config.places import audit_directory, gateway_logs
from portcullis.core.event import Event, EventType
from sealers import sealer_at

NAMES = ("control", "gate-1", "gate-2", "mcp-git")


def make(second: int, log: str, **fields: Any) -> Event:
    given = {"type": EventType.TOOL_CALL, "verdict": "allow", "server": "crm", "name": "find"}
    return Event(
        v=1,
        id=f"{log}-{second}",
        time=datetime(2030, 1, 1, 0, 0, second, tzinfo=UTC),
        gateway=f"example.org/{log}",
        **{**given, **fields},
    )


class Deployment:
    """Logs of several processes; ``write`` is one of them while it runs."""

    def __init__(self, root: Path) -> None:
        self.file = root / "portcullis.yaml"
        self.file.write_text("trust_domain: example.org\nstate: state\n")
        self.config = load(self.file)
        self._sealer = sealer_at(root)

    def open(self, log: str) -> Any:
        keys = self.config.state / "keys" / log
        place = audit_directory(self.config, log)
        return open_log(place, keys, f"example.org/{log}", sealer=self._sealer)

    def write(self, log: str, *seconds: int, **fields: Any) -> None:
        with self.open(log) as opened:
            for second in seconds:
                opened.append_now(make(second, log, **fields))

    def run(self, *words: str) -> Any:
        return CliRunner().invoke(app, [*words, "-c", str(self.file)])

    def ids(self, *words: str) -> list[str]:
        done = self.run(*words, "--json")
        assert done.exit_code == 0, done.exception
        return [json.loads(line)["event"]["id"] for line in done.stdout.splitlines()]


@pytest.fixture
def logs(tmp_path: Path) -> Deployment:
    made = Deployment(tmp_path)
    for number, name in enumerate(NAMES):
        made.write(name, number, number + 10, number + 20)
    return made


def test_events_of_all_logs_come_in_the_order_of_their_time(logs: Deployment) -> None:
    every = [f"{name}-{start + at}" for start in (0, 10, 20) for at, name in enumerate(NAMES)]
    assert logs.ids("query") == every
    assert logs.ids("tail", "-n", "5") == every[-5:]
    assert logs.ids("query", "--limit", "2") == every[:2]
    exported = logs.run("export", "--format", "json")
    assert [json.loads(line)["event"]["id"] for line in exported.stdout.splitlines()] == every


def test_one_log_is_meant_by_its_folder_or_its_key(logs: Deployment) -> None:
    place = audit_directory(logs.config, "gate-1")
    own = ["gate-1-1", "gate-1-11", "gate-1-21"]
    assert logs.ids("query", str(place)) == own
    assert logs.ids("query", "--key", (place / "log.vkey").read_text().strip()) == own
    assert logs.ids("query", "--event", "mcp-git-13") == ["mcp-git-13"]
    proof = json.loads(logs.run("prove", "gate-2-12", "--json").stdout)
    assert proof["event"]["gateway"] == "example.org/gate-2"
    assert logs.run("prove", "gate-2-99").exception.code == "PC6004"


def test_every_log_is_verified_and_one_that_is_not_whole_fails_all(logs: Deployment) -> None:
    done = logs.run("verify", "--json")
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["origin"].partition("/")[2] for one in reports] == list(NAMES)
    assert (done.exit_code, {one["ok"] for one in reports}) == (0, {True})
    kept = logs.config.state.parent / "kept"
    shutil.copy(audit_directory(logs.config, "gate-1") / "checkpoint", kept)
    done = logs.run("verify", "--checkpoint", str(kept), "--json")
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["completeness"] for one in reports].count("passed") == 1
    foreign = kept.with_name("foreign")
    foreign.write_text(kept.read_text().replace("gate-1", "gate-9"))
    assert logs.run("verify", "--checkpoint", str(foreign)).exception.code == "PC7004"
    tile = next((audit_directory(logs.config, "gate-2") / "tile").rglob("*.p/*"))
    tile.write_bytes(tile.read_bytes()[::-1])
    done = logs.run("verify", "--json")
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.exit_code, [one["ok"] for one in reports].count(False)) == (5, 1)


def test_a_log_that_is_gone_is_missed(logs: Deployment) -> None:
    shutil.rmtree(audit_directory(logs.config, "gate-2"))
    done = logs.run("verify")
    assert done.exit_code == 5
    assert "the log gate-2 is gone" in done.stderr


def test_what_comes_is_followed_in_every_log_and_told_once(logs: Deployment) -> None:
    followed = (audit_directory(logs.config, name) for name in ("gate-1", "gate-2"))
    places = {Log(place, own_verifier(place)): 3 for place in followed}
    looks = itertools.count()

    def sleep(_: float) -> None:
        if next(looks) == 0:
            logs.write("gate-2", 40, 42)
            logs.write("gate-1", 41)

    coming = following_on(places, lambda said: None, sleep)
    assert [next(coming).event.id for _ in range(3)] == ["gate-2-40", "gate-1-41", "gate-2-42"]


def test_who_watches_sees_other_logs_as_they_are_signed(logs: Deployment) -> None:
    class Own:
        watcher: Any = None

        def watch(self, watcher: Any) -> None:
            self.watcher = watcher

    own, seen = Own(), []
    beside = Beside(own, lambda: gateway_logs(logs.config), seconds=0.01)
    beside.watch(lambda entries: seen.extend(json.loads(entry)["id"] for entry in entries))
    own.watcher([b'{"id":"mine"}'])
    time.sleep(0.1)
    logs.write("gate-1", 50)
    logs.write("gate-3", 51)
    until = time.monotonic() + 5
    while len(seen) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    beside.watch(None)
    assert sorted(seen) == ["gate-1-50", "gate-3-51", "mine"]
    logs.write("gate-1", 52)
    time.sleep(0.1)
    assert (len(seen), own.watcher) == (3, None)


def test_a_hold_in_one_log_is_released_by_another(logs: Deployment) -> None:
    book = HoldBook(*(audit_directory(logs.config, name) for name in ("gate", "control")))
    assert book.in_force() == ()
    said = {"hold": "h1", "kind": "session", "target": "s", "reason": "r", "tags": {}}
    fields = {"type": EventType.ADMIN, "principal": "ada"}
    logs.write("gate", 55, **fields, method=HOLD, parameters=said)
    logs.write("gate", 56, **fields, method=HOLD, parameters=said | {"hold": "h2"})
    assert [hold.id for hold in book.in_force()] == ["h1", "h2"]
    logs.write("control", 57, **fields, method=RELEASE, parameters={"hold": "h1"})
    assert [hold.id for hold in book.in_force()] == ["h2"]
