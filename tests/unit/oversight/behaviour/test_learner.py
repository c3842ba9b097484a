"""If these fail, an agent that was taken over looks like itself, or an honest one does not."""

import random
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from behaviour_weeks import DAY, ROLES, START, WRONGS, Agent, Week, Wrong, agents
from portcullis.core.behaviour import ENFORCED, Kind, Phase, RiskLevel, Thresholds
from portcullis.core.event import Event, EventType
from portcullis.oversight.behaviour.learner import Bounds, Learner, lines
from portcullis.oversight.behaviour.profile import (
    MOST_COUNTS,
    MOST_EPISODES,
    MOST_FACETS,
    MOST_SESSIONS,
    MOST_SIZES,
    Profile,
)

LEARN = 14
BEGIN = START.timestamp() + LEARN * DAY


def made(**how):
    return Learner(Thresholds(), lambda agent: agent.rpartition("-")[0], **how)


@pytest.fixture(scope="module")
def quiet():
    """What an agent of each role did in a fortnight, as it was learned; encoded."""
    some = agents(5, 3)
    learner = made()
    events = [event for agent in some for event in Week(agent, []).run(LEARN)]
    for event in sorted(events, key=lambda one: one.time):
        learner.observe(event)
    for agent in some:
        learner.decided(agent.name, Phase.RATIFIED, 1)
    kept = {name: msgspec.msgpack.encode(one) for name, one in learner.profiles.items()}
    return {agent.role: (agent, kept[agent.name]) for agent in some}


def again(quiet, role):
    """The agent of a role, and a learner that knows it."""
    agent, kept = quiet[role]
    profile = msgspec.msgpack.decode(kept, type=Profile)
    return agent, made(profiles=[profile])


def go_on(agent: Agent, days: float = 1, wrong: str = "", begin: float = 10.0) -> list[Event]:
    """What the agent does from the fifteenth day on."""
    agent = replace(agent, random=random.Random(f"{agent.name} {wrong}"))
    week = Week(agent, [])
    week.run(int(days))
    week.events = [
        msgspec.structs.replace(
            one, time=one.time + timedelta(days=LEARN), session=f"n-{one.session}"
        )
        for one in week.events
    ]
    if wrong:
        at = LEARN * DAY + begin * 3600
        WRONGS[wrong](week, Wrong(agent.name, wrong, at, at + 3 * 3600), ROLES[agent.role][0])
    return sorted(week.events, key=lambda one: one.time)


def levels(learner, events):
    """The highest level there was."""
    ranks = list(RiskLevel)
    found = RiskLevel.NORMAL
    for event in events:
        profile = learner.observe(event)
        if profile is not None:
            found = max(found, learner.level(profile.agent, profile.last), key=ranks.index)
    return found


@pytest.mark.parametrize("role", ["support", "analyst", "batch", "finance", "coder"])
def test_an_agent_that_goes_on_as_before_is_no_risk(quiet, role):
    agent, learner = again(quiet, role)
    assert levels(learner, go_on(agent, 4)) in {RiskLevel.NORMAL, RiskLevel.ELEVATED}


@pytest.mark.parametrize(
    ("role", "wrong", "kinds"),
    [
        ("support", "volume", {Kind.VOLUME}),
        ("analyst", "new-table", {Kind.DESTINATION}),
        ("analyst", "new-destination", {Kind.DESTINATION}),
        ("support", "night-work", {Kind.HOURS}),
        ("support", "tool-order", {Kind.ORDER}),
        ("coder", "credential-reuse", {Kind.SOURCE}),
        ("coder", "errors", {Kind.REFUSALS}),
        ("batch", "denials", {Kind.REFUSALS}),
        ("analyst", "large-results", {Kind.SIZE}),
        ("finance", "large-requests", {Kind.SIZE}),
        ("coder", "new-tool", {Kind.TOOL}),
        ("batch", "argument-shape", {Kind.SHAPE}),
    ],
)
def test_misbehaviour_is_a_high_risk_and_the_reasons_say_what_it_was(quiet, role, wrong, kinds):
    agent, learner = again(quiet, role)
    assert levels(learner, go_on(agent, 1, wrong)) in {RiskLevel.HIGH, RiskLevel.CRITICAL}
    profile = learner.profiles[agent.name]
    reasons = learner.standing(profile).reasons
    assert kinds <= {one.kind for one in reasons}
    said = msgspec.json.encode(reasons).decode()
    for content in ("attacker", "salaries", "hmac-sha256"):
        assert content not in said


