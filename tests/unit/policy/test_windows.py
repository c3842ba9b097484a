"""Windows, dates and the answers that are remembered, by a clock that is turned."""

from datetime import UTC, datetime

import pytest

from policies import call, context, policy_of
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp
from portcullis.policy.windows import Calendar, Window

BERLIN = Window(name="w", days=(6,), begin=90, end=210, zone="Europe/Berlin")
"""Sundays from 01:30 to 03:30, when clocks are put forward and back."""
NIGHT = Window(name="n", days=(4,), begin=22 * 60, end=6 * 60, zone="America/New_York")
"""Fridays from 22:00 until Saturdays at 06:00."""

POLICY = """\
version: 1
windows:
  office: {days: [mon, tue, wed, thu, fri], from: "08:00", to: "18:00", zone: Europe/Berlin}
agents:
  a: {role: r, expires: "2027-06-30"}
roles:
  r:
    allowed_tools:
      - {tool: kb.office, during: office}
      - {tool: kb.until, until: "2027-01-31T12:00:00Z"}
      - kb.always
    models: [{model: gpt-*, during: office}]
"""


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return self.seconds

    def monotonic(self):
        return self.seconds

    def turn(self, text):
        self.seconds = at(text)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("window", "utc", "is_open"),
    [
        (BERLIN, "2027-03-28T00:29:59", False),  # 01:29 in winter
        (BERLIN, "2027-03-28T00:30:00", True),
        (BERLIN, "2027-03-28T01:29:00", True),  # 03:29 in summer: the clock skipped an hour
        (BERLIN, "2027-03-28T01:30:00", False),
        (BERLIN, "2027-10-30T23:30:00", True),  # 01:30 in summer
        (BERLIN, "2027-10-31T00:59:59", True),
        (BERLIN, "2027-10-31T01:59:59", True),  # 02:59 for the second time
        (BERLIN, "2027-10-31T02:30:00", False),
        (BERLIN, "2027-10-31T23:00:00", False),  # a Monday there
        (NIGHT, "2027-01-09T03:00:00", True),  # Friday 22:00
        (NIGHT, "2027-01-09T10:59:00", True),  # Saturday 05:59
        (NIGHT, "2027-01-09T11:00:00", False),
        (NIGHT, "2027-01-08T05:00:00", False),  # Friday 00:00: that night began on a Thursday
    ],
)
def test_a_window_goes_by_the_clock_on_the_wall(window, utc, is_open):
    assert window.open_at(at(utc)) is is_open


def test_what_a_decision_sees_of_time_changes_only_where_something_does():
    first, second = int(at("2027-01-01T00:00:00")), int(at("2027-01-01T00:00:30"))
    calendar = Calendar((BERLIN,), (first, second))
    seen = [calendar.at(first + step) for step in (-1, 0, 29.9, 30, 3600)]
    assert [now.time for now in seen] == [
        "1970-01-01T00:00:00Z",
        "2027-01-01T00:00:00Z",
        "2027-01-01T00:00:00Z",
        "2027-01-01T00:00:30Z",
        "2027-01-01T00:00:30Z",
    ]
    assert calendar.at(first - 1) == seen[0]  # a clock that is put back


def test_remembered_answers_end_when_a_window_closes_and_a_date_comes():
    clock = Clock()
    pdp = RegoPdp(policy_of(POLICY), RegorusEngine(), clock=clock)

    def allowed(name):
        return isinstance(pdp.decide(call(target=f"kb.{name}"), context("a")), Allow)

    def state(text):
        clock.turn(text)
        asked = [allowed(name) for name in ("office", "until", "always")]
        assert asked == [allowed(name) for name in ("office", "until", "always")]
        return asked

    assert state("2027-01-04T06:59:59") == [False, True, True]
    assert state("2027-01-04T07:00:00") == [True, True, True]  # 08:00 in Berlin
    assert pdp.visible("tools", "kb", ["office", "until"], context("a")) == {"office", "until"}
    assert state("2027-01-04T17:00:00") == [False, True, True]
    assert pdp.visible("tools", "kb", ["office", "until"], context("a")) == {"until"}
    assert state("2027-01-31T11:59:59") == [False, True, True]
    assert state("2027-01-31T12:00:00") == [False, False, True]
    assert state("2027-03-29T05:59:59") == [False, False, True]
    assert state("2027-03-29T06:00:00") == [True, False, True]  # summer in Berlin
    assert state("2027-06-30T00:00:00") == [False, False, False]
    expired = pdp.decide(call(target="kb.always"), context("a"))
    assert (expired.code, expired.rule) == ("PC3009", "agents.a.expires @ policy/main.yaml:5")
    assert pdp.visible("tools", "kb", ["always"], context("a")) == frozenset()


def test_without_a_clock_nothing_that_is_tied_to_time_holds():
    pdp = RegoPdp(policy_of(POLICY.replace(', expires: "2027-06-30"', "")), RegorusEngine())
    for name, rule in (("office", "during"), ("until", "until")):
        verdict = pdp.decide(call(target=f"kb.{name}"), context("a"))
        assert verdict.code == "PC3001"
        assert f".{rule} @ policy/main.yaml" in verdict.rule
    assert isinstance(pdp.decide(call(target="kb.always"), context("a")), Allow)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{days: [mon], from: "08:00", to: "18:00"}', "does not say zone"),
        ('{days: [mon], from: "8:00", to: "18:00", zone: UTC}', "HH:MM"),
        ('{days: [mon], from: "08:00", to: "08:00", zone: UTC}', "never open"),
        ('{days: [mo], from: "08:00", to: "18:00", zone: UTC}', "one of mon"),
        ('{days: [], from: "08:00", to: "18:00", zone: UTC}', "days is empty"),
        ('{days: [mon], from: "08:00", to: "18:00", zone: Europe/Berlim}', "no time zone"),
        ('{days: [mon], from: "08:00", to: "18:00", zone: ../etc}', "UTC or a zone"),
    ],
)
def test_what_is_no_window_says_why(text, says):
    with pytest.raises(Problem) as caught:
        policy_of(f"version: 1\nwindows:\n  w: {text}\n")
    assert "policy/main.yaml:3:" in caught.value.detail
    assert says in caught.value.detail


def test_a_window_at_fault_is_the_only_fault_of_what_names_it():
    role = "roles: {r: {allowed_tools: [{tool: kb.a, during: w}]}}"
    with pytest.raises(Problem) as caught:
        policy_of(f"version: 1\nwindows: {{w: {{days: [mon]}}}}\n{role}\n")
    assert "does not say zone" in caught.value.detail
    assert "unknown window" not in caught.value.detail


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ('{tool: kb.a, until: "2027-02-30"}', "not a date"),
        ('{tool: kb.a, until: "tomorrow"}', "not a date"),
        ("{tool: kb.a, during: office}", "unknown window office"),
        ("{tool: kb.a, environments: []}", "environments is empty"),
        ("{tool: kb.a, environments: [Production]}", "a word such as production"),
        ("{during: office}", "does not say tool"),
        ("{model: gpt-*}", "unknown key model"),
    ],
)
def test_terms_that_can_never_hold_are_refused(keys, says):
    with pytest.raises(Problem) as caught:
        policy_of(f"version: 1\nroles:\n  r:\n    allowed_tools: [{keys}]\n")
    assert "policy/main.yaml:4:" in caught.value.detail
    assert says in caught.value.detail
