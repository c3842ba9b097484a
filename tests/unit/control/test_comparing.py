"""If these fail, a page of the console keeps the gate busy, or compares other texts than asked."""

import asyncio
import sys
import time
from types import SimpleNamespace

import pytest

from portcullis.control import comparing
from portcullis.control.comparing import Comparing
from portcullis.core.errors import Problem
from portcullis.core.release import File, text_digest
from portcullis.policy.source import SourceFile
from portcullis.review.changes_apart import LARGE, Job

pytestmark = pytest.mark.anyio

OLD = """\
version: 1
agents: {shop-1: {role: support, owner: shop}}
roles: {support: {allowed_tools: [crm.note]}}
tools:
  crm.note: {risk: modify, data: none}
  crm.export: {risk: external, data: none}
"""
NEW = OLD.replace("[crm.note]", "[crm.note, crm.export]")
SLOW = "import sys, time; sys.stdin.buffer.read(); time.sleep(60)"


class Releases:
    """The texts of releases, by number; how often one was read."""

    def __init__(self, *texts):
        self.texts = [(File(name="policy/main.yaml", text=text),) for text in texts]
        self.read = 0

    async def files(self, number):
        self.read += 1
        return self.texts[number - 1]

    def __getitem__(self, number):
        return SimpleNamespace(number=number, text=text_digest(self.texts[number - 1]))


def made(releases, *logs):
    return Comparing(releases, "production", lambda: logs)


async def test_a_comparison_is_made_once_and_a_large_one_in_a_process_says_the_same():
    padding = "# a line\n" * (LARGE // 9)
    releases = Releases(OLD, NEW, OLD + padding, NEW + padding)
    service = made(releases)
    small = await service.changes(releases[1], releases[2])
    assert await service.changes(releases[1], releases[2]) is small
    assert releases.read == 2
    large = await service.changes(releases[3], releases[4])
    assert large.agents == small.agents
    assert large.wider == ("shop-1",)
    assert "tool crm.export" in large.agents[0].gained


def test_many_short_lines_are_compared_apart_too():
    lines = tuple(SourceFile("policy/a.yaml", "#\n" * n) for n in (1100, 10))
    assert Job(old=lines[:1], new=lines[1:]).size >= LARGE
    assert Job(old=lines[1:], new=lines[1:]).size < LARGE


async def test_who_asks_for_a_long_comparison_is_told_to_come_back_and_then_finds_it(monkeypatch):
    monkeypatch.setattr(comparing, "_PATIENCE", 0.05)
    padding = "# a line\n" * (LARGE // 9)
    releases = Releases(OLD + padding, NEW + padding)
    service = made(releases)
    with pytest.raises(Problem, match="still being compared"):
        await service.changes(releases[1], releases[2])
    monkeypatch.setattr(comparing, "_PATIENCE", 60.0)
    assert (await service.changes(releases[1], releases[2])).wider == ("shop-1",)
    assert releases.read == 2  # it was made once


async def test_a_replay_that_takes_too_long_is_ended_and_no_second_one_runs_beside(monkeypatch):
    monkeypatch.setattr(comparing, "argv", lambda: (sys.executable, "-c", SLOW))
    monkeypatch.setattr(comparing, "_MOST_SECONDS", 0.5)
    releases = Releases(OLD, NEW)
    service = made(releases, "log")
    asked = (releases[1], releases[2], None, frozenset())
    began = time.monotonic()
    first = asyncio.create_task(service.replay(*asked))
    await asyncio.sleep(0)
    with pytest.raises(Problem, match="PC3056"):
        await service.replay(*asked)
    with pytest.raises(Problem, match="PC9002"):
        await first
    assert time.monotonic() - began < 50
    with pytest.raises(Problem, match="PC7005"):
        await made(releases).replay(*asked)


async def test_a_replay_over_a_log_that_is_none_says_so(tmp_path):
    releases = Releases(OLD, NEW)
    with pytest.raises(Problem, match="PC7005"):
        await made(releases, str(tmp_path)).replay(releases[1], releases[2], None, frozenset())