def test_reading_more_every_day_is_noticed_within_days(quiet):
    agent, learner = again(quiet, "support")
    usual = go_on(agent, 4)
    week = Week(replace(agent, random=random.Random(2)), [])
    slow = Wrong(agent.name, "slow", LEARN * DAY + 9 * 3600, (LEARN + 4) * DAY)
    WRONGS["slow-exfiltration"](week, slow, ROLES["support"][0])
    both = sorted(usual + week.events, key=lambda one: one.time)
    assert levels(learner, both) in {RiskLevel.HIGH, RiskLevel.CRITICAL}
    assert Kind.ACCESS in {one.kind for one in learner.profiles[agent.name].episodes.values()}


def test_the_risk_goes_with_time_and_the_baseline_stays(quiet):
    agent, learner = again(quiet, "coder")
    assert levels(learner, go_on(agent, 1, "new-tool")) is not RiskLevel.NORMAL
    last = learner.profiles[agent.name].last
    assert learner.level(agent.name, last + 3 * DAY) is RiskLevel.NORMAL
    tools = learner.profiles[agent.name].facets["tool"]
    assert "admin.grant" not in tools.seen


def test_an_agent_at_risk_teaches_nothing(quiet):
    agent, learner = again(quiet, "finance")
    levels(learner, go_on(agent, 1, "volume"))
    known = lines(msgspec.msgpack.decode(quiet["finance"][1], type=Profile))
    now = lines(learner.profiles[agent.name])
    counted = {one.subject: one.usual for one in known if one.usual.endswith("a day")}
    for one in now:
        if one.subject in counted:
            most, seen = (
                float(text.split()[-3].replace(",", ""))
                for text in (counted[one.subject], one.usual)
            )
            assert seen <= max(most * 1.05, 1.0)


def test_growing_slowly_does_not_make_much_usual(quiet):
    agent, learner = again(quiet, "analyst")
    before = learner.profiles[agent.name].counts["calls"].day_peak
    busy = Week(replace(agent, random=random.Random(5)), [])
    for day in range(LEARN, LEARN + 25):
        for _ in range(int(9 * 1.06 ** (day - LEARN))):
            at = day * DAY + busy.random.uniform(9, 17) * 3600
            busy.session(at, ROLES["analyst"][0])
    seen = levels(learner, sorted(busy.events, key=lambda one: one.time))
    profile = learner.profiles[agent.name]
    assert profile.counts["calls"].day_peak <= 1.5 * before
    assert seen is not RiskLevel.NORMAL, "boiling the frog raises the score"
    assert profile.phase is Phase.DRIFTING


def event(**fields):
    base = {
        "v": 1,
        "id": "1",
        "time": START,
        "type": EventType.TOOL_CALL,
        "gateway": "g",
        "principal_kind": "agent",
        "principal": "eve-1",
        "credential": "c",
        "session": "s",
        "source": "10.0.0.1:1",
        "action": "tool",
        "server": "db",
        "name": "query",
        "risk": "read",
        "verdict": "allow",
    }
    return Event(**base | fields)


def test_names_that_an_agent_invents_do_not_make_its_profile_larger():
    learner = made()
    for number in range(1500):
        at = START + timedelta(seconds=number * 60)
        learner.observe(
            event(
                time=at,
                name=f"tool{number}" + "x" * 5000,
                session=f"s{number}",
                credential=f"c{number}",
                source=f"10.{number % 256}.{number // 256}.1:5",
                parameters={f"p{number}": number},
                commitments={f"arguments.a{number}": f"hmac-sha256:{number:064x}"},
                request_bytes=number,
            )
        )
        learner.observe(event(time=at, type=EventType.TOOL_CALL, verdict="deny", code="PC3001"))
    profile = learner.profiles["eve-1"]
    assert len(profile.facets) <= MOST_FACETS
    assert len(profile.sizes) <= MOST_SIZES
    assert len(profile.counts) <= MOST_COUNTS
    assert len(profile.sessions) <= MOST_SESSIONS
    assert len(profile.episodes) <= MOST_EPISODES
    assert len(msgspec.msgpack.encode(profile)) < 120_000


