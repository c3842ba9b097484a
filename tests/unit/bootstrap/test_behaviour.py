"""If these fail, nobody learns from the logs, twice from one, or a human's word is lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta

import pytest

from portcullis.audit.log import open_log
from portcullis.bootstrap.behaviour import Learning
from portcullis.bootstrap.foundation import founded
from portcullis.bootstrap.keys import SystemClock
from portcullis.bootstrap.records import DATABASE
from portcullis.config import Config
from portcullis.config.behaviour import Behaviour, Bounds
from portcullis.config.places import GATE, audit_directory
from portcullis.core.behaviour import Phase, RiskLevel, Thresholds
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.store.behaviour import FollowedLevels
from portcullis.store.engine import open_sqlite
from sealers import sealer_at

pytestmark = pytest.mark.anyio
OPERATOR = Context(
    principal=Principal(
        kind=PrincipalKind.OPERATOR, id="ada", credential="c", expires_at=9e9, roles=("admin",)
    ),
    session=None,
    source="test",
    trace_id="0" * 32,
    received_at=0.0,
)


class Alarm:
    def __init__(self):
        self.kinds = []

    def raised(self, kind, subject, reason):
        self.kinds.append((kind, subject, reason))


def event(number, agent, **fields):
    base = {
        "v": 1,
        "id": f"{agent}{number:05}",
        "time": datetime.now(UTC) - timedelta(seconds=100 - number),
        "type": EventType.TOOL_CALL,
        "gateway": "g",
        "principal_kind": "agent",
        "principal": agent,
        "credential": "c",
        "source": "10.0.0.1:1",
        "server": "db",
        "name": "query",
        "verdict": "allow",
    }
    return Event(**base | fields)


@pytest.fixture
def deployed(tmp_path):
    behaviour = Behaviour(learn_days=0, bounds=Bounds(refusals=1))
    config = Config.model_validate(
        {
            "trust_domain": "example.test",
            "state": tmp_path / "state",
            "behaviour": behaviour,
            "audit": {"checkpoint_seconds": 0.02},
        }
    )
    with contextlib.ExitStack() as stack:
        services = founded(stack, config, GATE, sealer_at(tmp_path))
        place, keys = audit_directory(config, "mcp-mail"), config.state / "keys" / "mcp-mail"
        other = stack.enter_context(
            open_log(
                place,
                keys,
                "example.test/mcp-mail",
                sealer=sealer_at(tmp_path),
                checkpoint_seconds=0.02,
            )
        )
        engine = open_sqlite(config.state / DATABASE)
        stack.callback(engine.dispose)
        yield config, services, other, engine


def learning(config, engine, said, alarm):
    made = Learning(config, engine, {}.get, SystemClock(), lambda *one: said.append(one), alarm)
    made.begin()
    return made


def learned(one, agent, count=1, *, what="calls"):
    """Take steps until so much of an agent was read: entries are, once they are signed for."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        one.step()
        profile = one.learner.profiles.get(agent)
        found = None if profile is None else profile.counts.get(what)
        if found is not None and found.day == count:
            return
        time.sleep(0.01)
    raise AssertionError(agent)


async def test_all_logs_teach_a_human_ratifies_and_the_levels_follow(deployed):
    config, services, other, engine = deployed
    said, alarm = [], Alarm()
    one = learning(config, engine, said, alarm)
    services.recorder.append_now(event(1, "shop"))
    other.append_now(event(1, "mail"))
    learned(one, "shop")
    learned(one, "mail")
    behaving = services.behaving("test")
    assert [each.standing.agent for each in await behaving.list()] == ["mail", "shop"]
    with pytest.raises(Problem, match="PC3090"):
        await behaving.ratify(OPERATOR, "nobody", "x")
    done = await behaving.ratify(OPERATOR, "shop", "as it should be")
    assert (done.standing.phase, done.standing.by) == (Phase.RATIFIED, "ada")
    with pytest.raises(Problem, match="PC3091"):
        await behaving.ratify(OPERATOR, "shop", "again")
    one.step()
    assert (await behaving.get("shop")).standing.phase is Phase.LOCKED
    levels = FollowedLevels(engine, SystemClock(), Thresholds())
    for number in range(2, 8):
        services.recorder.append_now(event(number, "shop", verdict="deny", code="PC3001"))
    learned(one, "shop", 6, what="refusals")
    levels.refresh()
    assert levels.level("shop") is RiskLevel.HIGH
    assert levels.level("mail") is levels.level("nobody") is RiskLevel.NORMAL
    assert levels.reasons("shop")[0].startswith("bound: refusals in an hour: ")
    told = [(method, each["level"]) for method, each in said]
    assert told[-1] == ("behaviour.level", "high")
    assert set(told) <= {told[-1], ("behaviour.level", "elevated")}, "as they were read"
    assert alarm.kinds == [("behaviour.high", "agent:shop", "its risk is high: bound")]
    (shown,) = [each for each in await behaving.list() if each.standing.agent == "shop"]
    assert shown.level is RiskLevel.HIGH
    one.keep()
    usual = {each.subject: each.usual for each in await behaving.usual("shop")}
    assert usual["tools"] == "db.query"
    again = learning(config, engine, said, alarm)
    kept = again.learner.profiles["shop"]
    again.step()
    assert kept.counts["calls"].day == 7, "nothing is learned twice"
    assert len(alarm.kinds) == 1, "what was raised before is not raised again"


