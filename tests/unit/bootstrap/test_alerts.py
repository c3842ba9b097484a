"""If these fail, what a log says raises nothing, or raises it again after every start."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry

from portcullis.audit.log import open_log
from portcullis.bootstrap.alerts import Alerts, alerting
from portcullis.bootstrap.alerts_watching import Watching
from portcullis.bootstrap.foundation import DATABASE, founded
from portcullis.config import Config
from portcullis.config.places import GATE, audit_directory
from portcullis.core.alert import Wanted
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.gateway.records import new_id
from portcullis.oversight.alerts.builtin import builtin
from portcullis.oversight.alerts.engine import Engine
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

    def started(self):
        self.watching = Watching(
            self.config, self.store, Engine(builtin()), self.services.clock, self.put
        )
        self.watching.begin()
        return self

    def put(self, raised, places):
        if self.fails:
            self.fails -= 1
            raise OSError
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
