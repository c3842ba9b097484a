"""If these fail, the control plane keeps for ever what a host's policy has pruned, or one bad log
keeps it from the others."""

import asyncio
import shutil
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from portcullis.audit.log import open_log
from portcullis.audit.pruned import PRUNE, parameters
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier, verify
from portcullis.bootstrap import SystemClock, hosts_pruned
from portcullis.bootstrap.background import background
from portcullis.bootstrap.hosts_pruned import PrunedHosts, pruning_hosts
from portcullis.config import Config
from portcullis.config.places import audit_directory
from portcullis.core.event import Event, EventType
from sealers import sealer_at

pytestmark = pytest.mark.anyio
OLD = datetime.now(UTC) - timedelta(days=100)


class Forgetting:
    def __init__(self, engine):
        del engine

    def forget(self, log, numbers):
        assert (log, list(numbers)) == ("edge", list(range(256)))


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A control plane's folder with the copy of a log that says what it pruned."""
    monkeypatch.setattr(hosts_pruned, "SqlProjection", Forgetting)
    config = Config(
        trust_domain="example.org",
        state=tmp_path / "state",
        audit={"retention": {"default": {"max_days": 90}}},
        evidence={"frameworks": []},
    )
    there = tmp_path / "far" / "log"
    with open_log(
        there, tmp_path / "keys", "example.org/edge", sealer=sealer_at(tmp_path), queue=1000
    ) as log:
        for number in range(300):
            fields = {"v": 1, "id": f"{number}", "time": OLD, "gateway": "example.org/edge"}
            log.enqueue(Event(type=EventType.TOOL_CALL, verdict="allow", **fields))
        said = parameters(list(range(256)), {"tool_call": time.time() - 90 * 86_400}, {})
        fields |= {"id": "p", "time": datetime.now(UTC), "method": PRUNE, "parameters": said}
        log.enqueue(Event(type=EventType.ADMIN, verdict="allow", **fields))
    shutil.copytree(there, audit_directory(config, "edge"))
    apart = [SimpleNamespace(log=name, apart=True) for name in ("bad", "edge", "never")]
    presences = SimpleNamespace(all=lambda: [*apart, SimpleNamespace(log="near", apart=False)])
    privacy = SimpleNamespace(book=SimpleNamespace(in_force=tuple), acting=asyncio.Lock())
    bad = audit_directory(config, "bad")
    shutil.copytree(there, bad)
    (bad / "checkpoint").write_text("no checkpoint")
    made = PrunedHosts(config, presences, None, privacy, SystemClock())
    return SimpleNamespace(config=config, pruned=made, privacy=privacy)


async def test_what_a_host_pruned_goes_here_too_whatever_another_log_is_like(made):
    assert made.pruned.names() == ["bad", "edge"], "those that are here"
    over, nights = asyncio.Event(), []

    async def sleep(seconds):
        nights.append(seconds)
        if len(nights) > 1:
            over.set()
            await asyncio.Event().wait()

    with capture_logs() as told:
        async with background(pruning_hosts(made.pruned, made.privacy, sleep)):
            await asyncio.wait_for(over.wait(), 60)
    events = {one["log"]: one["event"] for one in told if "log" in one}
    assert events == {"bad": "log_not_pruned", "edge": "log_pruned"}
    assert nights[1] == 86_400.0
    place = audit_directory(made.config, "edge")
    verifier = own_verifier(place)
    assert len(list(records(place, verifier))) == 301 - 256
    assert verify(place, verifier).ok
