"""What several processes share, used by processes of their own: run by ``in_processes``.

They are forked from one that has no threads, never from the tests' own process: a lock that one of
its threads holds at that moment would be held in the child for ever.
"""

import asyncio
import multiprocessing
import time

from portcullis.core.errors import Problem
from portcullis.core.limits import Amount, Reservation
from portcullis.core.principal import Session
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.store.counters_redis import RedisCounter
from portcullis.store.counters_sqlite import SharedCounter
from portcullis.store.engine import open_store
from portcullis.store.once import SharedOnce
from portcullis.store.once_redis import RedisOnce
from portcullis.store.redis_script import ANY_SKEW
from portcullis.store.shared_server import Server
from portcullis.store.spent import SqlSpent
from portcullis.store.vaults_redis import RedisVaults
from portcullis.store.vaults_shared import SharedVaults

KEY = bytes(range(32))
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([
    f"portcullis.{name}"
    for name in (
        "identity.keymanager.file",
        "store.counters_redis",
        "store.counters_sqlite",
        "store.engine",
        "store.once",
        "store.once_redis",
        "store.spent",
        "store.vaults_redis",
        "store.vaults_shared",
    )
])  # fmt: skip


class Clock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def spend_all(path, keys, results):
    """How many of the keys it was allowed to spend, and since when it remembers."""
    at_server = isinstance(path, str)
    once = RedisOnce(_server(path), Clock()) if at_server else SharedOnce(path, Clock())
    results.put((sum(once.spend(key, time.time() + 60) for key in keys), once.since))


def hide_all(path, values, results):
    """The placeholders of values in one session."""
    if isinstance(path, str):
        vaults = RedisVaults(_server(path), KEY, Clock())
    else:
        vaults = SharedVaults(path, KEY, Clock())
    results.put({value: vaults.vault("s1", 0.0).hide("A", value) for value in values})


def _server(url):
    return Server(url, "shop.test", seconds=10.0)


def take_all(place, times, results):
    """How many of so many calls the budget of the session s1, which is 10, has let pass."""
    engine = open_store(place)
    spending = SqlSpent(engine)
    session = Session(
        id="s1", agent="a", application="web", user="u", prompt="", subject={}, grant=None,
        opened_at=0.0, expires_at=2e9, budget={"calls": 10},
    )  # fmt: skip

    async def take():
        return [await spending.take(session, ("calls",)) for _ in range(times)].count(None)

    results.put(asyncio.run(take()))
    engine.dispose()


class Still:
    now = staticmethod(lambda: 1_800_000_000.0)


def counter_at(place):
    """The shared counter at a folder, or at a server's URL."""
    if isinstance(place, str):
        return RedisCounter(place, "grab", Still(), skew=ANY_SKEW)
    return SharedCounter(place / "limits.db", Still())


def reserve_all(place, name, results):
    """How many of 60 reservations of 2 in 100 were granted; each was settled at 1."""

    async def reserve():
        one, granted = counter_at(place), 0
        for n in range(60):
            made = await one.reserve(f"{name}-{n}", [Amount("a", 2, 100, 1.9e9)], hold=60)
            if isinstance(made, Reservation):
                granted += 1
                await one.settle(made, [1])
        await one.close()
        return granted

    results.put(asyncio.run(reserve()))


def first_key(path, results):
    """The version of the first key, which one of them makes."""
    results.put(FileKeyManager(path, create=True).version)


def next_key(path, results):
    """The version of one more key."""
    results.put(FileKeyManager(path, create=False).rotate())


def open_databases(paths, results):
    """What opening each of some databases said, the first that does makes it."""
    results.put([_opened(path) for path in paths])


def _opened(path):
    try:
        open_store(path).dispose()
    except Problem as problem:
        return str(problem)
    return "ok"


def in_processes(work, *arguments):
    """What each of as many processes has put, all at once."""
    results = _SERVER.Queue()
    processes = [_SERVER.Process(target=work, args=(*one, results)) for one in arguments]
    try:
        for process in processes:
            process.start()
        found = [results.get(timeout=60) for _ in processes]
        for process in processes:
            process.join(30)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()
    return found
