"""If these fail, a limit is not what its policy says, or nobody is told that it is none."""

import pytest

from policies import policy_of
from portcullis.core.behaviour import RiskLevel
from portcullis.core.errors import Problem
from portcullis.core.limit_told import Measure
from portcullis.core.limits import Ceiling, Dimension, Limit, Requests, Window

HEAD = """version: 1
agents: {a: {role: r}}
roles: {r: {models: [gpt-*]}}
limits:
"""


def test_all_that_a_limit_can_say():
    text = """\
  house:
    for: {agent: [shop-*, a], model: gpt-*}
    per: [agent, model]
    requests: {rate: 60/minute, burst: 5}
    tokens: {input: 1_000_000/day, total: [5 / hour, 9/session]}
    cost: [1 USD/session, 20.50 USD/month]
    burn: 10
    concurrency: 4
    session_seconds: 1800
    risk: {elevated: 0.5, high: 0}
"""
    (found,) = policy_of(HEAD + text).limits
    assert found == Limit(
        name="house",
        place="policy/main.yaml:5",
        where={Dimension.AGENT: ("shop-*", "a"), Dimension.MODEL: ("gpt-*",)},
        per=(Dimension.AGENT, Dimension.MODEL),
        requests=Requests(count=60, seconds=60, burst=5),
        ceilings=(
            Ceiling(measure=Measure.INPUT, window=Window.DAY, amount=1_000_000),
            Ceiling(measure=Measure.TOKENS, window=Window.HOUR, amount=5),
            Ceiling(measure=Measure.TOKENS, window=Window.SESSION, amount=9),
            Ceiling(measure=Measure.COST, window=Window.SESSION, amount=1_000_000),
            Ceiling(measure=Measure.COST, window=Window.MONTH, amount=20_500_000),
        ),
        concurrency=4,
        session_seconds=1800,
        burn=10.0,
        risk={RiskLevel.ELEVATED: 0.5, RiskLevel.HIGH: 0.0},
    )
    assert [found.factor(level) for level in RiskLevel] == [1.0, 0.5, 0.0, 0.0]


def test_calls_are_counted_in_windows_too():
    (found,) = policy_of(f"{HEAD}  few: {{calls: [500/day, 50/session]}}\n").limits
    assert found.ceilings == (
        Ceiling(measure=Measure.CALLS, window=Window.DAY, amount=500),
        Ceiling(measure=Measure.CALLS, window=Window.SESSION, amount=50),
    )


@pytest.mark.parametrize(
    ("said", "amount"),
    [("50 MB/hour", 50_000_000), ("1.5 KiB/hour", 1536), ("7/hour", 7), ("1_000B/hour", 1000)],
    ids=["decimal", "binary", "bare", "bytes"],
)
def test_sizes_have_units(said, amount):
    (found,) = policy_of(f"{HEAD}  data: {{bytes: {said}}}\n").limits
    assert found.ceilings[0].amount == amount
    assert found.per == (Dimension.AGENT,)


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ("  Bad: {requests: 1/minute}", 5, "Bad in limits: not a name"),
        ("  x: {}", 5, "limits.x limits nothing"),
        ("  x: {for: {agent: a}}", 5, "limits.x limits nothing"),
        ("  x:\n    requests: sixty", 6, "limits.x.requests: not of the form a rate"),
        ("  x: {requests: 0/minute}", 5, "must be above 0"),
        ("  x: {requests: {burst: 4}}", 5, "limits.x.requests has no rate"),
        ("  x: {requests: 1/month}", 5, "not of the form a rate"),
        ("  x: {cost: 20 EUR/month}", 5, "is in US dollars"),
        ("  x: {cost: 20/month}", 5, "not of the form an amount such as 20 USD"),
        ("  x: {cost: [1 USD/day, 2 USD/day]}", 5, "day is said twice"),
        ("  x: {bytes: 1.2.3 MB/hour}", 5, "not of the form an amount such as 50 MB"),
        ("  x: {tokens: 5/day}", 5, "limits.x.tokens must be a mapping"),
        ("  x: {tokens: {}}", 5, "limits.x.tokens limits nothing"),
        ("  x: {rows: 5/second}", 5, "not of the form an amount"),
        ("  x: {requests: 1/day, per: [tool, model]}", 5, "both of a tool and of a model"),
        ("  x: {requests: 1/day, per: []}", 5, "must name 1 to 3"),
        ("  x: {requests: 1/day, per: [all]}", 5, "not of the form one of agent"),
        ("  x: {requests: 1/day, for: {session: x}}", 5, "unknown key session"),
        ("  x: {requests: 1/day, for: {tool: []}}", 5, "limits.x.for.tool names nobody"),
        ("  x: {requests: 1/day, burn: 5}", 5, "needs a cost per month"),
        ("  x: {cost: 1 USD/month, burn: 1}", 5, "must be a number above 1"),
        ("  x: {concurrency: -1}", 5, "must be a whole number"),
        ("  x: {concurrency: true}", 5, "must be a whole number"),
        ("  x: {requests: 1/day, risk: {high: 2}}", 5, "must be a factor from 0 to 1"),
        ("  x: {requests: 1/day, risk: {low: 1}}", 5, "unknown key low"),
        ("  x: {requets: 1/day}", 5, "unknown key requets"),
        ("  x: {rows: 99999999999999999/day}", 5, "too large to be counted"),
    ],
    ids=lambda one: one[:40].strip() if isinstance(one, str) else None,
)
def test_what_is_no_limit_is_a_fault_with_its_line(text, line, fault):
    with pytest.raises(Problem, match="PC7002") as refused:
        policy_of(HEAD + text + "\n")
    assert f"main.yaml:{line}:" in refused.value.detail
    assert fault in refused.value.detail


def test_a_name_stands_for_one_limit_in_all_files_and_the_digest_covers_it():
    one = HEAD + "  x: {requests: 1/day}\n"
    with pytest.raises(Problem, match="x is defined twice"):
        policy_of(one, "version: 1\nlimits: {x: {requests: 2/day}}\n")
    other = policy_of(HEAD + "  x: {requests: 2/day}\n")
    assert policy_of(one).digest != other.digest
    assert policy_of(one).digest == policy_of(one).digest
