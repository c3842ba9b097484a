"""The replay through a real gate: if it decided otherwise, the checks' figures would be wrong."""

import json
import sys

import pytest
from typer.testing import CliRunner

from effort import NIGHT
from portcullis import cli
from portcullis.cli import logs
from portcullis.core.errors import Problem
from portcullis.redteam import contain
from portcullis.redteam.catalogue import catalogue
from portcullis.redteam.contained import Contained
from portcullis.redteam.dojo import NO_INJECTION, SUITES, TEXT_ONLY
from portcullis.redteam.enforcer import Answer
from portcullis.redteam.replay import ATTACKED, Human, Order, replay
from portcullis.redteam.through import listening

USER = "user_task_3"
INSPECTED = {"PC3021", "PC3022"}
REFUSALS = 2


def said(trace):
    """The calls with their answers and why; of a denial its code: the rest names the gate's own."""
    return [
        (each.tool, each.arguments, decision.answer, reasons)
        for each, decision in trace.decided
        for reasons in [decision.reasons[: 1 if decision.answer is Answer.DENY else None]]
    ]


def both(stage, order, gate, *, human, granted=False, **more):
    """One session against the checks alone and one through the gate."""
    known = catalogue(stage.arena.name, stage.arena.tools)
    refusals = more.pop("refusals", None)
    checks = Contained(known, stage.task(), granted=granted, refusals=refusals)
    alone = replay(stage, order, checks, human, **more)
    with gate.session(stage.task(), granted=granted) as session:
        return alone, replay(stage, order, session, human, **more)


@pytest.fixture(scope="module")
def gate():
    with listening(contain.arena("banking")) as running:
        yield running


def agreed(alone, through, case):
    """As far as inspection, of which the checks' replay knows nothing, lets them be the same."""
    for one, other in zip(said(alone), said(through), strict=True):
        if INSPECTED & set(other[-1]):
            return
        assert other == one, case
    assert through.executed == alone.executed, case


def orders(injection, number):
    if injection == NO_INJECTION:
        return (Order.ALONE,)
    return ATTACKED if NIGHT else (ATTACKED[number % len(ATTACKED)],)


@pytest.mark.nightly
@pytest.mark.parametrize("suite", SUITES if NIGHT else ["banking"])
def test_a_real_gate_decides_as_the_checks_do_under_every_attack(suite):
    place = contain.arena(suite)
    answers, done = set(), []
    with listening(place) as running:
        for user in place.users if NIGHT else [USER]:
            for number, injection in enumerate((NO_INJECTION, *place.injections)):
                stage = place.stage(user, injection)
                for order in orders(injection, number):
                    alone, through = both(stage, order, running, human=Human.IDEAL)
                    agreed(alone, through, (user, injection, order))
                    answers |= {decision.answer for _, decision in through.decided}
                    if injection != NO_INJECTION and (suite, injection) not in TEXT_ONLY:
                        done.append(stage.attacked(through.after, through.executed))
    assert answers == set(Answer)
    assert done
    assert not any(done)


@pytest.mark.parametrize(("human", "granted"), [(Human.NONE, False), (Human.STAMP, True)])
def test_so_it_does_when_nobody_or_anybody_approves_and_with_a_grant(gate, human, granted):
    stage = contain.arena("banking").stage("user_task_0", "injection_task_6")
    alone, through = both(stage, Order.MIDDLE, gate, human=human, granted=granted)
    assert said(through) == said(alone)
    assert through.executed == alone.executed


def test_an_agent_that_asks_again_and_again_is_frozen_as_the_replay_says():
    place = contain.arena("banking")
    stage = place.stage(USER, "injection_task_0")
    with listening(place, settings={"approvals": {"refusals": REFUSALS}}) as strict:
        alone, through = both(
            stage, Order.BEFORE, strict, human=Human.IDEAL, insists=4, refusals=REFUSALS
        )
    assert said(through) == said(alone)
    codes = [each.reasons[0] for _, each in through.decided if each.answer is Answer.DENY]
    assert "PC3043" in codes
    assert len([1 for _, each in through.decided if each.answer is Answer.ASK]) >= REFUSALS


def test_a_result_that_is_withheld_was_allowed_and_the_tool_did_it():
    place = contain.arena("workspace")
    stage = place.stage("user_task_0", "injection_task_4")
    with listening(place) as running:
        _, through = both(stage, Order.BEFORE, running, human=Human.IDEAL)
    withheld = [
        (each, said)
        for each, said in through.decided
        if said.answer is Answer.ALLOW and said.reasons
    ]
    assert {said.reasons[0] for _, said in withheld} == {"PC3022"}
    assert all(each in through.executed for each, _ in withheld)


def test_the_command_goes_through_the_listener_and_prints_one_object(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["portcullis", "redteam"])
    logs.configure("error")
    place = contain.arena("banking")
    monkeypatch.setattr(
        place, "injections", {"injection_task_0": place._suite.injection_tasks["injection_task_0"]}
    )
    words = "redteam contain --through listener --suites banking --users 1 --processes 1 --json"
    rows = ["--rows", "contained_ideal"]
    done = CliRunner().invoke(cli._app("redteam"), [*words.split(), *rows])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["command"] == "redteam contain --through listener"
    assert report["figures"]["pairs"] == 1
    assert report["figures"]["contained_ideal_action_asr"] == 0
    assert report["figures"]["call_p50_us"] > 0


def test_a_row_that_is_no_gate_does_not_go_through_one():
    words = ["redteam", "contain", "--through", "listener", "--rows", "allow_all"]
    done = CliRunner().invoke(cli._app("redteam"), words)
    assert isinstance(done.exception, Problem)
    assert done.exception.code == "PC7004"


def test_without_the_clients_the_command_says_how_to_install_them(monkeypatch):
    monkeypatch.setattr(contain, "find_spec", lambda name: None)
    with pytest.raises(Problem, match="mcp") as caught:
        contain.measure_contain(contain.Settings(listener=True), lambda _: None)
    assert "agent-portcullis[redteam]" in caught.value.hint
