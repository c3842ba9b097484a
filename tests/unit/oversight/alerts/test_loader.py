"""Files of rules: what is wrong is said with its line, all of it at once."""

import pytest

from happenings import event
from portcullis.core.errors import Problem
from portcullis.oversight.alerts.builtin import builtin, rules
from portcullis.oversight.alerts.loader import load
from portcullis.policy.source import SourceFile

GOOD = """version: 1
alerts:
  odd:
    title: Odd
    level: high
    detection:
      one: {type: tool_call}
"""


def loaded(text):
    return load((SourceFile("alerts/own.yaml", text),))


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("version: 1", "version: 2", 1, "version must be 1"),
        ("  odd:", "  Odd_1:", 3, "a name of a-z"),
        ("    title: Odd\n", "", 4, "has no title"),
        ("level: high", "level: loud", 5, "no such level"),
        ("    detection:\n      one: {type: tool_call}\n", "", 4, "has no detection"),
        ("{type: tool_call}", "{typ: tool_call}", 7, "no such field: typ"),
        ("{type: tool_call}", "{type|like: tool_call}", 7, "no such modifier: like"),
        ("{type: tool_call}", "{type: [tool_call, tool_cal]}", 7, "type is never tool_cal"),
        ("{type: tool_call}", "{verdict: denied}", 7, "verdict is never denied"),
        ("{type: tool_call}", "{code: PC9999}", 7, "code is never PC9999"),
        ("{type: tool_call}", "{code|startswith: PC99}", 7, "code|startswith is never PC99"),
        ("{type: tool_call}", "{risk: extrenal}", 7, "risk is never extrenal"),
        ("{type: tool_call}", "{hour|gte: 24}", 7, "hour|gte is never 24"),
        ("{type: tool_call}", "{principal: 7}", 7, "principal is never 7"),
        ("{type: tool_call}", "{sequence: '7'}", 7, "sequence is never 7"),
        ("{type: tool_call}", "{principal|gt: 7}", 7, "principal|gt is never 7"),
        ("{type: tool_call}", "{}", 7, "selects nothing"),
        ("{type: tool_call}", "[]", 7, "selects nothing"),
        ("{type: tool_call}", "{request_bytes|gt: many}", 7, "not a value"),
        ("{type: tool_call}", "{session|exists: maybe}", 7, "not a value"),
        ("{type: tool_call}", "{name: {a: b}}", 7, "not a value"),
        ("{type: tool_call}\n", "{name: a}\n      two: {name: b}\n", 7, "has no condition"),
        ("{type: tool_call}\n", "{name: a}\n      condition: two\n", 8, "no selection two"),
        ("{type: tool_call}\n", "{name: a}\n      condition: one and\n", 8, "expected a selection"),
        ("{type: tool_call}\n", "{name: a}\n      condition: (one\n", 8, "a ) is missing"),
        ("{type: tool_call}\n", "{name: a}\n      condition: one one\n", 8, "unexpected 'one'"),
        ("{type: tool_call}\n", "{name: a}\n      condition: one & one\n", 8, "unexpected"),
        (
            "{type: tool_call}\n",
            "{name: a}\n      condition: 1 of x*\n",
            8,
            "no selection is called",
        ),
        ("{type: tool_call}\n", "{name: a}\n    odd: 1\n", 8, "unknown key odd"),
        ("{type: tool_call}\n", "{name: a}\n    keep: often\n", 8, "true or false"),
        ("{type: tool_call}\n", "{name: a}\n    correlation: {type: often}\n", 8, "one of"),
        (
            "{type: tool_call}\n",
            "{name: a}\n    group-by: [name]\n    correlation: {type: event_count, timespan: 5m}\n",
            8,
            "group-by beside alerts.odd.correlation",
        ),
        (
            "{type: tool_call}\n",
            "{name: a}\n    correlation: {type: event_count, timespan: 5, condition: {gte: 2}}\n",
            8,
            "expected a string",
        ),
        (
            "{type: tool_call}\n",
            "{name: a}\n    correlation: {type: event_count, timespan: 91d, condition: {gte: 2}}\n",
            8,
            "not a time",
        ),
        (
            "{type: tool_call}\n",
            "{name: a}\n    correlation: {type: event_count, timespan: 5m, condition: {gt: 2}}\n",
            8,
            "not a count",
        ),
        (
            "{type: tool_call}\n",
            "{name: a}\n    correlation: {type: value_count, timespan: 5m, condition: {gte: 2}}\n",
            8,
            "name a field",
        ),
        (
            "{type: tool_call}\n",
            "{name: a}\n    correlation: {type: temporal, timespan: 5m, rules: [one]}\n",
            8,
            "at least two",
        ),
        (
            "{type: tool_call}\n",
            "{name: a}\n    correlation: {type: temporal, timespan: 5m, rules: [one, two]}\n",
            8,
            "no selection two",
        ),
        ("{type: tool_call}\n", "{name: a}\n    resolve: {}\n", 8, "says nothing"),
        ("{type: tool_call}\n", "{name: a}\n    resolve: {after: often}\n", 8, "not a time"),
        ("{type: tool_call}\n", "{name: a}\n    resolve: {by: two}\n", 8, "no selection two"),
        ("{type: tool_call}\n", "{name: a}\n    resolve: {when: 5m}\n", 8, "unknown key when"),
        (
            "{type: tool_call}\n",
            "{name: a}\n    keep: true\n    resolve: {after: 5m}\n",
            9,
            "does not go with keep",
        ),
        (
            "{type: tool_call}\n",
            "{name: a}\n      two: {name: b}\n      condition: two\n    resolve: {by: two}\n",
            9,
            "no selection two",
        ),
        ("{type: tool_call}", "{host|cidr: 10.0.0.0/99}", 7, "not a value"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old, new, line, says):
    assert old in GOOD
    with pytest.raises(Problem) as caught:
        loaded(GOOD.replace(old, new))
    assert caught.value.code == "PC7002"
    assert f"alerts/own.yaml:{line}:" in caught.value.detail
    assert says in caught.value.detail


