"""If these fail, what a wrapped server let pass is in no queue, or nobody hears that it waits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from datetime import UTC, datetime

import msgspec
import pytest

from exported import event
from portcullis.audit.log import open_log
from portcullis.bootstrap import GATE, audit_directory, founded, oversight, reviews
from portcullis.bootstrap.reviews import flagged, upkeep
from portcullis.config import Config
from portcullis.config.review import Review
from portcullis.control.reviews import Reviewing
from portcullis.core.call import Action, RiskClass
from portcullis.core.errors import Problem
from portcullis.core.review import Wanted
from portcullis.oversight.keeping import Keeping
from sealers import sealer_at

pytestmark = pytest.mark.anyio
LONG_AGO = datetime(2020, 1, 31, tzinfo=UTC)


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_the_gate_reads_what_others_left_and_says_once_that_it_is_still_open(tmp_path):
    config = Config(trust_domain="example.test", state=tmp_path / "state")
    sealer = sealer_at(tmp_path)
    place, keys = audit_directory(config, "mcp-mail"), config.state / "keys" / "mcp-mail"
    keys.parent.mkdir(mode=0o700, parents=True)
    old = msgspec.structs.replace(event(1, risk="delete", review=True), time=LONG_AGO)
    with open_log(place, keys, "example.test/mcp-mail", sealer=sealer) as log:
        log.append_now(old)
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 3:
            raise asyncio.CancelledError

    with contextlib.ExitStack() as stack:
        services = founded(stack, config, GATE, sealer)
        with pytest.raises(asyncio.CancelledError):
            await upkeep(config, services, sleep)
        (entry,) = await services.reviews("test").list(Wanted())
        other = founded(stack, config, "mcp-other", sealer)
        await upkeep(config, other, sleep)  # it is the gate's work alone
    assert (entry.id, entry.log) == (old.id, "mcp-mail")
    assert entry.reminded_at > old.time.timestamp()
    assert slept == [5.0, 60.0, 60.0, 60.0]
    text = b"".join(path.read_bytes() for path in audit_directory(config).rglob("*.journal"))
    assert text.count(b"review.reminded") == 1


async def test_a_fault_ends_no_upkeep_of_reviews_and_none_of_approvals(tmp_path, monkeypatch):
    config = Config(trust_domain="example.test", state=tmp_path / "state")
    done = []

    async def damaged(work) -> None:
        done.append(type(work).__name__)
        if done.count("Keeping") > 2:
            raise asyncio.CancelledError
        raise ValueError

    async def sleep(seconds: float) -> None:
        if len(done) > 2:
            raise asyncio.CancelledError

    for work, name in ((Reviewing, "remind"), (Reviewing, "trim"), (Keeping, "look")):
        monkeypatch.setattr(work, name, damaged)
    with contextlib.ExitStack() as stack:
        services = founded(stack, config, GATE, sealer_at(tmp_path))
        with pytest.raises(asyncio.CancelledError):
            await upkeep(config, services, sleep)
        assert done == ["Reviewing"] * 3
        monkeypatch.setattr(oversight, "_LOOK_SECONDS", 0.001)
        with pytest.raises(asyncio.CancelledError):
            await oversight.upkeep(services)


async def test_a_database_that_is_away_at_the_start_holds_nothing_up(tmp_path, monkeypatch):
    config = Config(trust_domain="example.test", state=tmp_path / "state")
    opened, slept = [], []

    @contextlib.contextmanager
    def away(found):
        opened.append(threading.current_thread())
        if len(opened) == 1:
            raise Problem("PC7001", "store: it cannot be reached")
        yield None

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(reviews, "projection_of", away)
    with contextlib.ExitStack() as stack:
        services = founded(stack, config, GATE, sealer_at(tmp_path))
        with pytest.raises(asyncio.CancelledError):
            await upkeep(config, services, sleep)
    assert slept == [5.0, 60.0, 60.0], "it tried again, then went on"
    assert threading.main_thread() not in opened, "the control plane goes on meanwhile"


def test_what_is_flagged_is_what_the_configuration_says():
    config = Config(trust_domain="example.test")
    assert flagged(config) == {
        (Action.TOOL, RiskClass.DELETE),
        (Action.TOOL, RiskClass.EXTERNAL),
    }
    more = Review(risks=("modify",), actions=("tool", "model"))
    assert flagged(config.model_copy(update={"review": more})) == {
        (Action.TOOL, RiskClass.MODIFY),
        (Action.MODEL, RiskClass.MODIFY),
    }
