"""If these fail, the figures of limits are wrong, or have names in them that agents choose."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from policies import policy_of
from portcullis.core.limit_told import Measure
from portcullis.core.limits import Amount, Slot
from portcullis.gateway.limit_metrics import LimitMetrics
from portcullis.store.counters_local import LocalCounter

pytestmark = pytest.mark.anyio
NOW = 1_800_000_000.0
POLICY = """version: 1
agents: {a: {role: r}}
roles: {r: {models: [gpt-*]}}
limits:
  house: {tokens: {output: 100/day}, concurrency: 3}
  quiet: {rows: 5/day}
"""


class Clock:
    def now(self):
        return NOW


class Book:
    limits = policy_of(POLICY).limits


async def test_the_fullest_count_of_each_limit_is_a_figure(tmp_path):
    counter, registry = LocalCounter(tmp_path / "limits.db", Clock()), CollectorRegistry()
    metrics = LimitMetrics(registry, counter, Book(), Clock())
    wants = [
        *(Amount(f"house|output_tokens.day|agent=a{n}|1", 10 * n, 100, NOW + 60) for n in range(5)),
        Slot("house|concurrency|agent=a1|", 3),
        Amount("gone|output_tokens.day|agent=a|1", 5, 9, NOW + 60),
    ]
    await counter.reserve("1", wants, hold=60)
    await metrics.look()
    metrics.refused("house", Measure.OUTPUT)
    metrics.refused("made-up-by-somebody", Measure.OUTPUT)
    text = generate_latest(registry).decode()
    name = "portcullis_limit_used_ratio"
    assert f'{name}{{limit="house",measure="output_tokens",window="day"}} 0.4' in text
    assert f'{name}{{limit="quiet",measure="rows",window="day"}} 0.0' in text
    assert text.count(f"{name}{{") == 2
    refusals = "portcullis_limit_refusals_total"
    assert f'{refusals}{{limit="house",measure="output_tokens"}} 1.0' in text
    assert f'{refusals}{{limit="other",measure="output_tokens"}} 1.0' in text
    assert "a4" not in text
    await counter.close()
