"""If these fail, agents that ask at once get more than there is, or budgets come back too soon."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from portcullis.core.errors import Problem
from portcullis.core.limits import MOST, Amount, Over, Rate, Reservation, Slot, State
from portcullis.store.counters import LEASE
from portcullis.store.counters_local import STEPS, LocalCounter
from portcullis.store.counters_redis import RedisCounter
from portcullis.store.counters_sqlite import SharedCounter
from portcullis.store.redis_script import ANY_SKEW, SKEW
from redis_servers import redis_server
from shared_processes import counter_at, in_processes, reserve_all

pytestmark = pytest.mark.anyio

needs_redis = pytest.mark.skipif(
    not (shutil.which("redis-server") or shutil.which("valkey-server")),
    reason="needs Debian's redis-server: see `make packages`",
)
ADAPTERS = ["local", "sqlite", pytest.param("redis", marks=needs_redis)]
SHARED = ADAPTERS[1:]
SECOND = 1_000_000


@pytest.fixture(scope="module")
def server():
    folder = Path(tempfile.mkdtemp(prefix="pc-"))  # a socket's path is short
    with redis_server(folder) as url:
        yield url
    shutil.rmtree(folder)


@pytest.fixture
async def counter(request, tmp_path, clock):
    """Opens a counter on the same counts anew each time, as a restart or another process would."""
    opened = []

    def again():
        match request.param:
            case "local":
                made = LocalCounter(tmp_path / "limits.db", clock)
            case "sqlite":
                made = SharedCounter(tmp_path / "limits.db", clock)
            case _:
                url = request.getfixturevalue("server")
                made = RedisCounter(url, tmp_path.name, clock, skew=ANY_SKEW)
        opened.append(made)
        return made

    yield again
    for one in opened:
        await one.close()


def every(function):
    return pytest.mark.parametrize("counter", ADAPTERS, indirect=True)(function)


def shared(function):
    return pytest.mark.parametrize("counter", SHARED, indirect=True)(function)


def amount(clock, much, ceiling=100, key="a", seconds=3600.0):
    return Amount(key, much, ceiling, clock.now() + seconds)


async def reserve(one, name, *wants, hold=60.0):
    return await one.reserve(name, wants, hold=hold)


@every
async def test_all_of_it_is_granted_or_nothing(counter, clock):
    one = counter()
    wants = (amount(clock, 60, key="a"), amount(clock, 10, 15, key="b"), Slot("c", 1))
    made = await reserve(one, "1", *wants)
    assert made == Reservation(
        id="1",
        wants=wants,
        states=(
            State(40, wants[0].ends_at),
            State(5, wants[1].ends_at),
            State(0, clock.now() + 1),
        ),
    )
    assert await one.peek(wants[:1]) == Over(0, wants[0].ends_at)
    refused = await reserve(one, "2", amount(clock, 40, key="a"), amount(clock, 6, 15, key="b"))
    assert refused == Over(1, wants[1].ends_at)
    assert await one.read(["a", "b", "z"]) == (60, 10, 0), "what was refused took nothing"
    assert (await reserve(one, "3", amount(clock, 1), Slot("c", 1))).which == 1
    assert isinstance(await reserve(one, "4", amount(clock, 40)), Reservation)
    assert (await reserve(one, "5", amount(clock, 0))).which == 0, "nothing is left at all"


@every
async def test_of_several_that_are_over_the_last_to_reset_is_named(counter, clock):
    one = counter()
    soon, late = amount(clock, 9, 5, "a", 60), amount(clock, 9, 5, "b", 3600)
    assert await reserve(one, "1", soon, late) == Over(1, late.ends_at)
    assert await reserve(one, "2", late, soon) == Over(0, late.ends_at)


@every
async def test_what_was_really_used_replaces_the_estimate_once(counter, clock):
    one = counter()
    first = await reserve(one, "1", amount(clock, 50), Rate("r", SECOND, 5), Slot("s", 1))
    await one.settle(first, (20, 0, 0))
    assert await one.read(["a"]) == (20,)
    await one.settle(first, (0, 0, 0))
    await one.release(first)
    assert await one.read(["a"]) == (20,), "and is not given back twice"
    second = await reserve(one, "2", amount(clock, 10), Slot("s", 1))
    await one.settle(second, (95, 0))
    assert await one.read(["a"]) == (115,), "more than was reserved counts in full"
    assert (await reserve(one, "3", amount(clock, 1))).which == 0


@every
async def test_what_never_went_is_given_back(counter, clock):
    one = counter()
    wants = (amount(clock, 50), Rate("r", SECOND, 1), Slot("s", 1))
    made = await reserve(one, "1", *wants)
    assert (await one.peek(wants[1:])) is not None
    await one.release(made)
    assert await one.read(["a"]) == (0,)
    assert await one.peek(wants) is None


@every
async def test_who_never_settles_has_spent_the_estimate(counter, clock):
    one = counter()
    made = await reserve(one, "1", amount(clock, 50), hold=30)
    clock.time += 31
    await one.settle(made, (1,))
    await one.release(made)
    assert await one.read(["a"]) == (50,)
    other = await reserve(one, "2", amount(clock, 10), hold=30)
    clock.time += 31
    await one.settle(other, (15,))
    assert await one.read(["a"]) == (65,), "but what was more is added"


@every
async def test_a_window_that_is_over_is_whole_again(counter, clock):
    one = counter()
    early = await reserve(one, "1", amount(clock, 100, seconds=10))
    assert (await one.peek((amount(clock, 1),))).which == 0
    clock.time += 11
    assert await one.read(["a"]) == (0,)
    assert isinstance(await reserve(one, "2", amount(clock, 100)), Reservation)
    await one.settle(early, (500,))
    assert await one.read(["a"]) == (100,), "what belongs to the last window stays there"


@every
async def test_a_rate_lets_a_burst_through_and_then_its_pace(counter, clock):
    one, rate = counter(), Rate("r", SECOND, 3)
    lefts = [(await reserve(one, str(n), rate)).states[0].left for n in range(3)]
    assert lefts == [2, 1, 0]
    assert (await reserve(one, "4", rate)).resets_at == pytest.approx(clock.now() + 1)
    clock.time += 1
    assert isinstance(await reserve(one, "5", rate), Reservation)
    assert isinstance(await reserve(one, "6", rate), Over)
    clock.time += 100
    for n in range(3):
        assert isinstance(await reserve(one, f"late-{n}", rate), Reservation)
    assert isinstance(await reserve(one, "7", rate), Over), "a rest saves up one burst, not more"


@every
async def test_a_place_is_free_when_its_call_ends_or_its_gate_is_dead(counter, clock):
    one, slot = counter(), Slot("s", 2)
    first, second = await reserve(one, "1", slot), await reserve(one, "2", slot)
    assert isinstance(await reserve(one, "3", slot), Over)
    await one.settle(first, (0,))
    third = await reserve(one, "3", slot)
    assert isinstance(third, Reservation)
    clock.time += LEASE - 1
    await one.renew([second, third])
    clock.time += LEASE - 1
    assert isinstance(await reserve(one, "4", slot), Over), "both are kept"
    await one.renew([third])
    clock.time += 2
    assert isinstance(await reserve(one, "4", slot), Reservation), "nobody kept the second"
    await one.settle(third, (0,))
    await one.renew([third])
    assert isinstance(await reserve(one, "5", slot), Reservation), "what has ended is not kept"


@every
async def test_budgets_survive_a_restart(counter, clock):
    one = counter()
    rate = Rate("r", 60 * SECOND, 1)
    made = await reserve(one, "1", amount(clock, 50), rate)
    await one.settle(made, (30, 0))
    await reserve(one, "2", amount(clock, 20))
    await one.close()
    again = counter()
    assert await again.read(["a"]) == (50,), "what was spent, and what was reserved and not settled"
    assert isinstance(await again.peek([rate]), Over)
    clock.time += 120
    assert await again.peek([rate]) is None


@every
async def test_a_hundred_that_ask_at_once_get_what_there_is(counter, clock):
    one = counter()
    wants = (amount(clock, 7), amount(clock, 1, 1000, "b"), Slot("s", 50))
    made = await asyncio.gather(*(reserve(one, str(n), *wants) for n in range(100)))
    granted = [one for one in made if isinstance(one, Reservation)]
    assert len(granted) == 14
    assert await one.read(["a", "b"]) == (98, 14)
    assert min(each.states[0].left for each in granted) == 2


@every
async def test_what_is_counted_is_shown_page_by_page(counter, clock):
    one = counter()
    names = [f"k{n:02}" for n in range(7)]
    for name in names:
        await reserve(one, name, amount(clock, 3, key=name))
    await reserve(one, "x", Slot("k02s", 2), Rate("k03r", SECOND, 2))
    await reserve(one, "y", amount(clock, 1, key="gone", seconds=1))
    clock.time += 1.5
    seen, after = [], ""
    while page := await one.page(after, 4):
        assert len(page) <= 4
        seen += page
        after = page[-1].key
    kinds = {used.key: (used.kind, used.value) for used in seen if used.kind != "rate"}
    assert kinds == dict.fromkeys(names, ("amount", 3)) | {"k02s": ("slots", 1)}
    assert [used.key for used in seen] == sorted(used.key for used in seen)


@every
async def test_what_a_provider_makes_up_cannot_keep_others_from_counting(counter, clock):
    one = counter()
    first, second = (
        await reserve(one, "1", amount(clock, 1)),
        await reserve(one, "2", amount(clock, 1)),
    )
    told = await asyncio.gather(
        one.settle(first, (2**70,)), one.settle(second, (2**63,)), reserve(one, "3", Slot("s", 1))
    )
    assert isinstance(told[2], Reservation)
    assert await one.read(["a"]) == (MOST,)
    assert isinstance(await reserve(one, "4", amount(clock, 1, MOST)), Over)


@every
async def test_a_call_that_lost_its_place_while_the_counts_were_away_has_it_again(counter, clock):
    one, slot = counter(), Slot("s", 1)
    made = await reserve(one, "1", slot)
    clock.time += LEASE + 1
    await reserve(one, "2", amount(clock, 1))
    await one.renew([made])
    assert isinstance(await reserve(one, "3", slot), Over), "it runs"
    await one.settle(made, (0,))
    assert isinstance(await reserve(one, "3", slot), Reservation)


@every
async def test_names_that_came_to_nothing_leave_no_counts(counter, clock):
    one = counter()
    for name in range(5):
        made = await reserve(one, f"m{name}", amount(clock, 7, key=f"model-{name}"))
        await one.settle(made, (0,))
    clock.time += 2
    await reserve(one, "free", amount(clock, 0, key="free"), amount(clock, 1, key="b"))
    assert [used.key for used in await one.page("", 100) if used.value] == ["b"]
    clock.time += 2
    await reserve(one, "again", amount(clock, 1, key="b"))
    assert [used.key for used in await one.page("", 100)] == ["b"]


@pytest.mark.parametrize("counter", ADAPTERS[2:], indirect=True)
async def test_who_asks_twice_after_a_lost_connection_takes_it_once(counter, clock):
    one = counter()
    wants = (amount(clock, 60), Rate("r", SECOND, 1), Slot("s", 1))
    first, again = await reserve(one, "1", *wants), await reserve(one, "1", *wants)
    assert [state.left for state in again.states] == [state.left for state in first.states]
    assert await one.read(["a"]) == (60,)
    await one.release(again)
    assert await one.peek(wants) is None


@shared
async def test_two_who_share_count_together(counter, clock):
    one, other = counter(), counter()
    made = await reserve(one, "1", amount(clock, 60), Slot("s", 1))
    assert await reserve(other, "2", amount(clock, 50)) == Over(0, made.wants[0].ends_at)
    assert isinstance(await reserve(other, "2", Slot("s", 1)), Over)
    await other.settle(made, (10, 0))
    assert await one.read(["a"]) == (10,)
    assert isinstance(await reserve(one, "3", amount(clock, 90), Slot("s", 1)), Reservation)


class Clock:
    def now(self):
        return 1_800_000_000.0


class Now:
    def now(self):
        return time.time()


class Ahead:
    def __init__(self, seconds):
        self.seconds = seconds

    def now(self):
        return time.time() + self.seconds


@pytest.mark.parametrize("kind", SHARED)
def test_processes_that_ask_at_once_get_no_more_than_there_is(kind, tmp_path, request):
    place = tmp_path if kind == "sqlite" else request.getfixturevalue("server")
    granted = sum(in_processes(reserve_all, *((place, name) for name in "wxyz")))
    assert 97 <= granted <= 100, "each settled at half of its estimate: nearly all of it was used"

    async def used():
        one = counter_at(place)
        found = await one.read(["a"])
        await one.close()
        return found

    assert asyncio.run(used()) == (granted,)


async def test_a_killed_process_gives_nothing_back(tmp_path, clock):
    path = tmp_path / "limits.db"
    one = LocalCounter(path, clock)
    for n in range(40):
        await reserve(one, str(n), amount(clock, 10, 1000), Rate("r", SECOND, 60))
    with sqlite3.connect(path) as db:  # what a process would find that starts now
        found = dict(db.execute("SELECT key, value FROM counts"))
    assert 400 <= found["a"] <= 400 + 1000 // STEPS
    arrival = int(clock.now() * SECOND) + 40 * SECOND
    assert arrival <= found["r"] <= arrival + 60 * SECOND // STEPS
    clock.time += 2
    await reserve(one, "later", amount(clock, 0, 1000))
    await one.close()
    with sqlite3.connect(path) as db:
        assert dict(db.execute("SELECT key, value FROM counts"))["a"] == 400, "exact at the end"


_KILLED = """
import asyncio, sys, time
from pathlib import Path
from portcullis.core.limits import MOST, Amount, Rate
from portcullis.store.counters_local import LocalCounter
from portcullis.store.counters_sqlite import SharedCounter

