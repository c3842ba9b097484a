"""If these fail, a change takes a limit away and nobody sees it in `policy diff`."""

import pytest

from portcullis.catalogue.schema import fault
from portcullis.policy.grammar import parse
from portcullis.policy.source import SourceFile
from portcullis.review.growth import growth

POLICY = """version: 1
agents: {shop: {role: seller}, aide: {role: helper}}
roles: {seller: {models: [gpt-*]}, helper: {models: [gpt-*]}}
limits:
  house:
    for: {agent: sh*, model: [gpt-4, gpt-5]}
    requests: {rate: 60/minute, burst: 5}
    tokens: {output: 1000/day}
    cost: [1 USD/day, 20 USD/month]
    concurrency: 4
    session_seconds: 60
    burn: 5
    risk: {elevated: 0.5}
"""


def weaker(new):
    old, changed = (parse((SourceFile("p.yaml", text),), fault) for text in (POLICY, new))
    found = growth(old, changed)
    assert {one.agent for one in found} <= {"shop"}, "the other has no limits"
    return found[0].weaker if found else ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (POLICY[POLICY.index("limits:") :], "", "limit house is gone"),
        ("agent: sh*", "agent: s", "limit house is gone"),
        ("agent: sh*", "role: helper", "limit house is gone"),
        ("[gpt-4, gpt-5]", "[gpt-5]", "limit house: it is for other calls (model)"),
        ("    requests: {rate", "    per: [agent, model]\n    requests: {rate",
         "limit house: per agent -> agent, model"),
        ("60/minute", "61/minute", "limit house: requests 60/60 s -> 61/60 s"),
        ("60/minute", "2/second", "limit house: requests 60/60 s -> 2/1 s"),
        ("burst: 5", "burst: 6", "limit house: burst 5 -> 6"),
        ("    requests: {rate: 60/minute, burst: 5}\n", "", "limit house: requests are not"),
        ("1000/day", "1001/day", "limit house: output_tokens per day 1000 -> 1001"),
        ("1000/day", "10/hour", "limit house: output_tokens per day is not limited"),
        ("concurrency: 4", "concurrency: 5", "limit house: concurrency 4 -> 5"),
        ("    session_seconds: 60\n", "", "limit house: session_seconds 60 -> none"),
        ("burn: 5", "burn: 9", "limit house: burn 5.0 -> 9.0"),
    ],
    ids=["gone", "other-agent", "other-role", "fewer-models", "per", "rate", "pace", "burst",
         "no-rate", "amount", "window", "places", "time", "burn"],
)  # fmt: skip
def test_what_limits_an_agent_less_is_named(old, new, said):
    (found,) = weaker(POLICY.replace(old, new))
    assert found.startswith(said)


def test_less_for_whom_is_risky_is_named():
    said = weaker(POLICY.replace("elevated: 0.5", "elevated: 0.7"))
    assert said[0] == "limit house: at risk elevated 0.5 -> 0.7"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("agent: sh*", "agent: '*'"),
        ("[gpt-4, gpt-5]", "'*'"),
        ("60/minute", "1/second"),
        ("1000/day", "[1000/day, 10/hour]"),
        ("burst: 5", "burst: 4"),
        ("burn: 5", "burn: 4"),
        ("elevated: 0.5", "elevated: 0.1"),
        ("    requests", "    per: all\n    requests"),
    ],
    ids=["all-agents", "all-models", "pace", "more", "burst", "burn", "risk", "together"],
)
def test_what_is_at_least_as_strict_is_no_gain(old, new):
    assert weaker(POLICY.replace(old, new)) == ()
