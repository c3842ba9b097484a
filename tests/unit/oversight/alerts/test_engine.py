"""Rules over events: what raises an alert, what does not, and how much is remembered."""

import itertools
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from happenings import event, fed, over
from portcullis.core.alert import EVIDENCE, Level
from portcullis.oversight.alerts.engine import WEIGHT, Engine
from portcullis.oversight.alerts.loader import load
from portcullis.oversight.alerts.state import VALUES
from portcullis.policy.source import SourceFile


def rules(text):
    return load((SourceFile("alerts/own.yaml", "version: 1\nalerts:\n" + text),))


def rule(*lines):
    head = ("  odd:", "    title: Odd", "    level: high")
    return rules("\n".join((*head, *(f"    {line}" for line in lines))) + "\n")


REFUSED = "detection: {refused: {type: tool_call, verdict: deny}}"


def test_an_event_that_fits_raises_an_alert_about_whom_the_rule_says():
    engine = Engine(rule(REFUSED, "group-by: [principal, server]"))
    found = fed(
        engine,
        event(principal="a", server="crm", verdict="allow"),
        event(principal="a", server="crm", verdict="deny"),
        event(principal="a", server="crm", verdict="deny", type="llm_call"),
    )
    assert [(one.rule, one.level, one.subject, one.count) for one in found] == [
        ("odd", Level.HIGH, "principal=a, server=crm", 1)
    ]
    assert len(found[0].events) == 1


@pytest.mark.parametrize(
    ("selection", "fields", "fits"),
    [
        ("{code|startswith: PC30}", {"code": "PC3001"}, True),
        ("{code|startswith: PC30}", {"code": "PC2001"}, False),
        ("{code: [PC3001, PC3002]}", {"code": "PC3002"}, True),
        ("{name|contains: del}", {"name": "undelete"}, True),
        ("{name|endswith: _all}", {"name": "delete_all"}, True),
        ("{name|endswith: _all}", {"name": "all_delete"}, False),
        ("{host|cidr: 10.0.0.0/8}", {"source": "10.1.2.3:4000"}, True),
        ("{host|cidr: 10.0.0.0/8}", {"source": "11.1.2.3:4000"}, False),
        ("{host|cidr: 10.0.0.0/8}", {"source": "stdio"}, False),
        ("{host: '::1'}", {"source": "[::1]:4000"}, True),
        ("{request_bytes|gt: 100}", {"request_bytes": 101}, True),
        ("{request_bytes|gt: 100}", {"request_bytes": 100}, False),
        ("{result.bytes|gte: 5}", {"result": {"bytes": 5}}, True),
        ("{result.bytes|gte: 5}", {}, False),
        ("{result.error: true}", {"result": {"bytes": 1, "error": True}}, True),
        ("{finding: INJECTION}", {"findings": ("INJECTION:wrap@body", "EMAIL@x")}, True),
        ("{finding: INJECTION}", {"findings": ("EMAIL@INJECTION",)}, False),
        ("{parameters.table: pay}", {"parameters": {"table": "pay"}}, True),
        ("{parameters.table: pay}", {"parameters": {"table": {"pay": 1}}}, False),
        ("{session|exists: false}", {}, True),
        ("{session|exists: false}", {"session": "s"}, False),
        ("{hour|gte: 9, weekday: 1}", {}, True),
        ("{hour|lt: 9}", {}, False),
        ("[{code: PC3001}, {name: drop}]", {"name": "drop"}, True),
        ("{name: drop, verdict: deny}", {"name": "drop"}, False),
    ],
)
def test_a_selection_fits_what_it_says_and_nothing_else(selection, fields, fits):
    engine = Engine(rule(f"detection: {{one: {selection}}}"))
    assert bool(fed(engine, event(**fields))) is fits


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ("a and not b", {"a", "ac"}),
        ("a or b and c", {"a", "ab", "bc", "abc", "ac"}),
        ("(a or b) and c", {"bc", "abc", "ac"}),
        ("not a", {"b", "c", "bc", ""}),
        ("1 of them", {"a", "b", "c", "ab", "bc", "ac", "abc"}),
        ("all of them", {"abc"}),
        ("not 1 of a*", {"b", "c", "bc", ""}),
    ],
)
def test_a_condition_means_what_it_says(condition, fits):
    selections = "a: {name|contains: a}, b: {name|contains: b}, c: {name|contains: c}"
    engine = Engine(rule(f"detection: {{{selections}, condition: {condition}}}"))
    names = ["", "a", "b", "c", "ab", "bc", "ac", "abc"]
    assert {name for name in names if fed(engine, event(name=name, type="decision"))} == fits


