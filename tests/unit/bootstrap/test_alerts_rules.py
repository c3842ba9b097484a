"""If these fail, a new rule needs a restart, or a typing error ends the watch."""

import os

import pytest

from portcullis.bootstrap.alerts_rules import Rules
from portcullis.core.errors import Problem
from portcullis.oversight.alerts.builtin import builtin

RULE = """\
version: 1
alerts:
  {name}:
    title: A rule
    level: {level}
    detection:
      it: {{type: tool_call, verdict: deny}}
    resolve: {{after: 5m}}
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "watch"
    made.mkdir()
    return made


def written(folder, name="own", level="low", file="own.yaml"):
    (folder / file).write_text(RULE.format(name=name, level=level), encoding="utf-8")


class Watched:
    def __init__(self, folder):
        self.said = []
        self.rules = Rules(folder, lambda said, problem: self.said.append((said, problem)))

    def looks(self, times=2):
        return [self.rules.look() for _ in range(times)]

    @property
    def own(self):
        there = {rule.name: rule for rule in builtin()}
        return {one.name: one for one in self.rules.rules if there.get(one.name) is not one}


def test_without_a_folder_there_are_the_built_in_ones_and_nothing_is_said():
    watched = Watched(None)
    assert watched.looks() == [False, False]
    assert watched.rules.rules == builtin()
    assert watched.said == []


def test_rules_are_read_again_once_they_are_steady_and_only_when_they_are_others(folder):
    written(folder)
    watched = Watched(folder)
    ((first, problem),) = watched.said
    assert problem is None
    assert (first["rules"], first["replaced"]) == (1, [])
    assert watched.looks(3) == [False] * 3
    written(folder, level="high")
    written(folder, name="cut-off", file="more.yaml")
    assert watched.looks(3) == [False, True, False]
    (again, _) = watched.said[-1]
    assert again["digest"] != first["digest"]
    assert again["replaced"] == ["cut-off"]
    own = watched.own
    assert own["own"].level == "high"
    assert own["cut-off"].kept  # as what it takes the place of
    assert (own["own"].quiet, own["cut-off"].quiet) == (300.0, 0.0)
    assert len(watched.said) == 2


def test_what_cannot_be_read_changes_nothing_and_is_said_once(folder):
    written(folder)
    watched = Watched(folder)
    before = watched.rules.rules
    written(folder, level="loud")
    assert watched.looks(4) == [False] * 4
    assert watched.rules.rules is before
    ((_, problem),) = watched.said[1:]
    assert problem.code == "PC7002"
    assert "own.yaml:5" in problem.detail
    (folder / "own.yml").touch()
    watched.looks()
    assert "own.yml" in watched.said[-1][1].detail
    (folder / "own.yml").unlink()
    os.mkfifo(folder / "pipe.yaml")  # nobody writes into it
    watched.looks()
    assert "pipe.yaml: not a file" in watched.said[-1][1].detail
    (folder / "pipe.yaml").unlink()
    written(folder, level="medium")
    assert watched.looks() == [False, True]


@pytest.mark.parametrize("name", ["kept-silenced", "rules-changed", "rules-refused"])
def test_the_rules_about_rules_stay_as_they_are(folder, name):
    written(folder, name=name)
    with pytest.raises(Problem, match="stays as it is"):
        Watched(folder)
