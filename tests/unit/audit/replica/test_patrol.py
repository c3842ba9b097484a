"""If these fail, a replica loses what was shipped long ago, and nobody knows until it is needed."""

from __future__ import annotations

import pytest

from portcullis.audit.replica.patrol import _counts, _object
from portcullis.audit.replica.ship import Shipper
from portcullis.audit.tiles import pack, tile_path, unpack
from portcullis.core.errors import Problem

MISSING, DIFFERS = "audit.replica.missing", "audit.replica.differs"


@pytest.fixture
def ship(log, store, clock, notices) -> Shipper:
    """A shipper that has shipped three full bundles, and looks at six objects a minute."""
    log.grow(900)
    made = Shipper(
        "far",
        log.directory,
        log.verifier,
        store,
        clock=clock,
        notice=notices,
        lag_seconds=60,
        checks_per_minute=6,
    )
    made.step()
    return made


def rounds(ship: Shipper, clock, count: int = 1) -> None:
    """All six objects of the log: each is looked at once, and the round is over."""
    for _ in range(count):
        clock.time += 60
        ship.step()


def test_every_object_of_every_level_has_its_turn() -> None:
    size = 3 * 65_536 + 300
    objects = [_object(size, number) for number in range(sum(_counts(size)))]
    assert len(set(objects)) == len(objects) == 769 + 769 + 3
    assert objects[0] == ("entries", 0)
    assert objects[-1] == (1, 2)
    assert sum(_counts(255)) == 0


def test_what_the_store_lost_is_noticed_once_and_put_there_again(
    ship, store, clock, notices, checked
) -> None:
    lost = [tile_path("entries", 0), tile_path(0, 1), tile_path("entries", 2)]
    for path in lost:
        store.delete(path)
    rounds(ship, clock)
    assert notices.states(MISSING) == ["raised"]
    assert notices[0][1]["object"] in lost
    assert checked().ok
    assert (ship.patrol.restored, ship.patrol.checked) == (3, 6)
    rounds(ship, clock, 2)
    assert notices.states(MISSING) == ["raised", "cleared"]
    assert ship.patrol.restored == 3


@pytest.mark.parametrize("path", [tile_path("entries", 1), tile_path(0, 1)])
@pytest.mark.parametrize("kind", ["forged", "emptied", "nonsense"])
def test_what_was_exchanged_is_noticed_and_stays_until_somebody_looks(
    ship, store, clock, notices, path, kind
) -> None:
    good = store.get(path, 10**7)
    if kind == "nonsense" or path == tile_path(0, 1):
        bad = b"\xff\xff"
    else:
        entries = unpack(good)
        bad = pack([b"" if kind == "emptied" else b"{}", *entries[1:]])
    store.put(path, bad, replace=True)
    rounds(ship, clock, 3)
    assert ship.differs
    assert notices.states(DIFFERS) == ["raised"]  # once, and not with every step
    assert path in notices[0][1]["reason"]
    assert store.get(path, 10**7) == bad
    store.put(path, good, replace=True)
    clock.time += 10
    ship.step()
    assert notices.states(DIFFERS) == ["raised", "cleared"]


def test_a_wrong_object_does_not_keep_what_is_new_from_being_shipped(
    ship, log, store, clock
) -> None:
    store.put(tile_path("entries", 0), b"forged", replace=True)
    rounds(ship, clock)
    log.grow(500, "new")
    ship.step()
    assert ship.differs
    assert ship.shipped == 1400


def test_a_damaged_file_of_the_log_is_not_restored_from_and_told_once(
    ship, log, store, clock, notices
) -> None:
    path = tile_path("entries", 0)
    bundle = log.directory / path
    bundle.write_bytes(bundle.read_bytes()[:-2] + b"xx")
    store.delete(path)
    rounds(ship, clock, 3)
    assert store.get(path, 10**7) is None
    assert notices.states(DIFFERS) == ["raised"]
    assert "not what was signed" in dict(notices)[DIFFERS]["reason"]


def test_a_checkpoint_that_is_gone_from_the_store_is_noticed_though_nothing_is_new(
    ship, store, clock, notices, checked
) -> None:
    store.delete("checkpoint")
    rounds(ship, clock, 2)
    assert notices.states(DIFFERS) == ["raised", "cleared"]
    assert "had 900 entries and has 0" in notices[0][1]["reason"]
    assert checked().size == 900


def test_a_store_that_is_away_is_looked_at_when_it_is_back(ship, store, clock) -> None:
    store.delete(tile_path("entries", 0))
    store.away = True
    clock.time += 60
    with pytest.raises(Problem, match="PC6021"):
        ship.step()
    store.away = False
    rounds(ship, clock, 2)
    assert store.get(tile_path("entries", 0), 10**7)


def test_no_more_is_asked_of_a_store_than_was_said(ship, store, clock, monkeypatch) -> None:
    asked: list[str] = []
    get = store.get

    def count(path: str, limit: int) -> bytes | None:
        asked.append(path)
        return get(path, limit)

    monkeypatch.setattr(store, "get", count)
    for _ in range(24):
        clock.time += 5
        ship.step()
    assert len([path for path in asked if path.startswith("tile")]) == 12
    clock.time += 86_400
    ship.step()
    assert len([path for path in asked if path.startswith("tile")]) == 18


def test_what_was_pruned_there_and_more_of_it_here_since_raises_no_alarm(
    ship, log, store, clock
) -> None:
    path = tile_path("entries", 0)
    entries = unpack(store.get(path, 10**7))
    store.put(path, pack([b"", *entries[1:]]), replace=True)
    (log.directory / path).write_bytes(pack([b"", b"", *entries[2:]]))
    rounds(ship, clock)
    assert not ship.differs