def test_what_is_suspicious_and_what_follows_it_in_the_session_teaches_nothing():
    learner = made()
    learner.observe(event())
    found = ("INJECTION:wrap@result",)
    learner.observe(event(type=EventType.TOOL_RESULT, findings=found))
    learner.observe(event(name="drop"))
    learner.observe(event(name="list", session="other"))
    assert set(learner.profiles["eve-1"].facets["tool"].seen) == {"db.query", "db.list"}
    masked = ("EMAIL_ADDRESS:mask@result",)
    learner.observe(event(type=EventType.TOOL_RESULT, session="third", findings=masked))
    learner.observe(event(name="show", session="third"))
    assert "db.show" in learner.profiles["eve-1"].facets["tool"].seen


def test_a_suspicious_session_is_not_forgotten_for_the_others_that_are_opened():
    learner = made()
    found = ("INJECTION:wrap@result",)
    learner.observe(event(type=EventType.TOOL_RESULT, findings=found))
    learner.observe(event())
    learner.observe(event(type=EventType.TOOL_RESULT, findings=found))
    for number in range(MOST_SESSIONS + 5):
        learner.observe(event(session=f"o{number}"))
    learner.observe(event(name="drop"))
    assert "db.drop" not in learner.profiles["eve-1"].facets["tool"].seen
    learner.observe(event(type=EventType.TOOL_RESULT, findings=found, session="", credential="a"))
    learner.observe(event(name="drop", session="", credential="b"))
    assert "db.drop" not in learner.profiles["eve-1"].facets["tool"].seen, "another token"
    later = START + timedelta(hours=2)
    learner.observe(event(name="drop", session="", credential="b", time=later))
    assert "db.drop" in learner.profiles["eve-1"].facets["tool"].seen


def test_arguments_do_not_take_the_places_of_tools_and_filling_them_is_a_reason(quiet):
    agent, learner = again(quiet, "coder")
    learner.observe(
        event(
            principal=agent.name,
            time=START + timedelta(days=LEARN, hours=10),
            server="git",
            name="read",
            commitments={f"arguments.a{number}": "hmac-sha256:00" for number in range(MOST_FACETS)},
        )
    )
    profile = learner.profiles[agent.name]
    assert len(profile.facets) < MOST_FACETS - 50
    assert profile.facet("shape new") is not None
    reasons = learner.standing(profile).reasons
    assert "too many arguments" in {one.subject for one in reasons}


def test_a_fortnight_of_errors_does_not_make_it_deaf_to_more(quiet):
    learner = made()
    for number in range(400):
        learner.observe(event(type=EventType.TOOL_CALL, time=START + timedelta(hours=number)))
        learner.observe(
            event(type=EventType.TOOL_RESULT, time=START + timedelta(hours=number), verdict="error")
        )
    now, most = learner.profiles["eve-1"].shares["errors"]
    assert most <= 15
    assert now <= 35
    agent, learner = again(quiet, "coder")
    at = START + timedelta(days=LEARN, hours=10)
    its = {"principal": agent.name, "server": "git", "name": "read"}
    for number in range(24):
        when = at + timedelta(minutes=5 * number)
        learner.observe(event(time=when, **its))
        failed = number % 4 != 0
        verdict = "error" if failed else "allow"
        learner.observe(event(type=EventType.TOOL_RESULT, time=when, verdict=verdict, **its))
    episodes = learner.profiles[agent.name].episodes
    assert "refusals:many errors" in episodes, "spread over two hours, with calls that went well"


