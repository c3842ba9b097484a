from concurrent.futures import ThreadPoolExecutor

from portcullis.core.ports import Entry
from portcullis.core.principal import PrincipalKind
from portcullis.store.registrations import SqlRegistrations

AGENT = PrincipalKind.AGENT


def entry(name="e1", **fields):
    values = {
        "kind": AGENT,
        "principal": "shop-1",
        "selectors": ("unix:uid:1000", "unix:path:/usr/bin/shop"),
        "ttl_seconds": 0,
        "created_at": 1.5,
    }
    return Entry(id=name, **(values | fields))


def test_an_entry_is_found_as_it_was_written_until_it_is_removed(reopen):
    first = SqlRegistrations(reopen())
    first.add(entry("e2", created_at=2.0))
    first.add(entry(kind=PrincipalKind.APPLICATION, ttl_seconds=60))
    again = SqlRegistrations(reopen())
    kept = entry(kind=PrincipalKind.APPLICATION, ttl_seconds=60)
    assert again.entries() == (kept, entry("e2", created_at=2.0))
    assert again.remove("e2") is True
    assert again.remove("e2") is False
    assert first.entries() == (kept,)


def test_every_change_is_noticed_also_by_another_process(reopen):
    here, there = SqlRegistrations(reopen()), SqlRegistrations(reopen())
    seen = [there.version()]
    for change in (
        lambda: here.add(entry("e1")),
        lambda: here.add(entry("e2")),
        lambda: here.remove("e1"),
        lambda: here.add(entry("e1")),
        lambda: here.remove("e2"),
        lambda: here.remove("e1"),
    ):
        change()
        assert there.version() == here.version()
        seen.append(there.version())
    assert len(set(seen)) == len(seen)
    here.remove("e1")
    here.join(b"d" * 32, AGENT, "shop-1", 10.0)
    assert there.version() == seen[-1]


def test_a_join_token_is_good_once_however_many_try_at_once(reopen):
    registrations = SqlRegistrations(reopen())
    registrations.join(b"d" * 32, AGENT, "shop-1", 10.0)
    assert registrations.joined(b"e" * 32, 5.0) is None
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: registrations.joined(b"d" * 32, 5.0), range(8)))
    assert sorted(found, key=str) == [(AGENT, "shop-1"), *[None] * 7]
    assert SqlRegistrations(reopen()).joined(b"d" * 32, 5.0) is None


def test_a_join_token_is_nothing_past_its_time(engine):
    registrations = SqlRegistrations(engine)
    registrations.join(b"d" * 32, AGENT, "shop-1", 10.0)
    registrations.join(b"e" * 32, AGENT, "shop-1", 10.0)
    assert registrations.joined(b"d" * 32, 10.0) is None
    with engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT count(*) FROM join_tokens").scalar_one()
    assert kept == 0


def test_the_join_tokens_of_one_principal_can_be_made_useless(engine):
    registrations = SqlRegistrations(engine)
    registrations.join(b"d" * 32, AGENT, "shop-1", 10.0)
    registrations.join(b"e" * 32, AGENT, "shop-2", 10.0)
    registrations.join(b"f" * 32, PrincipalKind.APPLICATION, "shop-1", 10.0)
    registrations.forget(AGENT, "shop-1")
    assert registrations.joined(b"d" * 32, 5.0) is None
    assert registrations.joined(b"e" * 32, 5.0) == (AGENT, "shop-2")
    assert registrations.joined(b"f" * 32, 5.0) == (PrincipalKind.APPLICATION, "shop-1")
