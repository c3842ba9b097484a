"""If these fail, operators see of budgets what is not so, or not all of it."""

import pytest

from policies import policy_of
from portcullis.control.limits import LimitParts, Limits
from portcullis.core.errors import Problem
from portcullis.core.limits import Amount, Rate, Slot
from portcullis.store.counters_local import LocalCounter

pytestmark = pytest.mark.anyio
NOW = 1_800_000_000.0
POLICY = """version: 1
agents: {a: {role: r}}
roles: {r: {models: [gpt-*]}}
limits:
  house: {per: [agent, user], tokens: {output: 100/day}, requests: {rate: 60/minute, burst: 5}}
  places: {concurrency: 3}
  month: {cost: 20 USD/month, burn: 2}
"""


class Clock:
    def now(self):
        return NOW


class Book:
    limits = policy_of(POLICY).limits


@pytest.fixture
async def limits(tmp_path):
    counter = LocalCounter(tmp_path / "limits.db", Clock())
    ends = NOW + 3600
    wants = [
        Amount(f"house|output_tokens.day|agent=shop&user=~{user}|1", 30 + user, 100, ends)
        for user in range(5)
    ]
    wants += [
        Rate("house|requests|agent=shop&user=~0|", 1_000_000, 5),
        Slot("places|concurrency|agent=aide|", 3),
        Amount("month|cost.month|agent=aide|1", 5, 20_000_000, ends),
        Amount("month|burn.hour|agent=aide|1", 5, 20_000_000, ends),
        Amount("month|cost.session|agent=aide&session=s-1|1", 7, 9, ends),
        Amount("old|cost.day|all|1", 5, 9, ends),
    ]
    await counter.reserve("1", wants, hold=60)
    yield Limits(
        LimitParts(counter=counter, book=Book(), clock=Clock(), mask=lambda one: "~" + one)
    )
    await counter.close()


async def every(limits, **wanted):
    found, cursor, pages = [], "", 0
    while True:
        page = await limits.page(cursor=cursor, most=2, **wanted)
        assert len(page.limits) <= 2
        found += page.limits
        cursor, pages = page.following, pages + 1
        if not cursor:
            return found, pages


async def test_all_of_it_is_shown_page_by_page(limits):
    found, pages = await every(limits)
    assert pages > 4
    shown = {(one.limit, one.measure, one.whose.get("user", "")): one for one in found}
    assert len(found) == 10, "each once, and not what burn is reckoned by"
    tokens = shown["house", "output_tokens", "~3"]
    assert (tokens.used, tokens.ceiling, tokens.left, tokens.window) == (33, 100, 67, "day")
    assert tokens.whose == {"agent": "shop", "user": "~3"}
    rate = shown["house", "requests", "~0"]
    assert (rate.used, rate.left, rate.window) == (1, 4, "60 s")
    assert (shown["places", "concurrency", ""].used, shown["places", "concurrency", ""].left) == (
        1,
        2,
    )
    gone = shown["old", "cost", ""]
    assert (gone.ceiling, gone.left, gone.whose) == (0, 0, {})


async def test_one_limit_agent_or_user_alone(limits):
    found, _ = await every(limits, limit="house")
    assert {one.limit for one in found} == {"house"}
    assert len(found) == 6
    found, _ = await every(limits, agent="aide")
    assert {one.limit for one in found} == {"places", "month"}
    found, _ = await every(limits, user="4")
    assert [one.used for one in found] == [34]
    assert (await every(limits, limit="month", agent="nobody"))[0] == []
    (mine,) = await limits.of_session("s-1")
    assert (mine.limit, mine.used) == ("month", 7)


async def test_what_is_no_limit_or_no_cursor_is_refused(limits):
    with pytest.raises(Problem, match="PC3079"):
        await limits.page(limit="nothing")
    with pytest.raises(Problem, match="PC3051"):
        await limits.page(cursor="x!")
