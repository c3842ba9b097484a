import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from portcullis import cli
from portcullis.bench.report import machine, report, target
from portcullis.cli import sandbox_probe
from portcullis.core.sandbox import STRICT, Ability, Ended, Ending
from portcullis.redteam import attempts, escape
from portcullis.redteam.attempts import __main__ as program
from portcullis.redteam.attempts.kit import MADE, Attempt, Plan

FOLDER = Path(attempts.__file__).parent.parent
PLAN = json.dumps({"nonce": "n" * 32, "pidns": "pid:[1]", "only": ["files.read_shadow"]})


def run(environ, **whose):
    return subprocess.run(
        [
            sys.executable,
            "-B",
            "-c",
            "from attempts.__main__ import main; raise SystemExit(main())",
        ],
        env={"PYTHONPATH": str(FOLDER), **environ},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        **whose,
    )


@pytest.mark.parametrize("plan", ["", PLAN], ids=["bare", "planned"])
def test_the_attempts_run_nowhere_but_in_a_box(plan):
    done = run({"PORTCULLIS_PROBE": plan})
    assert done.returncode == 3
    assert done.stdout == ""
    assert "run in a box only" in done.stderr


@pytest.mark.parametrize(
    ("uid", "plan", "marker", "namespace", "why"),
    [
        (0, PLAN, "n" * 32, "pid:[2]", "it is root"),
        (65534, "", "n" * 32, "pid:[2]", "it has no plan"),
        (65534, "{", "n" * 32, "pid:[2]", "it has no marker"),
        (65534, PLAN, None, "pid:[2]", "it has no marker"),
        (65534, PLAN, "other", "pid:[2]", "its marker is another's"),
        (65534, PLAN.replace("n" * 32, ""), "", "pid:[2]", "its marker is another's"),
        (65534, PLAN, "n" * 32, "pid:[1]", "it is in the machine's process namespace"),
        (65534, PLAN, "n" * 32, "pid:[4026531836]", "it is in the machine's process namespace"),
        (65534, json.dumps({"nonce": "n" * 32}), "n" * 32, "pid:[2]",
         "it is in the machine's process namespace"),
        (65534, PLAN, "n" * 32, "pid:[2]", None),
    ],
)  # fmt: skip
def test_each_sign_of_a_box_is_needed(monkeypatch, tmp_path, uid, plan, marker, namespace, why):
    if marker is not None:
        (tmp_path / "marker").write_text(marker)
    monkeypatch.setattr(program, "MARKER", tmp_path / "marker")
    for name, value in (("getuid", uid), ("geteuid", uid)):
        monkeypatch.setattr(program.os, name, lambda value=value: value)
    monkeypatch.setattr(program.os, "readlink", lambda _: namespace)
    assert program.outside(plan) == why


KINDS = """
import os, signal, time, errno, json
from portcullis.redteam.attempts.kit import Attempt, Plan, carry_out

def raises(code):
    def run(plan):
        raise OSError(code, "x")
    return run

def dies(number):
    def run(plan):
        os.kill(os.getpid(), number)
        time.sleep(5)
    return run

def bomb(plan):
    os.fork()
    time.sleep(30)

for name, run, how in (
    ("refused", raises(errno.EPERM), {}),
    ("malformed", raises(errno.EINVAL), {}),
    ("absent", lambda plan: None, {}),
    ("reached", lambda plan: "it", {}),
    ("broken", lambda plan: 1 / 0, {}),
    ("filtered", dies(signal.SIGSYS), {}),
    ("crashed", dies(signal.SIGSEGV), {}),
    ("killed", dies(signal.SIGKILL), {}),
    ("killed_alone", dies(signal.SIGKILL), {"alone": True}),
    ("hangs", bomb, {"seconds": 0.3}),
):
    result = carry_out(Attempt(f"files.{name}", "x", run, **how), Plan(nonce="n"))
    print(json.dumps([name, result.stopped, result.how]))
"""


def test_only_what_was_refused_counts_as_stopped_and_never_what_failed_by_itself():
    done = subprocess.run(
        [sys.executable, "-c", KINDS], capture_output=True, text=True, timeout=30, check=True
    )
    found = {
        name: (stopped, how) for name, stopped, how in map(json.loads, done.stdout.split("\n")[:-1])
    }
    assert {name for name, (stopped, _) in found.items() if stopped} == {
        "refused", "absent", "filtered", "killed_alone",
    }  # fmt: skip
    assert found["refused"] == (True, "EPERM")
    assert found["malformed"] == (False, "unclear: EINVAL")
    assert found["reached"] == (False, "it")
    assert found["broken"][1].startswith("unclear: ZeroDivisionError")
    assert found["crashed"][1] == "unclear: ended by signal 11"
    assert found["hangs"][1].startswith("unclear")


def test_the_plan_has_the_canary_backwards_and_ignores_what_it_does_not_know():
    plan = Plan.read(json.dumps({"nonce": "n", "canary": "cba", "files": 3, "new": 1}))
    assert (plan.canary, plan.files) == ("abc", 3)


def one(**how):
    return Attempt("exhaustion.memory", "take memory", lambda _: None, **how)


