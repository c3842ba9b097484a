"""If these fail, quarantine lets through what nobody wrote down, or what does more than read."""

import pytest

from policies import pdp_of, policy_of
from portcullis.catalogue.schema import fault
from portcullis.core.errors import Problem
from portcullis.core.quarantine import Quarantine
from portcullis.policy.grammar import parse
from portcullis.policy.source import SourceFile
from portcullis.review.growth import growth

POLICY = """\
version: 1
agents: {a: {role: r}}
roles: {r: {allowed_tools: [orders.search, orders.write]}}
tools:
  orders.search: {risk: read}
  orders.count: {risk: read}
  orders.write: {risk: modify}
"""


def quarantine(said):
    return pdp_of(f"{POLICY}quarantine: {said}\n").quarantine()


def test_what_goes_on_is_what_stands_there():
    found = quarantine("{reads: [orders.search], models: [gpt-*, 'claude-*'], otherwise: hold}")
    assert found == Quarantine(
        reads=frozenset({"orders.search"}), models=("gpt-*", "claude-*"), otherwise="hold"
    )
    assert found.reads_with("orders", "search")
    assert not found.reads_with("orders", "count")
    assert [found.asks(model) for model in ("gpt-5", "other")] == [True, False]


def test_by_default_nothing_goes_on_and_everything_is_denied():
    assert pdp_of(POLICY).quarantine() == Quarantine() == quarantine("{}")
    assert not Quarantine().asks("gpt-5")


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("{reads: [orders.write]}", "orders.write has the risk modify"),
        ("{reads: [orders.other]}", "orders.other is not listed under `tools:`"),
        ("{reads: ['orders.*']}", "quarantine.reads[0]"),
        ("{reads: orders.search}", "quarantine.reads"),
        ("{models: [1]}", "quarantine.models[0]"),
        ("{otherwise: allow}", "quarantine.otherwise"),
        ("{writes: []}", "writes"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(said, wrong):
    with pytest.raises(Problem) as raised:
        quarantine(said)
    assert raised.value.code == "PC7002"
    assert wrong in raised.value.detail
    assert "main.yaml:8" in raised.value.detail


def test_it_is_said_once():
    with pytest.raises(Problem, match="quarantine is defined twice"):
        policy_of(f"{POLICY}quarantine: {{}}\n", "version: 1\nquarantine: {}\n")


def test_a_policy_that_lets_more_through_is_another_one_and_is_seen_as_a_gain():
    def read(said):
        return parse((SourceFile("p.yaml", f"{POLICY}quarantine: {said}\n"),), fault)

    def gains(old, new):
        return [line for one in growth(read(old), read(new)) for line in one.weaker]

    more = "{reads: [orders.search], models: [gpt-*], otherwise: hold}"
    assert gains("{}", more) == [
        "quarantine lets orders.search through",
        "quarantine lets the model gpt-* through",
        "quarantine asks instead of denying",
    ]
    assert gains(more, "{}") == []
    assert pdp_of(POLICY).digest != pdp_of(f"{POLICY}quarantine: {more}\n").digest
