"""Any sequence of verbs, against the table: state, kill feed and database always agree."""

import asyncio
import dataclasses
import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portcullis.config import Tokens
from portcullis.control.principals import Principals
from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import TRANSITIONS, State, Verb
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.store.directory import SqlDirectory
from portcullis.store.engine import open_sqlite
from portcullis.store.killfeed import LocalKillFeed
from portcullis.store.operators import SqlOperators
from portcullis.store.registrations import SqlRegistrations

AGENT = PrincipalKind.AGENT
STEPS = st.lists(st.sampled_from([*Verb, "rotate", "restart"]), max_size=12)
NAMES = itertools.count(1)


@dataclasses.dataclass
class Clock:
    time: float = 1_800_000_000.0

    def now(self):
        return self.time

    monotonic = now


class Recorder:
    async def durable(self, event):
        pass

    def enqueue(self, event):
        pass


class Life:
    """One agent, and what the table says of it."""

    def __init__(self, engine):
        self.clock = Clock()
        self.name = f"shop-{next(NAMES)}"
        self.engine = engine
        self.state = State.ACTIVE
        self.rotated_at = 0.0
        self.restart()

    def restart(self):
        self.directory = SqlDirectory(self.engine)
        self.feed = LocalKillFeed(self.engine, self.directory, self.clock)
        self.principals = Principals(
            directory=self.directory,
            registrations=SqlRegistrations(self.engine),
            operators=SqlOperators(self.engine),
            feed=self.feed,
            authority=None,
            records=Records(
                gateway="g", recorder=Recorder(), clock=self.clock, new_id=lambda: "id"
            ),
            clock=self.clock,
            tokens=Tokens(),
            trust_domain="example.test",
            route="test",
        )

    def who(self, issued_at):
        return Principal(
            kind=AGENT, id=self.name, credential="c", expires_at=2e9, issued_at=issued_at
        )

    async def live(self, steps):
        ada = Principal(
            kind=PrincipalKind.OPERATOR, id="ada", credential="c", expires_at=2e9, roles=("admin",)
        )
        context = Context(principal=ada, session=None, source="", trace_id="", received_at=0)
        await self.principals.create(context, AGENT, self.name, owner="shop", purpose="sells")
        for step in steps:
            self.clock.time += 1
            await self.take(step, context)
            self.agree()

    async def take(self, step, context):
        if step == "restart":
            self.restart()
        elif step == "rotate":
            work = self.principals.rotate(context, AGENT, self.name)
            if self.state is State.REVOKED:
                with pytest.raises(Problem, match="PC2073"):
                    await work
            else:
                self.rotated_at = (await work).rotated_at
        elif step is Verb.EXPIRE:
            record = self.directory.get(AGENT, self.name)
            self.clock.time = max(self.clock.time, record.review_at)
            await self.principals.expire_due()
            self.state = TRANSITIONS.get((self.state, step), self.state)
        else:
            work = self.principals.change(context, AGENT, self.name, step)
            after = TRANSITIONS.get((self.state, step))
            if after is None:
                with pytest.raises(Problem, match="PC2073"):
                    await work
            else:
                assert (await work).state is after
                self.state = after

    def agree(self):
        record = self.directory.get(AGENT, self.name)
        assert (record.state, record.rotated_at) == (self.state, self.rotated_at)
        for issued_at in (self.clock.now(), self.rotated_at, 1_800_000_000.0):
            outdated = issued_at < self.rotated_at
            cut = self.feed.reason(self.who(issued_at), None)
            assert (cut is None) == (self.state is State.ACTIVE and not outdated)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(STEPS)
def test_state_feed_and_database_agree_after_any_sequence_of_verbs_and_restarts(steps):
    asyncio.run(Life(ENGINE).live(steps))


def test_nothing_follows_revoked():
    assert all(state is not State.REVOKED for state, _ in TRANSITIONS)


FOLDER = tempfile.TemporaryDirectory()
ENGINE = open_sqlite(Path(FOLDER.name) / "portcullis.db")