async def test_what_was_not_kept_is_learned_again_and_what_a_human_said_stands(deployed):
    config, services, _, engine = deployed
    one = learning(config, engine, [], Alarm())
    for number in range(5):
        services.recorder.append_now(event(number, "shop"))
    learned(one, "shop", 5)
    await services.behaving("test").ratify(OPERATOR, "shop", "as it should be")
    standing = one.learner.standing(one.learner.profiles["shop"])
    one._store.keep([standing])
    found = (await services.behaving("test").get("shop")).standing
    assert (found.phase, found.turn) == (Phase.RATIFIED, 1), "not written over"
    two = learning(config, engine, [], Alarm())
    learned(two, "shop", 5)
    two.step()
    assert two.learner.profiles["shop"].phase is Phase.LOCKED
    assert two.learner.profiles["shop"].events == 5


async def test_two_humans_at_once_do_not_both_decide(deployed):
    config, services, _, engine = deployed
    one = learning(config, engine, [], Alarm())
    services.recorder.append_now(event(1, "shop"))
    learned(one, "shop")
    store = services.behaviour_parts.store
    how = {"by": "bob", "why": "x", "at": 1.0}
    assert store.decide("shop", 0, Phase.RATIFIED, **how)
    assert not store.decide("shop", 0, Phase.LEARNING, **how)
    assert store.get("shop").phase is Phase.RATIFIED


async def test_too_little_is_not_ratified(deployed, tmp_path):
    config, services, _, engine = deployed
    one = learning(config, engine, [], Alarm())
    services.recorder.append_now(event(1, "shop"))
    learned(one, "shop")
    strict = Behaviour(learn_days=7)
    parts = services.behaviour_parts
    object.__setattr__(parts, "settings", strict)
    with pytest.raises(Problem, match="PC3092"):
        await services.behaving("test").ratify(OPERATOR, "shop", "early")
    reset = await services.behaving("test").reset(OPERATOR, "shop", "anew")
    assert reset.standing.phase is Phase.LEARNING


async def test_the_levels_follow_another_process_and_end_when_cancelled(deployed):
    config, services, _, engine = deployed
    one = learning(config, engine, [], Alarm())
    services.recorder.append_now(event(1, "shop"))
    learned(one, "shop")
    own = open_sqlite(config.state / DATABASE)
    levels = FollowedLevels(own, SystemClock(), Thresholds())
    watching = asyncio.ensure_future(levels.watch())
    try:
        for number in range(2, 8):
            services.recorder.append_now(event(number, "shop", verdict="deny", code="PC3001"))
        learned(one, "shop", 6, what="refusals")
        async with asyncio.timeout(5):
            while levels.score("shop") < 30:  # noqa: ASYNC110 - a file is followed
                await asyncio.sleep(0.02)
        assert levels.level("shop") is RiskLevel.ELEVATED, "while it is learned, no more"
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        own.dispose()


async def test_a_log_that_is_damaged_does_not_keep_others_from_being_learned_from(deployed):
    config, services, other, engine = deployed
    one = learning(config, engine, [], Alarm())
    other.append_now(event(1, "mail"))
    (audit_directory(config, "mcp-mail") / "log.vkey").write_text("nonsense\n")
    services.recorder.append_now(event(1, "shop"))
    learned(one, "shop")
    assert set(one.learner.profiles) == {"shop"}
