"""If these fail, a playbook leaves a step out, or nobody hears what is wrong with it."""

import pytest

from portcullis.core.errors import Problem
from portcullis.core.incident import ORDER, Step
from portcullis.oversight.alerts.builtin import builtin as rules
from portcullis.oversight.incidents_playbook import builtin, load, named, playbooks
from portcullis.policy.source import SourceFile

GOOD = """\
version: 1
playbook: own
title: One of our own
contain: quarantine
probation: {days: 3, factor: 0.25}
steps:
  contain:
    guidance: Call the desk.
    checklist:
      desk-told: The desk knows
  revoke: {}
  rotate: {}
  reaudit: {}
  reinstate: {}
"""


def read(text):
    return load((SourceFile("own.yaml", text),))["own"]


def test_a_playbook_says_what_to_think_of():
    one = read(GOOD)
    assert (one.name, one.containing, one.days, one.factor) == ("own", "quarantine", 3, 0.25)
    assert one.step(Step.CONTAIN).guidance == "Call the desk."
    assert one.step(Step.CONTAIN).checklist == {"contain.desk-told": "The desk knows"}


@pytest.mark.parametrize(
    ("was", "now", "line", "said"),
    [
        ("  revoke: {}\n", "", 7, "left out"),
        ("  revoke: {}\n  rotate: {}\n", "  rotate: {}\n  revoke: {}\n", 7, "another order"),
        ("  rotate: {}\n", "  rotate: {}\n  celebrate: {}\n", 13, "celebrate"),
        ("contain: quarantine", "contain: scold", 4, "kill or quarantine"),
        ("days: 3", "days: 0", 5, "days"),
        ("factor: 0.25", "factor: 0", 5, "factor"),
        ("factor: 0.25", "factor: 1.5", 5, "factor"),
        ("version: 1", "version: 2", 1, "version"),
        ("title: One of our own\n", "", 1, "title"),
        ("playbook: own", "playbook: Own One", 2, "playbook"),
        ("    guidance: Call", "    advice: Call", 8, "advice"),
        ("      desk-told: The desk knows", "      Desk told: yes it does", 10, "Desk told"),
        ("The desk knows", "[1]", 10, "string"),
        ("contain: quarantine", "contain: quarantine\ncontain: kill", 5, "twice"),
    ],
)
def test_every_fault_has_its_line(was, now, line, said):
    assert was in GOOD
    with pytest.raises(Problem) as found:
        read(GOOD.replace(was, now))
    assert found.value.code == "PC7002"
    assert f"own.yaml:{line}" in found.value.detail
    assert said in found.value.detail


def test_the_built_in_ones_have_all_steps_and_are_those_that_alerts_name():
    found = builtin()
    for one in found.values():
        assert [step.step for step in one.steps] == [step.value for step in ORDER]
        assert all(step.guidance for step in one.steps)
    assert {rule.playbook for rule in rules()} - {""} <= set(found)
    with pytest.raises(Problem, match="PC7066"):
        named(found, "none")


def test_ones_of_your_own_come_beside_them_or_in_their_place(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD.replace("playbook: own", "playbook: hostile-agent"))
    found = playbooks(tmp_path)
    assert set(found) == {*builtin(), "own"}
    assert found["hostile-agent"].title == "One of our own"
    (tmp_path / "c.yaml").write_text(GOOD)
    with pytest.raises(Problem, match="another file"):
        playbooks(tmp_path)
