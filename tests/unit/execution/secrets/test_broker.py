"""If these fail, a use of a credential is not known, or a rotation costs calls."""

from __future__ import annotations

import asyncio
import time

import pytest

from portcullis.config.secrets import Injection
from portcullis.core.behalf import Behalf
from portcullis.core.errors import Problem
from portcullis.core.secret import Secret
from portcullis.core.secret_use import Holder, holder
from portcullis.execution.secrets import EnvSecrets, Secrets
from portcullis.execution.secrets import broker as module
from portcullis.execution.secrets.broker import SecretBroker
from portcullis.execution.secrets.environment import environment, held
from portcullis.execution.secrets.openbao import OpenBaoSecrets

pytestmark = pytest.mark.anyio

FIRST, SECOND = "first-value", "second-value"
SHOP = Behalf(kind="agent", principal="shop", session="s1")


class Clock:
    def __init__(self):
        self.at = 1000.0

    def now(self):
        return self.at

    def monotonic(self):
        return self.at


class Kept:
    """Where uses are written; ``full`` makes that fail."""

    def __init__(self):
        self.rows = []
        self.full = False

    def add(self, uses):
        if self.full:
            raise Problem("PC9002", "no room")
        self.rows += uses

    def changes(self):
        return 0


@pytest.fixture
def environ():
    return {"CRM": FIRST, "BAIT": "honey-value-1234"}


@pytest.fixture
def made(environ):
    kept, clock, told = Kept(), Clock(), []
    broker = SecretBroker(
        Secrets({"env": EnvSecrets(environ)}),
        key=b"k" * 32,
        leases=kept,
        clock=clock,
        fresh_seconds=300,
        overlap_seconds=60,
        forbidden=("env:BAIT",),
        changed=lambda reference, version: told.append((reference, version)),
    )
    return broker, kept, clock, told


async def test_uses_are_merged_by_who_and_what_for(made):
    broker, kept, clock, _ = made
    for at in (1000.0, 1001.0, 1002.0):
        clock.at = at
        await broker.lease("env:CRM", upstream="mcp:crm", scope="read", behalf=SHOP)
    await broker.lease("env:CRM", upstream="mcp:crm", scope="x" * 60)
    await broker.write()
    first, second = kept.rows
    assert (first.agent, first.session, first.upstream, first.scope) == (
        "shop", "s1", "mcp:crm", "read",
    )  # fmt: skip
    assert (first.first, first.last, first.count) == (1000.0, 1002.0, 3)
    assert (second.agent, second.scope) == ("", "?")
    assert "first-value" not in repr(kept.rows)


async def test_a_call_knows_what_was_sent_for_it(made):
    broker, _, _, _ = made
    used = []
    holder.set(Holder(agent="shop", session="s1", used=used))
    lease = await broker.lease("env:CRM", upstream="mcp:crm")
    await broker.lease("env:CRM", upstream="mcp:crm")
    assert used == [f"env:CRM@{lease.version}"]


async def test_uses_that_cannot_be_written_wait_and_then_nothing_is_given_out(made, monkeypatch):
    broker, kept, clock, _ = made
    kept.full = True
    monkeypatch.setattr(module, "MOST_USES", 2)
    await broker.lease("env:CRM", upstream="a")
    await broker.write()
    await broker.lease("env:CRM", upstream="b")
    with pytest.raises(Problem) as caught:
        await broker.lease("env:CRM", upstream="c")
    assert caught.value.code == "PC5066"
    kept.full = False
    clock.at += 1
    await broker.lease("env:CRM", upstream="a")
    await broker.write()
    assert {one.upstream: one.count for one in kept.rows} == {"a": 2, "b": 1}


async def test_few_uses_that_cannot_be_written_for_long_are_too_many(made):
    broker, kept, clock, _ = made
    kept.full = True
    for _ in range(3):
        await broker.lease("env:CRM", upstream="a")
        await broker.write()
        clock.at += 12
    with pytest.raises(Problem, match="PC5066"):
        await broker.lease("env:CRM", upstream="a")
    kept.full = False
    await broker.write()
    clock.at += 60
    await broker.lease("env:CRM", upstream="a")
    await broker.write()
    assert sum(one.count for one in kept.rows) == 4


