"""A change that grants on less, or takes a rule away, is no change that nobody looks at."""

import pytest

from portcullis.catalogue.schema import fault
from portcullis.policy.grammar import parse
from portcullis.policy.source import SourceFile
from portcullis.review.growth import growth

NIGHT = 'package portcullis.custom.night\n\ndeny contains {"reason": "x"} if input.name == "x"\n'
POLICY = """\
version: 1
windows:
  day: {days: [mon], from: "08:00", to: "18:00", zone: UTC}
  week: {days: [mon, tue], from: "08:00", to: "18:00", zone: UTC}
agents: {a: {role: r, expires: "2027-01-01"}}
roles: {r: {allowed_tools: [{tool: kb.a, TERMS}]}}
"""
TERMS = (
    "when: arguments.n == 1, during: day, environments: [x, y], until: '2027-01-01',"
    " obligations: {approvers: 1}"
)


def policy(terms=TERMS, rego=NIGHT, expires="2027-01-01"):
    text = POLICY.replace("TERMS", terms).replace("2027-01-01", expires, 1)
    files = [SourceFile("p/main.yaml", text)]
    return parse((*files, *([SourceFile("p/night.rego", rego)] if rego else [])), fault)


def weaker(new):
    return [what for one in growth(policy(), new) for what in one.weaker]


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("arguments.n == 1", "arguments.n <= 1"),
        ("during: day", "during: week"),
        ("[x, y]", "[x, y, z]"),
        ("'2027-01-01'", "'2027-01-02'"),
        ("approvers: 1", "log: [x]"),
        ("when: arguments.n == 1, ", ""),
    ],
)
def test_weaker_terms_of_a_grant_are_told(was, now):
    assert was in TERMS
    assert weaker(policy(TERMS.replace(was, now))) == ["kb.a is granted on other terms"]


def test_stricter_terms_are_not():
    assert (
        weaker(policy(TERMS.replace("[x, y]", "[x]").replace("approvers: 1", "approvers: 2"))) == []
    )


def test_a_rule_that_is_gone_or_another_is_told_and_so_is_a_later_end():
    assert weaker(policy(rego="")) == ["the hand-written package night is gone"]
    assert weaker(policy(rego=NIGHT.replace('"x"', '"y"'))) == [
        "the hand-written package night is another"
    ]
    assert weaker(policy(expires="2027-02-01")) == ["its entry expires later, or not at all"]
