"""If these fail, the page says that money goes slower than it does, or says nothing."""

import pytest

from policies import policy_of
from portcullis.control.console.limits import Paces, Row
from portcullis.control.limits import LimitParts, Limits
from portcullis.core.limits import Amount, Window, span
from portcullis.oversight.limits import burn_key, even
from portcullis.store.counters_local import LocalCounter

pytestmark = pytest.mark.anyio
NOW = 1_800_000_000.0 + 900
POLICY = """version: 1
agents: {a: {role: r}}
roles: {r: {models: [gpt-*]}}
limits:
  month: {per: [agent, user, model], cost: [20 USD/month, 1 USD/day], burn: 2}
  all: {per: all, cost: 20 USD/month, burn: 3}
  calm: {cost: 20 USD/month}
"""
OWNERS = {"month": "agent=a&user=~1f&model=gpt%254", "all": "all", "calm": "agent=a"}


class Clock:
    def now(self):
        return NOW


class Book:
    limits = policy_of(POLICY).limits


@pytest.fixture
async def parts(tmp_path):
    counter = LocalCounter(tmp_path / "limits.db", Clock())
    _, end = span(Window.MONTH, NOW)
    hour, over = span(Window.HOUR, NOW)
    wants = [Amount("month|cost.day|agent=a&user=~1f&model=gpt%254|1", 5, 10**6, end)]
    for limit in Book.limits:
        owner = OWNERS[limit.name]
        wants.append(Amount(f"{limit.name}|cost.month|{owner}|1", 9_000_000, 20_000_000, end))
        for at, spent in ((hour - 3600, 400_000), (hour, 100_000)):
            wants.append(Amount(burn_key(limit, owner, at), spent, 2**53, over + 3600))
    await counter.reserve("1", wants, hold=60)
    yield LimitParts(counter=counter, book=Book(), clock=Clock(), mask=str)
    await counter.close()


async def test_the_last_hour_is_held_against_the_even_pace_whoever_it_is_counted_for(parts):
    paces = Paces(parts)
    found = (await Limits(parts).page()).limits
    rates = {(one.limit, one.window): await paces.pace(one) for one in found}
    hour = 100_000 + 400_000 * 0.75  # a quarter of this hour is over
    for name in ("month", "all"):
        rule = paces.rule(name)
        assert rates[name, "month"] == pytest.approx(hour / even(rule, NOW))
        assert rates[name, "month"] > rule.burn
    assert rates["month", "day"] is None  # only a month's money has a pace
    assert rates["calm", "month"] is None


async def test_a_row_says_in_words_what_is_left(parts):
    [one] = (await Limits(parts).page(limit="calm")).limits
    row = Row.of(one, None, Paces(parts).rule("calm"))
    assert (row.used, row.ceiling, row.left) == ("9.00 USD", "20.00 USD", "11.00 USD")
    assert (row.part, row.pace, row.burns) == (45, "", False)
