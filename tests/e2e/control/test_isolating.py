"""If these fail, an operator cannot isolate an agent, close a breaker, or see which is which."""

import asyncio
import time

from e2e.control.led import eventually, running
from portcullis.core.breaker import Breaker, Key, State
from portcullis.store.breakers import SqlBreakers
from portcullis.store.engine import open_sqlite


def acts(deployment):
    return [
        (event["method"], event["name"], event.get("parameters", {}).get("reason"))
        for event in deployment.events()
        if event.get("method", "").startswith(("quarantine.", "breaker."))
    ]


def test_agents_are_isolated_and_breakers_closed_with_and_without_a_gate(deployment):
    deployment.create("agent", "shop-1")
    deployment.run("agent", "quarantine", "shop-1", "--reason", "odd")
    assert deployment.json("agent", "show", "shop-1")["quarantined"] is True
    opened(deployment)
    with running(deployment):
        assert "in       quarantine" in deployment.run("agent", "show", "shop-1").out
        done = deployment.json("agent", "release", "shop-1", "--reason", "looked at")
        assert done == {"scope": "agent", "value": "shop-1", "state": "released"}
        assert deployment.json("agent", "show", "shop-1")["quarantined"] is False
        again = deployment.run("agent", "release", "shop-1", "--reason", "looked at", code=1)
        assert "PC4011" in again.err
        unknown = deployment.run("agent", "quarantine", "shop-9", "--reason", "odd", code=1)
        assert "PC2010" in unknown.err
        gone = deployment.run("session", "quarantine", "0a1b", "--reason", "odd", code=1)
        assert "PC2006" in gone.err
        for words in (("agent", "quarantine", "shop-1"), ("breaker", "reset", "agent:shop-1")):
            assert "PC7004" in deployment.run(*words, "--reason", " ", code=2).err
        (one,) = deployment.json("breaker", "list")
        assert (one["name"], one["state"], one["reason"]) == ("agent:shop-1", "open", "4 denied")
        assert deployment.run("breaker", "list").out.startswith("agent:shop-1 ")
        deployment.run("breaker", "reset", "agent:shop-1", "--reason", "it was a test")
        assert deployment.json("breaker", "list") == []
        missing = deployment.run("breaker", "reset", "upstream:x/y", "--reason", "no", code=1)
        assert "PC4012" in missing.err
    opened(deployment)
    assert "agent:shop-1" in deployment.run("breaker", "list").out
    deployment.run("breaker", "reset", "agent:shop-1", "--reason", "again")
    assert "all breakers are closed" in deployment.run("breaker", "list").err
    eventually(lambda: len([one for one in acts(deployment) if one[2]]) >= 4)
    assert [one for one in acts(deployment) if one[2]] == [
        ("quarantine.begin", "agent:shop-1", "odd"),
        ("quarantine.end", "agent:shop-1", "looked at"),
        ("breaker.close", "agent:shop-1", "it was a test"),
        ("breaker.close", "agent:shop-1", "again"),
    ]


def opened(deployment):
    """A breaker that a gateway opened."""
    engine = open_sqlite(deployment.state / "portcullis.db")
    now = time.time()
    breaker = Breaker(
        key=Key(scope="agent", subject="shop-1"),
        state=State.OPEN,
        reason="4 denied",
        since=now,
        until=now + 600,
    )
    try:
        assert asyncio.run(SqlBreakers(engine, "example.test/gate").open(breaker))
    finally:
        engine.dispose()