def test_a_rule_that_names_types_in_what_it_excludes_still_sees_the_others():
    engine = Engine(rule("detection: {known: {type: tool_call}, condition: not known}"))
    assert fed(engine, event(type="llm_call"))
    assert not fed(engine, event(type="tool_call"))


COUNTED = (
    "correlation: {type: event_count, group-by: [principal], timespan: 1m, condition: {gte: 3}}"
)


def test_so_many_within_the_time_and_of_one_group_and_then_anew():
    engine = Engine(rule(REFUSED, COUNTED))

    def refusals(name, *times):
        return fed(engine, *(event(at, principal=name, verdict="deny") for at in times))

    assert not refusals("a", 0, 1)
    assert not refusals("b", 2)
    found = refusals("a", 3)
    assert [one.subject for one in found] == ["principal=a"]
    assert (found[0].count, len(found[0].events)) == (3, 3)
    assert not refusals("a", 4, 5)
    assert refusals("a", 6)
    assert not refusals("a", 100, 130, 161)
    assert not fed(engine, *(event(200, verdict="deny") for _ in range(5)))


def test_so_many_different_values():
    line = (
        "{type: value_count, field: name, group-by: [principal], timespan: 1m, condition: {gte: 3}}"
    )
    engine = Engine(rule(REFUSED, f"correlation: {line}"))

    def tried(at, name):
        return fed(engine, event(at, principal="a", name=name, verdict="deny"))

    assert not [found for at in range(20) for found in tried(at, "x")]
    assert not tried(21, "y")
    assert tried(22, "z")[0].count == 3
    assert not tried(23, "z")
    assert not [found for at in range(100, 1000, 40) for found in tried(at, f"n{at}")]


ORDERED = (
    "detection: {read: {name: read}, send: {name: send}}",
    "correlation: {type: KIND, rules: [read, send], group-by: [session], timespan: 1m}",
)


def test_one_after_the_other_and_within_the_time():
    engine = Engine(rule(*(line.replace("KIND", "temporal_ordered") for line in ORDERED)))

    def did(at, name, session="s"):
        return fed(engine, event(at, session=session, name=name))

    assert not did(0, "send")
    assert not did(1, "read")
    assert not did(2, "send", "other")
    assert did(3, "send")[0].count == 2
    assert not did(4, "send")
    assert not did(100, "read")
    assert not did(161, "send")
    assert not did(170, "read")
    assert not did(220, "read")
    assert did(260, "send")


def test_together_in_any_order():
    engine = Engine(rule(*(line.replace("KIND", "temporal") for line in ORDERED)))
    assert not fed(engine, event(0, session="s", name="send"))
    assert fed(engine, event(1, session="s", name="read"))
    assert not fed(engine, event(2, session="s", name="read"))


