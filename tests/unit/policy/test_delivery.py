"""If these fail, a process decides by a release that it was not told of, or by a forged one."""

import asyncio
import contextlib

import pytest
from sqlalchemy import update

from databases import new_database
from policies import SUPPORT, call, context, session_of, write
from portcullis.catalogue.schema import fault
from portcullis.core.errors import Problem
from portcullis.core.release import Arm, File, Release, Stage, Verb, text_digest
from portcullis.policy.delivery import Delivery, sources
from portcullis.policy.reload import PolicyReload
from portcullis.store.policy_releases import SqlReleases
from portcullis.store.tables_releases import POLICY_RELEASES
from sealers import sealer_at

pytestmark = pytest.mark.anyio
TEXTS = (SUPPORT, SUPPORT.replace("maximum: 100", "maximum: 10"), SUPPORT + "# more\n")
FILES = tuple((File(name="policy/main.yaml", text=text),) for text in TEXTS)
ASKED = call(arguments={"customer_id": "C-1", "limit": 50})


class House:
    def __init__(self, folder):
        self.engine = new_database(folder / "portcullis.db")
        self.book = SqlReleases(self.engine, sealer_at(folder))
        self.adopted, self.reported, self.time = [], [], 100.0
        first = self.book.first(self.release(0, Stage.ACTIVE, active_at=1.0), FILES[0])
        self.policy = PolicyReload(
            write(folder / "policy", TEXTS[1]),
            fragment=fault,
            adopt=lambda new: self.adopted.append(new.digest),
            report=self.reported.append,
            held=sources(self.book.files(1)),
        )
        self.delivery = Delivery(
            self.book,
            self.policy,
            "g",
            binding=True,
            check=lambda _: None,
            report=self.reported.append,
            clock=self,
            taken=first,
            seconds=0.01,
        )
        for number in (1, 2):
            self.book.propose(self.release(number, Stage.APPROVED), FILES[number])

    def now(self):
        return self.time

    def monotonic(self):
        return self.time

    @staticmethod
    def release(number, stage, **more):
        return Release(
            number=0,
            digest="",
            text=text_digest(FILES[number]),
            origin="operator",
            proposed_by="ann",
            proposed_at=1.0,
            stage=stage,
            **more,
        )

    def move(self, number, verb, **more):
        self.book.move(number, verb, by="ann", at=2.0, **more)

    def code(self):
        return getattr(self.policy.pdp.decide(ASKED, context(session=session_of())), "code", "")

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what it waits for sets no event
                await asyncio.sleep(0.01)


@pytest.fixture
async def house(tmp_path):
    made = House(tmp_path)
    task = asyncio.create_task(made.delivery.run())
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert made.policy.pdp.staged is None


async def test_what_is_activated_and_taken_back_is_followed_and_the_folder_is_not(house):
    assert house.code() == ""
    house.move(2, Verb.ACTIVATE)
    await house.until(lambda: house.code() == "PC3012")
    assert house.delivery.taken.number == 2
    house.move(2, Verb.ROLL_BACK)
    await house.until(lambda: house.code() == "")
    assert (len(house.adopted), house.reported) == (3, [])


async def test_a_text_that_was_tampered_with_takes_no_force(house):
    with house.engine.begin() as connection:
        row = update(POLICY_RELEASES).where(POLICY_RELEASES.c.number == 2)
        connection.execute(row.values(text=text_digest(FILES[2])))
    house.move(2, Verb.ACTIVATE)
    await house.until(lambda: house.reported)
    assert [one.code for one in house.reported] == ["PC7038"]
    assert (house.code(), house.delivery.taken.number) == ("", 1)
    house.move(3, Verb.ACTIVATE)
    await house.until(lambda: house.delivery.taken.number == 3)


async def test_who_cannot_take_the_active_release_is_behind_until_it_can(house, monkeypatch):
    monkeypatch.setattr("portcullis.policy.delivery._AGAIN_SECONDS", 1.0)
    refuse = Problem("PC3004", "not here")
    take, tried = house.policy.take, []

    async def refusing(files):
        tried.append(len(files))
        if refuse is not None:
            raise refuse
        await take(files)

    monkeypatch.setattr(house.policy, "take", refusing)
    await house.until(lambda: house.delivery._version >= 0)
    house.time += 170.0
    await house.until(lambda: house.delivery._current == house.time)
    house.move(2, Verb.ACTIVATE)
    await house.until(lambda: tried)
    assert not house.delivery.behind()
    house.time += 179.0
    assert not house.delivery.behind()
    house.time += 2.0
    assert house.delivery.behind()
    await house.until(lambda: len(tried) > 1)
    assert len(house.reported) == 1, "it is tried again, and said once"
    refuse = None
    house.time += 2.0
    await house.until(lambda: not house.delivery.behind())
    assert (house.delivery.taken.number, house.code()) == (2, "PC3012")


async def test_who_cannot_ask_what_is_active_is_behind(house, monkeypatch):
    def away():
        raise Problem("PC9002", "gone")

    await house.until(lambda: house.delivery._version >= 0)
    monkeypatch.setattr(house.book, "version", away)
    await asyncio.sleep(0.05)
    house.time += 181.0
    assert house.delivery.behind()
    monkeypatch.undo()
    await house.until(lambda: not house.delivery.behind())


async def test_a_candidate_is_put_to_work_counted_and_ended(house):
    house.move(2, Verb.CANARY, share=50)
    await house.until(lambda: house.policy.pdp.staged is not None)
    first = house.policy.pdp.staged
    decided = sum(house.code() == "PC3012" for _ in range(4))
    assert decided in {0, 4}
    seen = Arm(decisions=4, sessions=1)
    denied = Arm(decisions=4, denials=4, sessions=1, share=1.0)
    arms = (denied, Arm()) if decided else (Arm(), seen)
    await house.until(
        lambda: (
            (house.book.tallies(2).canary, house.book.tallies(2).rest) == arms
            and house.book.tallies(2).compared == decided
        )
    )
    house.move(2, Verb.CANARY, share=10)
    await house.until(lambda: house.policy.pdp.staged not in {None, first})
    house.move(2, Verb.ROLL_BACK)
    await house.until(lambda: house.policy.pdp.staged is None)
    assert house.code() == ""
