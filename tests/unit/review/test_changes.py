"""If these fail, who reads a release does not see what it gives, takes away, or stands on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.policy.source import SourceFile
from portcullis.review import changes_apart
from portcullis.review.changes import MOST_LINES, changes
from portcullis.review.changes_apart import Done, Job, answer, done, encoded

TEXT = """\
version: 1
agents:
  shop-1: {role: support, owner: shop}
  shop-2: {role: support, owner: shop}
  old-1: {role: archive, owner: shop}
roles:
  support: {allowed_tools: [crm.note, crm.export]}
  archive: {allowed_tools: [crm.note]}
tools:
  crm.note: {risk: modify, data: none}
  crm.export: {risk: external, data: none}
  crm.purge: {risk: delete, data: none}
"""
MINED = """\
# Mined for shop-2 from 4 calls, 2030-01-01 to 2030-01-02.
# Not learned from: 0 refused, 1 failed, 2 of attacked sessions.
version: 1
roles:
  mined-shop-2:
    allowed_tools:
      - {"tool":"crm.note","until":"2030-04-02","reason":"mined: 4 calls in 2 sessions"}
"""
START = datetime(2030, 1, 1, tzinfo=UTC)


def files(text, **more):
    named = {"policy/main.yaml": text} | {f"policy/{name}.yaml": one for name, one in more.items()}
    return tuple(SourceFile(name, one) for name, one in sorted(named.items()))


def test_agents_that_change_alike_stand_together_and_those_that_may_more_come_first():
    new = TEXT.replace("crm.note, crm.export", "crm.note, crm.purge").replace(
        "  old-1: {role: archive, owner: shop}\n", ""
    )
    found = changes(files(TEXT), files(new))
    both, gone = found.agents
    assert both.agents == ("shop-1", "shop-2")
    assert "tool crm.purge" in both.gained
    assert both.lost == ("tool crm.export",)
    assert gone.agents == ("old-1",)
    assert (gone.gained, gone.lost[0]) == ((), "the agent is gone")
    assert found.wider == ("shop-1", "shop-2")
    back = changes(files(new), files(TEXT))
    assert back.agents[0].gained[0] == "the agent is new"


def test_lines_that_differ_have_their_numbers_in_either_text():
    new = TEXT.replace("  archive: {allowed_tools: [crm.note]}\n", "  archive: {}\n  spare: {}\n")
    (text,) = changes(files(TEXT), files(new)).texts
    (block,) = text.blocks
    assert text.file == "main.yaml"
    assert [(one.sign, one.before, one.after) for one in block if one.sign] == [
        ("-", 8, 0),
        ("+", 0, 8),
        ("+", 0, 9),
    ]
    assert (block[-1].before, block[-1].after) == (11, 12)


def test_a_very_long_change_is_cut_and_that_is_said():
    long = TEXT + "".join(f"# {number}\n" for number in range(2 * MOST_LINES))
    found = changes(files(TEXT), files(long))
    assert found.cut
    assert sum(len(block) for one in found.texts for block in one.blocks) == MOST_LINES
    assert found.agents == ()


def test_a_mined_role_is_shown_with_its_evidence_until_it_is_in_force():
    new = TEXT.replace("shop-2: {role: support", "shop-2: {role: mined-shop-2")
    (role,) = changes(files(TEXT), files(new, mined=MINED)).mined
    assert (role.role, role.agents) == ("mined-shop-2", ("shop-2",))
    assert "2 of attacked sessions" in role.head
    (grant,) = role.grants
    assert (grant.value, grant.evidence) == ("crm.note", "4 calls in 2 sessions")
    assert grant.terms == "until 2030-04-02"
    later = files(new + "# more\n", mined=MINED)
    assert changes(files(new, mined=MINED), later).mined == ()


def calls(count):
    for number in range(count):
        yield Event(
            v=1,
            id=f"{number:032x}",
            time=START + timedelta(seconds=number),
            type=EventType.TOOL_CALL,
            gateway="example.org/gate",
            principal_kind="agent",
            principal="shop-1",
            action="tool",
            server="crm",
            name="export" if number % 3 else "note",
            verdict="allow",
            risk="external",
        )


def test_a_replay_says_which_decisions_would_change_and_where_the_time_was_up(monkeypatch):
    monkeypatch.setattr(changes_apart, "events", lambda places, since: calls(30))
    new = TEXT.replace("crm.note, crm.export", "crm.note")
    job = Job(old=files(TEXT), new=files(new), logs=("log",))
    told = done(job).replayed
    assert (told.summary.decisions, told.summary.changed, told.stopped) == (30, 20, None)
    (group,) = told.summary.groups
    assert (group.target, group.count, told.more) == ("crm.export", 20, 0)
    late = Job(old=files(TEXT), new=files(new), logs=("log",), seconds=-1.0)
    stopped = done(late).replayed
    assert (stopped.summary.decisions, stopped.stopped) == (0, START)
    other = Job(old=files(TEXT), new=files(new), logs=("log",), agents=frozenset({"shop-2"}))
    assert done(other).replayed.summary.decisions == 0


def test_what_the_process_does_not_say_is_a_fault_and_what_is_wrong_is_its_problem():
    with pytest.raises(Problem, match="PC9002"):
        answer(b"")
    with pytest.raises(Problem, match="PC7002"):
        answer(encoded(Done(code="PC7002", detail="policy/main.yaml:1:1: no")))
    with pytest.raises(Problem, match="PC7002"):
        done(Job(old=files("version: 9\n"), new=files(TEXT)))
