"""Evidence in a running gate: when packages are made, and what happens when something fails."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from portcullis.audit.log import open_log
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.evidence import Evidence, checked
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.review.continuous import save, saved
from sealers import sealer_at
from unit.review.making import ORIGIN, START, created, event, result

pytestmark = pytest.mark.anyio
HOUR = 3600


class World:
    """A log, a clock that is set by hand, and what was recorded."""

    def __init__(self, root: Path, **evidence) -> None:
        self.root = root
        self.now = START.timestamp() + 60
        self.recorded = []
        self.packages = root / "packages"
        (root / "policy").mkdir()
        (root / "policy" / "main.yaml").write_text("version: 1\n")
        with open_log(root / "log", root / "keys/gate", ORIGIN, sealer=sealer_at(root)) as log:
            for one in (created(0), event(1), result(2, 1)):
                log.enqueue(one)
        nothing = SimpleNamespace(all=tuple, sightings=tuple)
        self.services = SimpleNamespace(
            gateway=ORIGIN,
            sealer=sealer_at(root),
            clock=SimpleNamespace(now=lambda: self.now),
            pins=nothing,
            recorder=SimpleNamespace(enqueue=self.recorded.append),
            new_id=lambda: f"id-{len(self.recorded)}",
            version="1.0",
        )
        self.config = Config(
            trust_domain="example.org",
            state=root,
            policy=root / "policy",
            evidence={"frameworks": ["gdpr"], "seconds": 0.01, **evidence},
        )
        self.evidence = Evidence(self.config, self.services, CollectorRegistry(), root / "log")

    def made(self) -> int:
        return len(list(self.packages.iterdir())) if self.packages.exists() else 0

    def told(self) -> set[str]:
        return {one.name for one in self.recorded if one.method == "evidence.gap"}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, packages={"folder": tmp_path / "packages", "every_hours": 24})


async def test_packages_come_on_schedule_and_when_changed_gaps_have_settled(world):
    made = []
    for hours in (0, 0.1, 1, 23.9, 24.2, 25):
        world.now = START.timestamp() + 60 + hours * HOUR
        await world.evidence._once()
        made.append(world.made())
    assert made == [1, 2, 2, 2, 3, 3]  # the first look found gaps; on the next they had settled
    (package,) = {one.name for one in world.recorded if one.method == "evidence.package"}
    assert package == "gdpr"


async def test_a_restarted_gate_keeps_to_the_schedule_that_the_log_knows(world):
    await world.evidence._once()
    world.now += 60
    await world.evidence._once()
    with open_log(
        world.root / "log", world.root / "keys/gate", ORIGIN, sealer=world.services.sealer
    ) as log:
        for one in world.recorded:
            log.enqueue(one)
    again = Evidence(world.config, world.services, CollectorRegistry(), world.root / "log")
    before = world.made()
    await again._once()
    assert world.made() == before
    world.now += 25 * HOUR
    await again._once()
    assert world.made() == before + 1


@pytest.mark.parametrize(
    ("was", "becomes"), [(b"orders", b"ordera"), (b'"type"', b'"typo"')], ids=["event", "nonsense"]
)
async def test_a_log_that_does_not_verify_opens_a_gap_and_makes_no_package(world, was, becomes):
    found = await asyncio.to_thread(world.evidence._evaluated, anew=False)
    assert found.review.facts.size == 3
    bundle = next((world.root / "log/tile/entries").rglob("*.p/*"))
    bundle.write_bytes(bundle.read_bytes().replace(was, becomes))
    await world.evidence._once()
    assert "log-unverified" in world.told()
    assert world.made() == 0
    recorded = len(world.recorded)
    await world.evidence._once()
    assert len(world.recorded) == recorded


async def test_a_clock_that_is_set_back_does_not_end_the_packages(world):
    made = []
    for day in (40, 40.1, 0, 0.1, 1.2):
        world.now = START.timestamp() + 60 + 24 * HOUR * day
        await world.evidence._once()
        made.append(world.made())
    assert made == [1, 2, 3, 3, 4]


async def test_what_fails_once_is_tried_again(world):
    checkpoint = world.root / "log" / "checkpoint"
    kept = checkpoint.read_bytes()
    checkpoint.unlink()
    running = asyncio.create_task(world.evidence.run())
    await asyncio.sleep(0.1)
    assert world.recorded == []
    checkpoint.write_bytes(kept)
    for _ in range(200):
        await asyncio.sleep(0.01)
        if world.made():
            break
    assert world.made()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_nothing_is_evaluated_that_nobody_wants(tmp_path):
    world = World(tmp_path, frameworks=[])
    await asyncio.wait_for(world.evidence.run(), 1)
    assert world.recorded == []
    assert not (tmp_path / "evidence").exists()
    assert not (tmp_path / "keys/gate/evidence.key").exists()


async def test_a_gap_that_the_log_could_not_take_is_told_later(world):
    take, full = world.services.recorder.enqueue, Problem("PC6001", "the queue is full")

    def refuse(_):
        raise full

    world.services.recorder.enqueue = refuse
    with pytest.raises(Problem):
        await world.evidence._once()
    world.services.recorder.enqueue = take
    await world.evidence._once()
    assert "key-beside-data" in world.told()
    assert world.made() == 1


async def test_what_is_signed_does_not_rest_on_the_file_of_facts(world):
    with open_log(
        world.root / "log", world.root / "keys/gate", ORIGIN, sealer=world.services.sealer
    ) as log:
        log.enqueue(created(3, "agent:b", owner=""))
    await world.evidence._once()
    place = world.root / "evidence" / "facts.json"
    found = saved(place, world.root / "log", own_verifier(world.root / "log"))
    assert found.principals
    save(place, msgspec.structs.replace(found, principals={}))
    again = Evidence(world.config, world.services, CollectorRegistry(), world.root / "log")
    world.now += 25 * HOUR
    await again._once()
    newest = max(world.packages.iterdir())
    assert "agent-without-owner" in (newest / "evidence.json").read_text()


async def test_a_folder_that_takes_no_package_has_the_log_verified_now_and_then_only(
    world, monkeypatch
):
    verified = []

    def count(directory, at):
        verified.append(at)
        return checked(directory, at)

    monkeypatch.setattr("portcullis.bootstrap.evidence.checked", count)
    world.packages.write_text("no folder")
    for minute in range(31):
        world.now = START.timestamp() + 60 * minute
        with contextlib.suppress(Problem):
            await world.evidence._once()
    assert len(verified) == 3
    world.packages.unlink()
    world.now += 15 * 60
    await world.evidence._once()
    assert world.made() == 1
