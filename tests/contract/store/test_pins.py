from concurrent.futures import ThreadPoolExecutor

from portcullis.core.inspection_ports import Pin, Pins, Sighting
from portcullis.store.pins import SqlPins


def pin(tool="read", digest="a", **fields):
    values = {"server": "crm", "definition": f'{{"{digest}":1}}', "pinned_at": 1.5}
    return Pin(tool=tool, digest=digest * 64, **(values | fields))


def sighting(tool="read", digest="b", **fields):
    values = {"server": "crm", "definition": "{}", "seen_at": 2.5}
    return Sighting(tool=tool, digest=digest * 64, **(values | fields))


def opened(engine) -> Pins:
    return SqlPins(engine)


def test_a_pin_survives_a_restart_and_is_not_replaced_by_a_second_first_sight(reopen):
    first = opened(reopen())
    first.add([pin(), pin("write")])
    first.add([pin(digest="b"), pin("third"), pin(server="other", digest="c")])
    again = opened(reopen())
    assert again.all() == (pin(), pin("third"), pin("write"), pin(server="other", digest="c"))


def test_an_approval_replaces_the_pin_and_what_was_seen_of_it_but_nothing_newer(reopen):
    pins = opened(reopen())
    pins.add([pin()])
    pins.saw([sighting(reasons=("a", "b")), sighting("write")])
    pins.saw([sighting(digest="c", reasons=("d",))])
    assert opened(reopen()).sightings() == (
        sighting(digest="c", reasons=("d",)),
        sighting("write"),
    )
    approved = pin(digest="b", approved_by="ada")
    pins.put(approved)
    assert opened(reopen()).all() == (approved,)
    assert len(pins.sightings()) == 2
    pins.put(pin(digest="c", approved_by="ada"))
    assert pins.sightings() == (sighting("write"),)
    pins.settled("crm", ["write", "unknown"])
    assert pins.sightings() == ()


def test_every_change_is_noticed_also_by_another_process(reopen):
    here, there = opened(reopen()), opened(reopen())
    seen = [there.version()]
    for change in (
        lambda: here.add([pin()]),
        lambda: here.saw([sighting()]),
        lambda: here.put(pin(digest="b")),
        lambda: here.settled("crm", ["read"]),
    ):
        change()
        assert there.version() == here.version()
        seen.append(there.version())
    assert len(set(seen)) == len(seen)
    here.add([pin()])
    assert there.version() == seen[-1]


def test_of_many_who_see_a_tool_first_one_pins_it(reopen):
    pins = opened(reopen())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda digest: pins.add([pin(digest=digest)]), "abcdefgh"))
    assert len(pins.all()) == 1
