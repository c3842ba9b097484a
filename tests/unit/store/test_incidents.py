"""If these fail, there are two incidents about one agent, or a probation is not kept."""

import asyncio
import threading

import pytest
from msgspec.structs import replace

from databases import each_kind, each_test, new_database  # noqa: F401 - fixtures
from portcullis.checks.limits_plan import Plans
from portcullis.core.behaviour import RiskLevel
from portcullis.core.errors import Problem
from portcullis.core.incident import Asked, Incident, Phase, Subject
from portcullis.core.limits import Limit
from portcullis.store.incidents import FollowedProbations, SqlIncidents


class Clock:
    time = 1000.0

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


@pytest.fixture
def engine(tmp_path):
    made = new_database(tmp_path / "portcullis.db")
    yield made
    made.dispose()


@pytest.fixture
def store(engine):
    return SqlIncidents(engine)


def incident(number, agent="shop-1", session="", **fields):
    return Incident(
        id=f"i{number:02}",
        subject=Subject(agent=agent, session=session),
        playbook="p",
        opened_at=float(number),
        by="operator:ada",
        reason="odd",
        since=0.0,
        **fields,
    )


def on_probation(store, number, agent, until, factor):
    asked = Asked(at=1.0, by="operator:ada", reason="r", days=1, factor=factor)
    store.open(incident(number, agent))
    over = {"phase": Phase.REINSTATED, "asked": asked, "probation_until": until}
    store.change(f"i{number:02}", lambda one: replace(one, **over))


def test_of_those_who_open_one_about_the_same_at_once_one_does(store):
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(store.open(incident(n)).id))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert store.open(incident(20, session="s1")).id == "i20"  # of a session of its
    assert [one.id for one in store.unresolved()] == [found[0], "i20"]
    store.change(found[0], lambda one: replace(one, phase=Phase.CLOSED))
    assert store.of("agent:shop-1") is None
    assert store.open(incident(21)).id == "i21"


def test_changes_follow_each_other_and_none_is_lost(store):
    store.open(incident(1))

    def add():
        for _ in range(10):
            store.change("i01", lambda one: replace(one, since=one.since + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.get("i01")
    assert (found.since, found.turn) == (40.0, 41)
    with pytest.raises(Problem, match="PC7060"):
        store.change("i99", lambda one: one)

    def refuses(one):
        raise Problem("PC7061", "no")

    with pytest.raises(Problem, match="PC7061"):
        store.change("i01", refuses)
    assert store.get("i01") == found


def test_pages_are_of_those_that_are_wanted_the_newest_first(store):
    for number in range(5):
        store.open(incident(number, f"shop-{number}"))
    store.change("i03", lambda one: replace(one, phase=Phase.STOOD_DOWN))
    unresolved = tuple(phase for phase in Phase if phase is not Phase.STOOD_DOWN)
    assert [one.id for one in store.page(unresolved, "", "", 2)] == ["i04", "i02"]
    assert [one.id for one in store.page(unresolved, "", "i02", 9)] == ["i01", "i00"]
    assert [one.id for one in store.page(tuple(Phase), "agent:shop-3", "", 9)] == ["i03"]


def test_a_probation_tightens_each_limit_of_its_agent_until_it_is_over(engine, store):
    clock = Clock()
    on_probation(store, 1, "shop-1", 2000.0, 0.25)
    on_probation(store, 2, "shop-1", 1500.0, 0.1)
    on_probation(store, 3, "shop-2", 900.0, 0.5)  # over
    followed = FollowedProbations(engine, clock)
    followed.refresh()
    plans = Plans(None, Risky(), str, followed)
    plain = Limit(name="pace", place="x")
    risky = Limit(name="risk", place="x", risk={RiskLevel.ELEVATED: 0.5})
    assert [plans.factor(plain, f"shop-{n}") for n in (1, 2, 3)] == [0.1, 1.0, 1.0]
    assert plans.factor(risky, "shop-1") == pytest.approx(0.05)
    clock.time = 1600.0
    assert plans.factor(plain, "shop-1") == 0.25
    clock.time = 2000.0
    assert plans.factor(plain, "shop-1") == 1.0


class Risky:
    def level(self, agent):
        return RiskLevel.ELEVATED


def test_whoever_follows_hears_of_a_probation_in_a_moment(engine, store):
    async def follow():
        followed = FollowedProbations(engine, Clock())
        watching = asyncio.ensure_future(followed.watch())
        try:
            await asyncio.sleep(0.05)
            await asyncio.to_thread(on_probation, store, 1, "shop-1", 2000.0, 0.25)
            async with asyncio.timeout(5):
                while followed.factor("shop-1") == 1.0:  # noqa: ASYNC110 - the store tells nobody
                    await asyncio.sleep(0.01)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        return followed.factor("shop-1")

    assert asyncio.run(follow()) == 0.25