def test_a_value_that_was_not_there_before_once_its_group_is_known():
    line = "{type: new_value, field: host, group-by: [principal], timespan: 4d}"
    engine = Engine(rule("detection: {any: {type: tool_call}}", f"correlation: {line}"))
    day = 86400

    def came(at, host):
        return fed(engine, event(at, principal="a", source=f"{host}:1"))

    assert not came(0, "10.0.0.1")
    assert not came(day / 2, "10.0.0.2")
    assert came(1.5 * day, "10.0.0.3")
    assert not came(1.6 * day, "10.0.0.3")
    assert not came(2 * day, "10.0.0.2")
    assert came(5 * day, "10.0.0.1")


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from("abc"), st.sampled_from("xyz"))))
def test_what_is_kept_and_restored_goes_on_as_if_nothing_had_been(steps):
    made = rule(REFUSED, COUNTED) + rules(
        "  other:\n    title: Other\n    level: low\n    detection: {any: {type: tool_call}}\n"
        "    correlation: {type: value_count, field: name, group-by: [principal],"
        " timespan: 2m, condition: {gte: 2}}\n"
    )
    events = [
        event(at, principal=who, name=what, verdict="deny") for at, who, what in sorted(steps)
    ]
    whole = fed(Engine(made), *events)
    first, second = Engine(made), Engine(made)
    half = len(events) // 2
    found = fed(first, *events[:half])
    second.restore(first.kept())
    assert found + fed(second, *events[half:]) == whole


def test_nobody_who_chooses_names_can_fill_the_memory():
    line = "{type: new_value, field: name, group-by: [principal], timespan: 90d}"
    engine = Engine(rule("detection: {any: {type: tool_call}}", f"correlation: {line}"), groups=8)
    for number in range(200):
        fed(engine, event(number, principal=f"p{number}", name="x"))
    for number in range(2 * VALUES):
        fed(engine, event(1000, principal="one", name=f"{number:05d}" * 1000))
    kept = len(engine.kept())
    assert kept < VALUES * 400
    fed(engine, *(event(2000, principal="one", name=f"{n}" * 1000) for n in range(VALUES)))
    assert len(engine.kept()) < VALUES * 400


def test_an_alert_names_some_of_its_events_and_says_how_many_there_were():
    line = "{type: event_count, timespan: 1h, condition: {gte: 30}}"
    engine = Engine(rule(REFUSED, f"correlation: {line}"))
    found = fed(engine, *(event(at, verdict="deny") for at in range(30)))
    assert (found[0].count, len(found[0].events)) == (30, EVIDENCE)
    assert found[0].subject == ""


def test_a_rule_that_is_not_looked_at_could_not_have_fitted():
    texts = [
        "{one: {code: PC3001, verdict: deny}}",
        "{one: {code|startswith: PC30}}",
        "{one: {verdict: deny}, two: {finding: EMAIL}, condition: one or two}",
        "{one: {finding: EMAIL}, two: {code: PC3001}, condition: one and not two}",
        "{one: {method|exists: true}}",
        "{one: {method|exists: false}}",
        "{one: [{method: a}, {name: b}]}",
        "{one: {verdict: [deny, hold], method: a}}",
    ]
    made = [rule(f"detection: {text}")[0] for text in texts]
    engines = [Engine([one]) for one in made]
    for code, verdict, method, findings, name in itertools.product(
        ("", "PC3001", "PC3002", "PC4001"),
        ("", "deny", "allow", "hold"),
        ("", "a", "z"),
        ((), ("EMAIL@x",), ("IBAN@x",)),
        ("", "b"),
    ):
        one = event(code=code, verdict=verdict, method=method, findings=findings, name=name)
        for each, engine in zip(made, engines, strict=True):
            assert bool(engine.look(one)) is each.test(one)


def test_a_rule_that_joins_events_otherwise_now_begins_anew_and_so_does_what_is_no_memory():
    def engine(least):
        line = "correlation: {type: event_count, group-by: [principal], timespan: 1m, condition: "
        return Engine(rule(REFUSED, f"{line}{{gte: {least}}}}}"))

    before = engine(3)
    fed(before, event(principal="a", verdict="deny"), event(principal="a", verdict="deny"))
    same, other = engine(3), engine(2)
    for one in (same, other):
        one.restore(before.kept())
    again = event(1, principal="a", verdict="deny")
    assert fed(same, again)
    assert not fed(other, again)
    with pytest.raises(msgspec.MsgspecError):
        other.restore(b"nonsense")


def test_all_groups_together_are_bounded_too():
    line = (
        "{type: value_count, field: name, group-by: [principal], timespan: 1d,"
        " condition: {gte: 900}}"
    )
    engine = Engine(rule("detection: {any: {type: tool_call}}", f"correlation: {line}"))
    for number in range(100):
        for value in range(500):
            engine.look(event(principal=f"p{number}", name=f"{value}"))
    assert len(engine.kept()) < WEIGHT * 60


