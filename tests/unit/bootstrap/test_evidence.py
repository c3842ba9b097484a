"""Evidence in a running gate: when packages are made, and what happens when something fails."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from portcullis.audit.log import open_log
from portcullis.bootstrap.evidence import Evidence
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.review import apart
from portcullis.review.apart import checked_apart
from portcullis.review.continuous import save, saved
from portcullis.review.shelf import package_name
from sealers import sealer_at
from unit.review.making import ORIGIN, START, admin, created, event, result

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
        self.evidence = Evidence(self.config, self.services, CollectorRegistry(), "gate")

    def write(self, *events) -> None:
        with open_log(
            self.root / "log", self.root / "keys/gate", ORIGIN, sealer=self.services.sealer
        ) as log:
            for one in events:
                log.enqueue(one)

    def restart(self) -> None:
        """The gate's next process: what was recorded is in the log."""
        self.write(*self.recorded)
        self.recorded.clear()
        self.evidence = Evidence(self.config, self.services, CollectorRegistry(), "gate")

    def states(self, condition: str) -> list[str]:
        """What was told of a gap."""
        return [
            one.parameters["state"]
            for one in self.recorded
            if one.method == "evidence.gap" and one.name == condition
        ]

    def made(self) -> int:
        return len(list(self.packages.iterdir())) if self.packages.exists() else 0

    def told(self) -> set[str]:
        return {one.name for one in self.recorded if one.method == "evidence.gap"}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, packages={"folder": tmp_path / "packages", "every_hours": 24})


async def test_packages_come_on_schedule_and_when_changed_gaps_have_settled(world):
    made = []
    for hours in (0, 0.1, 1, 1.1, 24.9, 25):
        world.now = START.timestamp() + 60 + hours * HOUR
        await world.evidence._once()
        made.append(world.made())
    assert made == [1, 1, 2, 2, 2, 3]  # the first look found gaps; after the pause they are told
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
    again = Evidence(world.config, world.services, CollectorRegistry(), "gate")
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
    for _ in range(1000):
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
    found = saved(place, world.evidence._logs())
    assert found.principals
    save(place, msgspec.structs.replace(found, principals={}))
    again = Evidence(world.config, world.services, CollectorRegistry(), "gate")
    world.now += 25 * HOUR
    await again._once()
    newest = max(world.packages.iterdir())
    assert "agent-without-owner" in (newest / "evidence.json").read_text()


async def test_a_folder_that_takes_no_package_has_the_log_verified_now_and_then_only(
    world, monkeypatch
):
    verified = []

    def count(logs, at, stopped):
        verified.append(at)
        return checked_apart(logs, at, stopped)

    monkeypatch.setattr("portcullis.bootstrap.evidence.checked_apart", count)
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


def spoiled(world) -> Path:
    """Make the log's last entry, which nobody has looked at, something that is no event."""
    bundle = next((world.root / "log/tile/entries").rglob("*.p/*"))
    head, type_, tail = bundle.read_bytes().rpartition(b'"type"')
    bundle.write_bytes(head + type_.replace(b"type", b"typo") + tail)
    return bundle


@pytest.mark.parametrize("packages", [False, True])
async def test_an_entry_that_is_no_event_opens_a_gap_before_it_was_ever_folded(tmp_path, packages):
    folder = {"packages": {"folder": tmp_path / "packages"}} if packages else {}
    world = World(tmp_path, **folder)
    bundle = spoiled(world)
    for _ in range(3):
        await world.evidence._once()
    assert world.states("log-unverified") == ["opened"]
    (told,) = [one for one in world.recorded if one.name == "log-unverified"]
    assert told.parameters["reason"].endswith("entry 2 is not an event of this version")
    assert world.made() == 0
    assert "key-beside-data" in world.told()  # the rest is evaluated all the same
    bundle.write_bytes(bundle.read_bytes().replace(b"typo", b"type"))
    for _ in range(2):
        world.now += 20 * 60
        await world.evidence._once()
    assert world.states("log-unverified") == ["opened", "closed"]


async def test_a_gap_of_the_log_itself_is_looked_at_again_by_the_next_process(tmp_path):
    world = World(tmp_path)
    bundle = spoiled(world)
    await world.evidence._once()
    bundle.write_bytes(bundle.read_bytes().replace(b"typo", b"type"))
    world.restart()
    await world.evidence._once()
    assert world.states("log-unverified") == ["closed"]


async def test_a_gap_that_flaps_makes_few_packages_and_the_last_has_the_newest_state(world):
    await world.evidence._once()
    number = 3
    for minute in range(5, 60, 5):  # open, settled, closed, settled, ...
        world.now = START.timestamp() + 60 + minute * 60
        name = f"agent:b{(minute - 1) // 10}"
        change = (
            created(number, name, owner="")
            if minute % 10
            else admin(number, "principals.revoke", name)
        )
        world.write(change)
        number += 1
        await world.evidence._once()
        await world.evidence._once()
    assert len(world.states("agent-without-owner")) == 11
    assert world.made() == 1
    world.now = START.timestamp() + 60 + HOUR
    await world.evidence._once()
    assert world.made() == 2
    assert '"agent-without-owner"' in (max(world.packages.iterdir()) / "evidence.json").read_text()
    world.now += 2 * HOUR
    await world.evidence._once()
    assert world.made() == 2


async def test_a_change_before_a_restart_makes_its_package_after_the_pause(world):
    await world.evidence._once()
    world.restart()
    world.write(created(900, "agent:b", owner=""))
    world.now += 60
    await world.evidence._once()
    assert world.states("agent-without-owner") == ["opened"]
    world.restart()
    await world.evidence._once()
    assert world.made() == 1
    world.now += HOUR
    await world.evidence._once()
    assert world.made() == 2
    world.restart()
    world.now += 2 * HOUR
    await world.evidence._once()
    assert world.made() == 2


async def test_packages_do_not_fill_the_disk_and_each_removal_is_told_before(tmp_path):
    wanted = {"folder": tmp_path / "packages", "every_hours": 24, "keep": 2}
    world = World(tmp_path, packages=wanted)
    world.packages.mkdir()
    (world.packages / "mine").mkdir()
    for day in range(4):
        world.now = START.timestamp() + 60 + 24 * HOUR * day
        await world.evidence._once()
    made = [one.parameters for one in world.recorded if one.method == "evidence.package"]
    gone = [one for one in world.recorded if one.method == "evidence.package_removed"]
    names = [one["folder"] for one in made]
    assert [one.parameters for one in gone] == [{"folder": n, "keep": 2} for n in names[:2]]
    assert {one.name for one in world.packages.iterdir()} == {"mine", *names[2:]}

    def refuse(_):
        raise Problem("PC6001", "the queue is full")

    world.services.recorder.enqueue = refuse
    (world.packages / package_name("gdpr", START)).mkdir()
    with pytest.raises(Problem):
        await world.evidence._thin("gdpr")
    assert world.made() == 4  # what cannot be told is not done


def asleep(*_) -> None:
    time.sleep(60)


def gone() -> None:
    """Return when no process is left."""
    while multiprocessing.active_children():
        time.sleep(0.01)


async def test_a_gate_that_stops_does_not_wait_for_a_verification(world, monkeypatch):
    monkeypatch.setattr(apart, "SHORT", 0)
    monkeypatch.setattr(apart, "_work", asleep)
    running = asyncio.create_task(world.evidence.run())
    for _ in range(500):
        await asyncio.sleep(0.01)
        if multiprocessing.active_children():
            break
    assert multiprocessing.active_children()
    began = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.to_thread(gone)
    assert time.monotonic() - began < 2