def test_all_faults_are_said_at_once():
    with pytest.raises(Problem) as caught:
        loaded(GOOD.replace("high", "loud").replace("type: tool_call", "typ: x"))
    assert "no such level" in caught.value.detail
    assert "no such field" in caught.value.detail


def test_a_rule_says_which_types_it_is_about_only_where_no_other_can_fit():
    (rule,) = loaded(GOOD)
    assert rule.types == {"tool_call"}
    (rule,) = loaded(GOOD.replace("{type: tool_call}", "[{type: tool_call}, {name: x}]"))
    assert rule.types == frozenset()


def test_a_rule_has_no_more_selections_than_every_event_can_be_held_against():
    many = "".join(f"      s{number}: {{name: a}}\n" for number in range(65))
    with pytest.raises(Problem, match="more than 64 selections"):
        loaded(GOOD + many + "      condition: 1 of them\n")


def test_what_ends_an_alert_raises_none_and_is_no_selection_like_the_others():
    text = GOOD + "      back: {type: admin, name: b}\n    resolve: {after: 90s, by: back}\n"
    (rule,) = loaded(text)
    assert rule.quiet == 90.0
    assert rule.types == {"tool_call", "admin"}
    assert rule.test(event(name="b"))
    assert not rule.test(event(type="admin", name="b"))
    assert rule.over(event(type="admin", name="b"))


def test_a_rule_of_ones_own_takes_the_place_of_a_built_in_one(tmp_path):
    (tmp_path / "own.yaml").write_text(GOOD.replace("odd:", "canary-left:"), encoding="utf-8")
    found = {rule.name: rule for rule in rules(tmp_path)}
    assert found["canary-left"].title == "Odd"
    assert len(found) == len(builtin())
    assert rules(None) == builtin()