async def test_what_the_gate_uses_by_itself_is_noted_too(made):
    broker, kept, clock, _ = made
    source = broker.own("notifications.chat")
    for _ in range(2):
        assert await asyncio.to_thread(source.resolve, "env:CRM") == FIRST
        clock.at += 1
    with pytest.raises(Problem, match="PC5065"):
        source.resolve("env:BAIT")
    await broker.write()
    (one,) = kept.rows
    assert (one.agent, one.session, one.upstream) == ("", "", "notifications.chat")
    assert (one.count, one.last - one.first) == (2, 1)
    assert one.version == broker.version(Secret(FIRST))
    source.resolve("env:CRM")
    broker.close()
    assert len(kept.rows) == 2


async def test_another_value_is_another_version_and_the_former_is_good_for_a_while(made, environ):
    broker, _, clock, told = made
    old = await broker.lease("env:CRM", upstream="a")
    assert await broker.newer(old, upstream="a") is None
    environ["CRM"] = SECOND
    new = await broker.lease("env:CRM", upstream="a")
    assert new.version != old.version
    assert told == [("env:CRM", new.version)]
    assert (await broker.newer(old, upstream="a")).secret == SECOND
    assert (await broker.newer(new, upstream="a")).secret == FIRST
    clock.at += 61
    assert await broker.newer(new, upstream="a") is None


async def test_a_refused_secret_is_looked_up_anew(made, environ):
    broker, _, _, _ = made
    old = await broker.lease("env:CRM", upstream="a")
    environ["CRM"] = SECOND
    assert (await broker.newer(old, upstream="a")).secret == SECOND


async def test_calls_that_are_refused_at_once_ask_once_and_all_get_the_new_one(made):
    asked = []

    class Far:
        """A server that takes its time."""

        value = Secret(FIRST)

        def ready(self, reference):
            return None if asked and asked[-1] == "forgotten" else self.value

        def forget(self, reference):
            asked.append("forgotten")

        def leased(self, reference):
            return False

        def resolve(self, reference):
            time.sleep(0.05)
            asked.append("answered")
            self.value = Secret(SECOND)
            return self.value

    far = Far()
    broker = SecretBroker(
        Secrets({"far": far}),
        key=b"k" * 32,
        leases=Kept(),
        clock=Clock(),
        fresh_seconds=300,
        overlap_seconds=60,
        remote=(far,),
    )
    old = await broker.lease("far:x", upstream="a")
    found = await asyncio.gather(*(broker.newer(old, upstream="a") for _ in range(5)))
    assert [one.secret.reveal() for one in found] == [SECOND] * 5
    assert asked == ["forgotten", "answered"]


async def test_nobody_gets_a_honeytoken_but_what_looks_for_it(made):
    broker, _, _, _ = made
    for ask in (broker.resolve, lambda one: asyncio.run(broker.lease(one, upstream="a"))):
        with pytest.raises(Problem) as caught:
            await asyncio.to_thread(ask, "env:BAIT")
        assert caught.value.code == "PC5065"
    assert broker.bait("env:BAIT") == "honey-value-1234"
    with pytest.raises(Problem):
        broker.bait("env:CRM")


async def test_what_nobody_uses_is_dropped_from_memory(made):
    broker, _, clock, _ = made
    await broker.lease("env:CRM", upstream="a")
    clock.at += 301
    broker._drop()
    assert broker._known == {}


async def test_what_a_process_has_in_its_environment_is_used_until_it_ends():
    """Else its lease would be revoked under it, for want of new uses."""
    clock, server = Clock(), Bao()
    source = OpenBaoSecrets(server, fresh_seconds=300, overlap_seconds=60, now=clock.monotonic)
    broker = SecretBroker(
        Secrets({"openbao": source}),
        key=b"k" * 32,
        leases=Kept(),
        clock=clock,
        fresh_seconds=300,
        overlap_seconds=60,
        remote=(source,),
    )
    injection = Injection(env="DATABASE", secret=CREDS)
    await environment({}, broker, upstream="db", injections=(injection,))
    release = held({}, broker, (injection,))
    for _ in range(20):
        clock.at += 100
        broker._drop()
        source.tend()
    assert server.asked.count("sys/leases/renew") == 1
    assert "sys/leases/revoke" not in server.asked
    release()
    for _ in range(20):
        clock.at += 100
        broker._drop()
        source.tend()
    assert server.asked.count("sys/leases/revoke") == 1


CREDS = "openbao:database/creds/reader#password"


class Bao:
    """An OpenBao server with one lease of an hour."""

    def __init__(self):
        self.asked = []

    def ask(self, method, path, body=None):
        self.asked.append(path)
        if path.startswith("sys/internal"):
            return 403, {}
        lease = {"lease_id": "one", "lease_duration": 3600, "renewable": True}
        return 200, lease | {"data": {"password": "a-leased-password"}}