def test_refusals_of_ours_do_not_make_it_worse():
    learner = made()
    for code in ("PC4001", "PC3070", "PC5001", "PC5023", "PC9001"):
        learner.observe(event(verdict="deny", code=code))
    assert "refusals" not in learner.profiles["eve-1"].counts
    learner.observe(event(verdict="deny", code="PC3001"))
    assert learner.profiles["eve-1"].counts["refusals"].hour == 1


def test_while_it_is_learned_only_what_is_too_much_for_anybody_scores_and_holds_nothing():
    learner = made(bounds=Bounds(refusals=2))
    for number in range(64):
        learner.observe(
            event(verdict="deny", code="PC3001", time=START + timedelta(seconds=number))
        )
    at = learner.profiles["eve-1"].last
    standing = learner.standing(learner.profiles["eve-1"])
    assert standing.score > Thresholds().high
    assert {one.kind for one in standing.reasons} == {Kind.BOUND}
    assert learner.level("eve-1", at) is RiskLevel.ELEVATED
    assert standing.phase not in ENFORCED


def test_one_agent_does_not_make_anything_usual_in_its_role():
    learner = made()
    for number in range(4):
        for name in ("query", "list"):
            learner.observe(event(principal=f"eve-{number}", name=name))
    learner.observe(event(principal="eve-0", name="drop"))
    learner.review_roles()
    role = learner._roles["eve"]
    assert role.has("tool", "db.query")
    assert not role.has("tool", "db.drop")
    learner.observe(event(principal="eve-1", name="drop"))
    learner.observe(event(principal="eve-2", name="drop"))
    learner.review_roles()
    assert learner._roles["eve"].has("tool", "db.drop")


@pytest.mark.parametrize(("risk", "less"), [("read", True), ("external", False)])
def test_a_value_new_to_a_whole_role_is_no_attack_unless_something_is_sent_there(risk, less):
    learner = made()
    names = [f"eve-{number}" for number in range(4)]

    def call(name, day, value, hour=9):
        when = START + timedelta(days=day, hours=hour)
        its = {"parameters": {"table": value}, "risk": risk, "session": f"{name} {day}"}
        learner.observe(event(principal=name, time=when, **its))

    for day in range(10):
        for name in names:
            for number in range(8):
                call(name, day, f"t{number % 3}", 8 + number)
    for name in names:
        learner.decided(name, Phase.RATIFIED, 1)
    for name in names:
        call(name, 10, "new")

    def weight(name):
        some = learner.profiles[name].episodes.values()
        return max(one.weight for one in some if one.kind is Kind.DESTINATION)

    first, last = weight(names[0]), weight(names[-1])
    assert (last < first / 2) == less
    learner.profiles[names[0]].episodes.clear()
    call(names[0], 11, "new")
    assert weight(names[0]) < 0.7 * first, "the second day"


def test_a_learner_that_starts_again_scores_the_same_events_the_same_way(quiet):
    agent, one = again(quiet, "analyst")
    _, two = again(quiet, "analyst")
    events = go_on(agent, 1, "new-table")
    half = len(events) // 2
    for each in events:
        one.observe(each)
    for each in events[:half]:
        two.observe(each)
    kept = msgspec.msgpack.encode(two.profiles[agent.name])
    three = made(profiles=[msgspec.msgpack.decode(kept, type=Profile)])
    for each in events[half:]:
        three.observe(each)
    assert three.standing(three.profiles[agent.name]) == one.standing(one.profiles[agent.name])


def test_a_human_takes_over_what_is_new_or_forgets_everything(quiet):
    agent, learner = again(quiet, "coder")
    events = go_on(agent, 1, "new-tool")
    levels(learner, events)
    learner.decided(agent.name, Phase.RATIFIED, 2)
    profile = learner.profiles[agent.name]
    assert profile.phase is Phase.LOCKED
    assert profile.score == 0
    learner.decided(agent.name, Phase.LEARNING, 3)
    profile = learner.profiles[agent.name]
    assert (profile.phase, profile.turn, profile.events, profile.facets) == (
        *(Phase.LEARNING, 3, 0),
        {},
    )
    learner.decided(agent.name, Phase.RATIFIED, 2)
    assert learner.profiles[agent.name].phase is Phase.LEARNING, "that was said before"