def test_what_a_caller_chose_is_marked_so_that_no_channel_is_told():
    made = rule(
        "detection: {any: {gateway|exists: true}}", "group-by: [principal, server, name, method]"
    )

    def hidden(**fields):
        (found,) = fed(
            Engine(made), event(principal="a", server="s", name="n", method="m", **fields)
        )
        return set(found.hidden)

    assert hidden(verdict="deny") == {"server", "name", "method"}
    assert hidden(verdict="allow", action="tool") == {"method"}
    assert hidden(verdict="allow", action="resource") == {"name", "method"}
    assert hidden(type="tool_result", verdict="deny") == {"name", "method"}
    assert hidden(type="admin", verdict="allow") == set()
    assert hidden(type="admin", verdict="deny") == {"server", "name", "method"}
    assert hidden(type="error", verdict="deny") == {"server", "name", "method"}


def test_that_there_is_an_alert_raises_none():
    engine = Engine(rule("detection: {any: {type: admin}}"))
    assert fed(engine, event(type="admin", method="alert.silenced"))
    assert not fed(engine, event(type="admin", method="alert.raised"))


ENDING = (
    "detection: {opened: {type: admin, method: x.open}, closed: {type: admin, method: x.close}}",
    "group-by: [name]",
    "resolve: {by: closed, after: 5m}",
)


def test_an_event_of_the_same_group_says_that_it_is_over():
    engine = Engine(rule(*ENDING))
    said = {"type": "admin", "verdict": "allow"}
    (raised,) = fed(engine, event(**said, method="x.open", name="a"))
    assert (raised.group, raised.quiet) == ({"name": "a"}, 300.0)
    (ended,) = over(engine, event(9, **said, method="x.close", name="a"))
    assert (ended.rule, ended.group, ended.at - raised.at) == ("odd", {"name": "a"}, 9)
    assert not over(engine, event(**said, method="x.close"), event(method="x.close", name="a"))


def test_an_engine_with_other_rules_goes_on_where_the_one_before_was():
    counted = "correlation: {type: event_count, group-by: [principal], timespan: 5m, condition: "
    before = Engine(rule(REFUSED, counted + "{gte: 3}}"))
    assert not fed(before, *(event(n, principal="a", verdict="deny") for n in range(2)))
    same, other = Engine(rule(REFUSED, counted + "{gte: 3}}")), Engine(rules(TWO))
    for engine in (same, other):
        engine.follow(before)
    assert fed(same, event(3, principal="a", verdict="deny"))
    assert not fed(other, event(3, principal="a", verdict="deny"))


TWO = """\
  odd:
    title: Odd
    level: low
    detection: {refused: {verdict: deny}}
    correlation: {type: value_count, field: name, timespan: 5m, condition: {gte: 3}}
"""


def test_a_flood_of_groups_or_of_one_takes_bounded_time_and_memory_of_each_event():
    slow = "correlation: {type: event_count, group-by: [principal], timespan: 1h, condition: "
    engine = Engine(rule(REFUSED, slow + "{gte: 10000}}"))
    events = [event(n / 100, principal="a", verdict="deny") for n in range(9999)]
    began = time.process_time()
    assert not fed(engine, *events)
    assert time.process_time() - began < 2.0  # each costs the same, however many there were
    (one,) = fed(engine, event(100, principal="a", verdict="deny"))
    assert one.count == 10_000


def test_what_is_late_by_a_little_does_not_count_what_is_too_old():
    counted = "correlation: {type: event_count, group-by: [principal], timespan: 10s, condition: "
    engine = Engine(rule(REFUSED, counted + "{gte: 3}}"))
    for at in (20, 3, 14):  # two logs, not quite in order
        assert not fed(engine, event(at, principal="a", verdict="deny"))
    assert fed(engine, event(15, principal="a", verdict="deny"))
