"""If these fail, what a log says raises nothing, or raises it again after every start."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from portcullis.audit.export.source import Source
from portcullis.audit.log import open_log
from portcullis.bootstrap import alerts_watching
from portcullis.bootstrap.alerts import Alerts, alerting
from portcullis.bootstrap.alerts_rules import Rules
from portcullis.bootstrap.alerts_watching import Watching
from portcullis.bootstrap.foundation import founded
from portcullis.bootstrap.records import DATABASE
from portcullis.config import Config
from portcullis.config.places import GATE, audit_directory
from portcullis.core.alert import Level, Raised, Step, Wanted, Words
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.gateway.records import new_id
from portcullis.store.alerts import SqlAlerts
from portcullis.store.engine import open_sqlite
from sealers import sealer_at

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


class House:
    """Two logs, and what watches them as often as it is started."""

    def __init__(self, config, services, other, engine):
        self.config, self.services, self.other = config, services, other
        self.store = SqlAlerts(engine, services.clock, new_id, 3600.0)
        self.watching = None
        self.fails = 0
        self.puts = 0
        self.tended = []
        self.again = 0.0
        self.rules = Rules(None, lambda *_: None)

    def started(self):
        self.watching = Watching(
            *(self.config, self.store, self.rules, self.services.clock, self.put),
            self.tended.append,
            again=self.again,
        )
        self.watching.begin()
        return self

    def put(self, raised, places):
        if self.fails:
            self.fails -= 1
            raise OSError
        self.puts += 1
        self.store.put(tuple(raised), places)

    def refused(self, count, log=None, principal="a"):
        """So many refused calls, written down and signed."""
        log = log or self.services.recorder
        for number in range(count):
            log.append_now(event(f"{principal}{time.time_ns()}{number}", principal))
        time.sleep(0.06)

    def runs(self, steps=3):
        for _ in range(steps):
            self.watching.step()
        return [(one.rule, one.group["principal"], one.count) for one in self.all()]

    def all(self):
        return self.store.page(Wanted(), "", 100)


def event(number, principal):
    return Event(
        v=1,
        id=number,
        time=datetime.now(UTC),
        type=EventType.TOOL_CALL,
        gateway="g",
        principal=principal,
        server="crm",
        name="wipe",
        verdict="deny",
        code="PC3001",
    )


@pytest.fixture
def house(tmp_path):
    config = Config.model_validate(
        {
            "trust_domain": "example.test",
            "state": tmp_path / "state",
            "audit": {"checkpoint_seconds": 0.02},
        }
    )
    with contextlib.ExitStack() as stack:
        services = founded(stack, config, GATE, sealer_at(tmp_path))
        place, keys = audit_directory(config, "edge"), config.state / "keys" / "edge"
        other = stack.enter_context(
            open_log(
                place,
                keys,
                "example.test/edge",
                sealer=sealer_at(tmp_path),
                checkpoint_seconds=0.02,
            )
        )
        engine = open_sqlite(config.state / DATABASE)
        stack.callback(engine.dispose)
        yield House(config, services, other, engine)


def test_all_logs_count_and_what_was_there_before_is_history(house):
    house.refused(30)
    house.started()
    assert house.runs() == []
    house.refused(12)
    house.refused(8, house.other)
    assert house.runs() == [("refused-often", "a", 20)]
    assert house.watching.lag == 0


def test_a_start_goes_on_where_the_last_one_ended_and_raises_nothing_twice(house):
    house.started()
    house.refused(20)
    house.refused(10)
    assert house.runs() == [("refused-often", "a", 20)]
    house.started()  # killed: what was read since the beginning is read again
    assert house.runs() == [("refused-often", "a", 20)]
    house.watching.keep()
    house.started()
    house.refused(10, house.other)
    assert house.runs() == [("refused-often", "a", 40)]


def test_what_could_not_be_written_down_is_written_down_later_and_once(house):
    house.started()
    house.fails = 2
    house.refused(20)
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011 - as it was raised above
            house.watching.step()
    assert house.runs() == [("refused-often", "a", 20)]


def flooding(house, one):
    """Have it written down as soon as there is room."""
    while True:
        try:
            house.services.recorder.enqueue(one)
        except Problem:
            time.sleep(0.001)
        else:
            return


def test_an_agent_that_floods_the_log_makes_no_alert_late(house):
    house.again = 1.0
    house.started()
    for number in range(5000):
        flooding(house, event(f"f{number}", f"agent-{number % 9}"))
    cut = event("cut", "ada")
    made = {"type": EventType.ADMIN, "method": "kills.kill", "verdict": "allow", "code": ""}
    flooding(house, msgspec.structs.replace(cut, **made, name="agent:x"))
    time.sleep(0.2)
    began = time.process_time()
    while not any(one.rule == "cut-off" for one in house.all()):
        assert time.process_time() - began < 5.0
        house.watching.step()
    assert house.puts < 30  # not one for each of a hundred steps
    while house.watching.lag:
        house.watching.step()
    house.watching.keep()
    found = {one.rule: one.count for one in house.all() if one.group.get("principal") == "agent-0"}
    assert found["refused-often"] == 5000 // 9 // 20 * 20


def test_what_is_raised_again_is_written_down_with_the_next_that_is_new_or_a_little_later(house):
    house.again = 0.3
    house.started()
    house.refused(20)
    assert house.runs() == [("refused-often", "a", 20)]
    house.refused(20)
    assert house.runs() == [("refused-often", "a", 20)]
    house.started()  # killed before it was written down: it is read again
    time.sleep(0.3)
    house.runs()
    time.sleep(0.3)
    assert house.runs() == [("refused-often", "a", 40)]


def test_other_rules_are_in_force_without_a_start_and_what_was_counted_stays(house, tmp_path):
    folder = tmp_path / "watch"
    folder.mkdir()
    said = []
    house.rules = Rules(folder, lambda one, problem: said.append((one, problem)))
    house.started()
    house.refused(12)
    house.watching.step()
    own = "version: 1\nalerts:\n  own: {title: Own, level: low, detection: {it: {name: wipe}}}\n"
    (folder / "own.yaml").write_text(own)
    for _ in range(2):
        house.watching._listed_at = -1e9  # a second later
        house.watching.step()
    house.refused(8)
    for _ in range(3):
        house.watching.step()
    assert {one.rule: one.count for one in house.all()} == {"own": 8, "refused-often": 20}
    assert [one.get("rules") for one, _ in said] == [0, 1]
    assert house.tended[-1] is True


def test_a_log_that_is_changed_on_the_disk_is_an_alert_and_not_silence(house, monkeypatch):
    monkeypatch.setattr(alerts_watching, "_SURE_SECONDS", 0.05)
    house.started()
    house.refused(3)
    house.runs()
    house.refused(3)
    place = audit_directory(house.config, GATE) / "tile" / "entries" / "000.p"
    kept = {one: one.read_bytes() for one in place.iterdir()}
    for one, raw in kept.items():
        one.write_bytes(raw.replace(b"PC3001", b"PC3002"))
    house.watching.step()
    assert house.all() == ()
    for _ in range(3):
        time.sleep(0.03)
        house.watching.step()
    (alert,) = house.all()
    assert (alert.rule, alert.level, alert.count) == ("log-fault", "critical", 1)
    for one, raw in kept.items():
        one.write_bytes(raw)
    house.watching.step()
    assert house.watching.lag == 0


def test_a_log_that_the_system_does_not_let_us_read_keeps_no_other_from_being_read(
    house, monkeypatch
):
    house.started().runs()
    whole = Source.read

    def failing(source, start, count):
        if source.directory == audit_directory(house.config, "edge"):
            raise PermissionError
        return whole(source, start, count)

    monkeypatch.setattr(Source, "read", failing)
    house.refused(20)
    assert house.runs() == [("refused-often", "a", 20)]


def test_a_log_that_is_not_the_one_that_was_read_is_an_alert(house):
    house.refused(3)
    house.started()
    kept, places = house.store.memory()
    rewritten = {
        name: (place if name != GATE else type(place)(place.next, "00" * 32), 0)
        for name, place in places.items()
    }
    house.store.remember(kept, rewritten)
    house.started().watching.step()
    (one,) = house.all()
    assert (one.rule, one.level, one.group) == (
        "log-fault",
        "critical",
        {"gateway": "example.test/gate"},
    )


async def test_a_log_that_takes_nothing_is_an_alert_and_so_is_an_alarm_then(house):
    alerts = Alerts(house.store, house.services, CollectorRegistry())
    alerts.raised("breaker.open", "agent:a", "5 denied")  # its event is on record
    alerts.raised("strange", "agent:a", "of no rule")
    house.services.recorder._failure = "the audit log cannot be written: disk full"
    alerts.raised("quarantine", "agent:b", "its risk is critical")
    task = asyncio.create_task(alerts.run())
    for _ in range(100):
        await asyncio.sleep(0.02)
        if len(house.all()) == 3:
            break
    task.cancel()
    found = {one.rule: (one.level.value, one.subject) for one in house.all()}
    house.services.recorder._failure = ""
    assert found == {
        "alarm-strange": ("high", "subject=agent:a"),
        "alarm-quarantine": ("high", "subject=agent:b"),
        "log-fault": ("critical", "gateway=example.test/gate"),
    }


def test_what_nobody_takes_on_is_told_to_others_and_recorded_and_what_is_quiet_ends(house):
    steps = [
        Step(after=0.1, tell={"boss": Level.HIGH}),
        Step(after=0.2, tell={"ceo": Level.CRITICAL}),
    ]
    woken, recorded = [], []
    house.services.recorder.enqueue = recorded.append
    opened = []
    alerts = Alerts(house.store, house.services, CollectorRegistry(), steps, opened.append)
    alerts.subscribe(lambda: woken.append(1))

    def raised(rule, level, **more):
        words = Words(title="T")
        now = house.services.clock.now() - 60
        group = {"principal": "a"}
        made = {"rule": rule, "level": level, "words": words, "group": group, "at": now}
        return Raised(**made, events=("e",), **more)

    some = (
        raised("loud", Level.HIGH),
        raised("low", Level.LOW),
        raised("ends", Level.LOW, quiet=0.1),
    )
    alerts.put(some, {})
    alerts.put(some, {})
    assert [one.rule for one in opened] == ["loud", "low", "ends"]
    woken.clear()
    alerts.tend(caught_up=True)
    assert woken == []
    time.sleep(0.3)
    alerts.tend(caught_up=False)
    alerts.tend(caught_up=False)
    assert {one.rule: (one.state.value, one.escalated, one.turn) for one in house.all()} == {
        "loud": ("open", 2, 3),  # nobody is told of the second step
        "low": ("open", 2, 2),
        "ends": ("open", 2, 2),
    }
    alerts.tend(caught_up=True)
    assert [one.state.value for one in house.all() if one.rule == "ends"] == ["resolved"]
    found = [(one.method, one.parameters) for one in recorded if one.method != "alert.raised"]
    (first, said), (last, why) = found
    assert (first, said["rule"], said["step"], said["channels"]) == (
        "alert.escalated",
        "loud",
        1,
        ["boss"],
    )
    assert (last, why["rule"]) == ("alert.ended", "ends")


async def test_beside_a_gate_it_runs_by_itself_and_a_faulty_rule_keeps_it_from_starting(
    house, tmp_path
):
    woken = []
    async with alerting(house.config, house.services, CollectorRegistry()) as alerts:
        alerts.subscribe(lambda: woken.append(time.monotonic()))
        began = time.monotonic()
        house.refused(20)
        for _ in range(100):
            await asyncio.sleep(0.02)
            if woken:
                break
    assert woken[0] - began < 1.0
    assert [one.rule for one in house.all()] == ["refused-often"]
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "own.yaml").write_text("version: 1\nalerts:\n  x: {title: X, level: loud}\n")
    settings = house.config.alerts.model_copy(update={"rules": rules})
    config = house.config.model_copy(update={"alerts": settings})
    with pytest.raises(Problem, match=r"rules/own\.yaml:3"):
        async with alerting(config, house.services, CollectorRegistry()):
            pass