class Clock:
    def now(self):
        return time.time()

async def main():
    kind = {"local": LocalCounter, "sqlite": SharedCounter}[sys.argv[1]]
    one = kind(Path(sys.argv[2]), Clock())
    for n in range(10**6):
        wants = [Amount("a", 10, 10**9, time.time() + 3600), Rate("r", 10**6, 10**6)]
        made = await one.reserve(str(n), wants, hold=60)
        print(n + 1, flush=True)
        if n % 3 == 0:
            await one.settle(made, [7, 0])

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["local", "sqlite"])
def test_kill_9_gives_nothing_back(tmp_path, kind):
    path = tmp_path / "limits.db"
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, kind, str(path)], stdout=subprocess.PIPE
    ) as child:
        for _ in range(200):
            said = child.stdout.readline()
        child.kill()
        said = (said + child.stdout.read()).splitlines()[-1]
    granted = int(said)
    least = granted * 10 - 3 * (granted // 3 + 1)

    async def found():
        one = LocalCounter(path, Now()) if kind == "local" else SharedCounter(path, Now())
        amount = await one.read(["a"])
        rate = [used.value for used in await one.page("", 9) if used.key == "r"]
        await one.close()
        return amount[0], rate[0]

    used, arrival = asyncio.run(found())
    assert used >= least
    assert arrival >= (time.time() - 60) * SECOND + granted * SECOND


async def test_only_one_process_counts_in_memory(tmp_path, clock):
    one = LocalCounter(tmp_path / "limits.db", clock)
    with pytest.raises(Problem, match="PC6003"):
        LocalCounter(tmp_path / "limits.db", clock)
    await one.close()
    await LocalCounter(tmp_path / "limits.db", clock).close()


@pytest.mark.parametrize("kind", [LocalCounter, SharedCounter])
async def test_what_cannot_be_counted_is_a_problem_and_takes_nothing(tmp_path, clock, kind):
    one = kind(tmp_path / "limits.db", clock)
    with sqlite3.connect(tmp_path / "limits.db") as db:
        db.execute("ALTER TABLE counts RENAME TO elsewhere")
    with pytest.raises(Problem, match="PC3073"):
        await reserve(one, "1", amount(clock, 50))
    with sqlite3.connect(tmp_path / "limits.db") as db:
        db.execute("ALTER TABLE elsewhere RENAME TO counts")
    assert isinstance(await reserve(one, "2", amount(clock, 100)), Reservation)
    await one.close()


@needs_redis
async def test_a_server_that_gives_budgets_back_says_so(server, tmp_path, clock):
    one = RedisCounter(server, tmp_path.name, clock, skew=ANY_SKEW)
    assert await one.lacking() == "it writes nothing to its disk"
    assert await one._redis.config_set("appendonly", "yes")
    assert await one.lacking() == ""
    await one._redis.config_set("maxmemory", "1gb")
    assert await one.lacking() == ""
    await one._redis.config_set("maxmemory-policy", "allkeys-lru")
    assert await one.lacking() == "it forgets what it has when its memory is full (allkeys-lru)"
    await one._redis.config_set("maxmemory-policy", "noeviction")
    await one._redis.config_set("appendonly", "no")
    await one._redis.config_set("save", "60 1")
    assert await one.lacking() == ""
    await one._redis.config_set("save", "")
    await one.close()
    away = RedisCounter(f"{server}.not", tmp_path.name, clock)
    with pytest.raises(Problem, match="PC3073"):
        await away.lacking()
    await away.close()


@needs_redis
async def test_who_asks_again_writes_again_so_that_replicas_are_waited_for(server, tmp_path, clock):
    one = RedisCounter(server, tmp_path.name, clock, skew=ANY_SKEW)
    first = await reserve(one, "1", amount(clock, 7))
    before = (await one._redis.info("persistence"))["rdb_changes_since_last_save"]
    left = await one._redis.pttl(f"{one._prefix}#r:1")
    assert await reserve(one, "1", amount(clock, 7)) == first
    assert (await one._redis.info("persistence"))["rdb_changes_since_last_save"] > before
    assert 0 < await one._redis.pttl(f"{one._prefix}#r:1") <= left
    assert await one.read(["a"]) == (7,)
    await one.close()


@needs_redis
@pytest.mark.parametrize("hours", [1, -1])
async def test_a_gateway_whose_clock_is_wrong_takes_nothing_and_ends_nothing(
    server, tmp_path, hours
):
    off = Ahead(hours * 3600)
    good, wrong = (RedisCounter(server, tmp_path.name, clock) for clock in (Now(), off))
    budget = amount(Now(), 60, seconds=1800), Slot("s", 1)
    made = await reserve(good, "1", *budget)
    said = "ahead of" if hours > 0 else "behind"
    for asked in (
        reserve(wrong, "2", *budget),
        reserve(wrong, "2", amount(off, 60, seconds=1800)),
        wrong.peek(budget),
    ):
        with pytest.raises(Problem, match=f"PC3073.* (3600|3601|3602) seconds {said}"):
            await asked
    await wrong.renew([made])  # what runs there goes on, and ends
    assert isinstance(await reserve(good, "3", *budget), Over)
    await wrong.settle(made, (70, 0))
    assert await good.read(["a"]) == (70,)
    assert isinstance(await reserve(good, "4", Slot("s", 1)), Reservation)
    nearly = RedisCounter(server, tmp_path.name, Ahead(SKEW - 2))
    assert isinstance(await reserve(nearly, "5", amount(Now(), 20, seconds=1800)), Reservation)
    for one in (good, wrong, nearly):
        await one.close()


async def test_a_server_that_is_away_is_a_problem(tmp_path, clock):
    one = RedisCounter(f"unix://{tmp_path}/nobody.sock", "x", clock)
    for ask in (reserve(one, "1", amount(clock, 1)), one.read(["a"]), one.page("", 5)):
        with pytest.raises(Problem, match="PC3073"):
            await ask
    await one.close()


@pytest.mark.parametrize("kind", [LocalCounter, SharedCounter])
async def test_a_file_that_others_can_read_is_refused(tmp_path, clock, kind):
    (tmp_path / "limits.db").touch(mode=0o644)
    with pytest.raises(Problem, match="PC7001"):
        kind(tmp_path / "limits.db", clock)
    (tmp_path / "other.db").touch(mode=0o600)
    (tmp_path / "other.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(Problem, match="PC7001"):
        kind(tmp_path / "other.db", clock)
