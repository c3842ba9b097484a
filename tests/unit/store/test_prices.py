"""If these fail, a call is charged what it does not cost, or a price is made up."""

import json
import time
from datetime import UTC, datetime

import pytest

from portcullis.core.errors import Problem
from portcullis.core.limit_ports import Price
from portcullis.store.prices import ModelPrices


class Clock:
    time = datetime(2026, 11, 22, tzinfo=UTC).timestamp()

    def now(self):
        return self.time


def of(tmp_path, **said):
    path = tmp_path / "prices.yaml"
    path.write_text(json.dumps({"version": 1, **said}))
    return ModelPrices(path, Clock())


def test_the_library_knows_the_models_of_the_providers():
    prices = ModelPrices(None, Clock())
    assert not prices.ready
    prices.warm()
    assert prices.ready
    assert prices.price("openai", "gpt-5") == Price(steps=((0, 1250, 10_000, 125, 1250),))
    tiered = prices.price("anthropic", "claude-sonnet-4-5")
    assert [step[:3] for step in tiered.steps] == [(0, 3000, 15_000), (200_000, 6000, 22_500)]
    assert prices.price("openai", "gpt-5") is prices.price("openai", "gpt-5"), "asked once"
    assert prices.price("openai", "no-such-model") is None
    assert prices.price("", "gpt-5") is None
    assert prices.price("openai", "gpt-audio").audio == (32_000, 64_000)
    before = len(prices._known)
    began = time.process_time()
    assert prices.price("openai", "gpt-5" + "-x" * 2**20) is None
    assert time.process_time() - began < 0.5
    assert len(prices._known) == before, "agents choose names"


def test_a_call_costs_what_its_tokens_do_rounded_up():
    price = Price(steps=((0, 1500, 10_000, 100, 2000), (1000, 3000, 20_000, 200, 4000)))
    assert price.micros(1, 0) == 2
    assert price.micros(1000, 10) == 1500 + 100
    assert price.micros(1001, 10) == 3003 + 200, "beyond a step, all of it is dearer"
    assert price.micros(100, 0, cached=50, stored=10) == 60 + 5 + 20
    assert price.dearest(100, 10) == 200 + 100, "all of it may go into the cache"


def test_the_operators_own_prices_come_first(tmp_path):
    prices = of(
        tmp_path,
        models=[
            {"model": "gpt-5", "input": 1, "output": 2, "cached": 0.5, "max_output": 77},
            {"model": "own-*-big", "api": "openai", "input": 0.0001, "output": 0},
        ],
        default={"input": 20, "output": 80},
    )
    assert prices.price("openai", "gpt-5") == Price(
        steps=((0, 1000, 2000, 500, 1000),), most=77, audio=(1000, 2000)
    )
    assert prices.price("openai", "own-7-big").steps == ((0, 1, 0, 1, 1),), "nothing is free"
    assert prices.price("anthropic", "own-7-big").steps[0][1] == 20_000
    assert prices.price("openai", "anything").steps[0][2] == 80_000
    assert prices.price("anthropic", "claude-sonnet-4-5").steps[0][1] == 3000


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("version: 2\n", "prices.yaml:1: version"),
        (
            "version: 1\nmodels:\n  - model: x\n    input: cheap\n    output: 1\n",
            ":4: models.0.input",
        ),
        ("version: 1\nmodels:\n  - model: x\n    input: -1\n    output: 1\n", ":4: models.0.input"),
        ("version: 1\nmodel: []\n", ":2: model"),
        ("version: [1\n", "prices.yaml:"),
    ],
    ids=["version", "number", "negative", "unknown", "broken"],
)
def test_a_file_that_is_none_is_refused_with_its_line(tmp_path, text, detail):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(Problem, match="PC7001") as refused:
        ModelPrices(path, Clock())
    assert detail in refused.value.detail
    with pytest.raises(Problem, match="cannot read"):
        ModelPrices(tmp_path / "none.yaml", Clock())