@pytest.mark.parametrize(
    ("alone", "why", "stopped"),
    [
        (True, Ending.MEMORY, True),
        (True, Ending.EXITED, False),
        (True, Ending.DEADLINE, False),
        (False, Ending.MEMORY, False),
    ],
)
def test_silence_is_only_believed_of_a_box_that_was_killed_with_its_one_attempt(
    tmp_path, alone, why, stopped
):
    stage = escape.Stage(tmp_path)
    ended = Ended(why=why, status=137)
    assert escape._judged(one(alone=alone), None, stage, ended=ended).stopped is stopped


def test_a_process_that_outlives_its_box_is_found_by_its_environment(tmp_path):
    stage = escape.Stage(tmp_path)
    each = Attempt("processes.outlive", "outlive", lambda _: None, alone=True)
    said = escape.Found(id=each.name, group=each.group, tries="", stopped=False, how=MADE)
    assert escape._judged(each, said, stage).stopped
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(30)"], env=dict(stage.environ())
    ) as left:
        try:
            found = escape._judged(each, said, stage)
        finally:
            left.kill()
    assert not found.stopped
    assert found.how == f"process {left.pid} is left"


def test_a_collector_that_was_taken_in_by_a_trap_is_seen(tmp_path, monkeypatch):
    stage = escape.Stage(tmp_path)
    (tmp_path / "canary").write_text(stage.canary)
    stage.planted["file"] = str(tmp_path / "canary")
    stage.out.mkdir()
    (stage.out / "link_absolute").symlink_to(tmp_path / "canary")
    (stage.out / "setuid").write_text("#!/bin/sh\n")
    (stage.out / "setuid").chmod(0o4755)
    traps = ["link_absolute", "setuid", "fifo"]
    careful = escape._collected(stage, traps)
    assert careful == {"setuid": "a program that runs as its owner was left"}

    def naive(directory, names, bounds):
        del directory, bounds
        paths = [stage.out / name for name in names or ["link_absolute"]]
        return escape.Taken(files={p.name: p.read_bytes() for p in paths if p.exists()}, left={})

    monkeypatch.setattr(escape, "take", naive)
    assert escape._collected(stage, traps)["link_absolute"] == (
        "it led to what was planted outside"
    )


def test_the_documented_figures_are_of_these_attempts_and_no_others():
    page = Path(__file__).parents[3] / "docs" / "sandbox-escape.md"
    assert escape.digest() in page.read_text()


def test_there_are_as_many_attempts_as_promised_and_none_is_named_twice():
    inside, through = escape.attempts(), escape.attempts(escape.THROUGH_GATE)
    assert len(inside) > 300
    assert len(through) > 140
    names = Counter(each.name for each in (*inside, *through))
    assert set(names.values()) == {1}
    assert all(each.tries for each in (*inside, *through))


def results(*, stopped):
    kept = {"group": "files", "tries": "read\x1b[2J", "how": "EACCES"}
    return (
        escape.Found(id="files.one", stopped=True, **kept),
        escape.Found(id="files.two", stopped=stopped, **kept),
    )


class _Here:
    name = "bubblewrap"

    def probe(self):
        return Ability(adapter=self.name, version="1", enforces=frozenset(STRICT), lacking={})


@pytest.mark.parametrize("stopped", [True, False])
def test_the_command_says_what_got_through_and_exits_with_five(monkeypatch, stopped):
    async def measured(sandboxes, profile, say):
        found = {one.name: results(stopped=stopped) for one in sandboxes}
        figures = escape.figures_of("bubblewrap", found["bubblewrap"])
        targets = {"bubblewrap_through": target(figures, "bubblewrap_through", "<=", 0)}
        return report(escape.COMMAND, machine(), figures, targets), found

    monkeypatch.setattr(sandbox_probe, "measure_escape", measured)
    monkeypatch.setattr(sandbox_probe, "adapters", lambda: ("bubblewrap",))
    monkeypatch.setattr(sandbox_probe, "adapter_of", lambda *_: _Here())
    runner = CliRunner()
    said = runner.invoke(cli._app("sandbox"), ["sandbox", "probe"])
    assert said.exit_code == (0 if stopped else 5)
    assert ("bubblewrap files.two: NOT STOPPED: read?[2J" in said.stdout) is not stopped
    assert escape.digest() in said.stdout
    document = runner.invoke(cli._app("sandbox"), ["sandbox", "probe", "--json"])
    assert document.exit_code == said.exit_code
    read = json.loads(document.stdout)
    assert read["command"] == "sandbox probe"
    assert read["figures"]["bubblewrap_files_attempts"] == 2
    assert read["targets"]["bubblewrap_through"]["met"] is stopped


def test_the_command_tries_what_is_configured_and_all_of_them_when_it_is_asked(
    monkeypatch, tmp_path
):
    tried = []

    async def measured(sandboxes, profile, say):
        tried.append([one.name for one in sandboxes])
        return report(escape.COMMAND, machine(), {}, {}), {}

    def made(name, *_):
        found = _Here()
        found.name = name
        return found

    monkeypatch.setattr(sandbox_probe, "measure_escape", measured)
    monkeypatch.setattr(sandbox_probe, "adapters", lambda: ("bubblewrap", "runc"))
    monkeypatch.setattr(sandbox_probe, "adapter_of", made)
    monkeypatch.chdir(tmp_path)
    runner, app = CliRunner(), cli._app("sandbox")
    for words in ([], ["--adapter", "all"], ["--adapter", "runc"]):
        assert runner.invoke(app, ["sandbox", "probe", *words]).exit_code == 0
    assert tried == [["bubblewrap"], ["bubblewrap", "runc"], ["runc"]]
