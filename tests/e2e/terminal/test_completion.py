"""Pressing tab in a real shell."""

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import time

import pytest

import waiting
from portcullis.cli.completion import answers
from portcullis.core.lifecycle import State
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.store.directory import SqlDirectory
from portcullis.store.engine import open_sqlite

BASH = r"""
set -euo pipefail
source <(portcullis completion bash)
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_portcullis "$1"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def pressed(tmp_path, cache):
    """What a bash that has loaded the script completes; the last word is unfinished."""
    program = tmp_path / "bin" / "portcullis"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom portcullis.cli import main\nmain()\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    environ = os.environ | {"PATH": path, "XDG_CACHE_HOME": str(cache)}

    def press(*words):
        command = ["bash", "--norc", "-c", BASH, "bash", "portcullis", *words]
        done = subprocess.run(
            command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout.split()

    return press


def test_bash_completes_commands_options_codes_and_names(pressed, tmp_path):
    desk = waiting.deployed(tmp_path)
    with contextlib.closing(desk):
        desk.ask("a1")
        engine = open_sqlite(desk.config.state / "portcullis.db")
        SqlDirectory(engine).create(
            PrincipalRecord(
                kind=PrincipalKind.AGENT,
                id="shop-1",
                owner="shop",
                state=State.ACTIVE,
                roles=(),
                created_at=time.time(),
            )
        )
        engine.dispose()
        assert pressed("expl") == ["explain"]
        assert pressed("explain", "PC304")[:2] == ["PC3040", "PC3041"]
        assert pressed("approval", "w") == ["watch"]
        assert pressed("approval", "approve", "") == ["a1"]
        assert pressed("agent", "show", "sh") == ["shop-1"]
        assert pressed("agent", "show", "-c", "elsewhere.yaml", "sh") == []


def test_nothing_that_a_shell_would_act_on_is_offered(pressed, tmp_path):
    desk = waiting.deployed(tmp_path)
    with contextlib.closing(desk):
        desk.ask("$(touch pwned)")
        desk.ask("fine")
        assert pressed("approval", "show", "") == ["fine"]
    assert not (tmp_path / "pwned").exists()


def test_pressing_tab_waits_for_no_library_once_a_command_is_known(pressed):
    for _ in range(2):
        assert pressed("approval", "deny", "--re") == ["--reason"]
    program = "import sys, os; os.environ['_PORTCULLIS_COMPLETE'] = '1'; from portcullis import cli"
    program += "; cli.main(); print(sorted({n.split('.')[0] for n in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program, "ap"], capture_output=True, text=True, check=True
    )
    for slow in ("pydantic", "sqlalchemy", "fastapi", "structlog", "rich", "cryptography"):
        assert f"'{slow}'" not in done.stdout


def test_a_hostile_folder_neither_hangs_a_shell_nor_writes_into_it(pressed, tmp_path):
    pressed("approval", "show", "--js")  # what the command takes is known
    file, place = tmp_path / "portcullis.yaml", tmp_path / "st" / "portcullis.db"
    place.parent.mkdir()
    file.write_text("state: st\n")
    with contextlib.closing(sqlite3.connect(place)) as database:
        database.execute(
            "CREATE VIEW approvals AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM"
            " n) SELECT i AS id, i AS agent, 'x' AS state FROM n"
        )
        database.execute("CREATE TABLE principals (id, kind)")
        database.execute("INSERT INTO principals VALUES ('shop-1', 'agent')")
        database.commit()
    began = time.monotonic()
    assert pressed("approval", "show", "") == []
    assert pressed("agent", "show", "") == ["shop-1"]
    merges = "".join(
        f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
    )
    file.write_text(f"m0: &m0 {{a: b}}\n{merges}state: st\n")
    assert pressed("agent", "show", "") == ["shop-1"]
    file.write_text("state: st\n" + "#" * 70_000)
    assert pressed("agent", "show", "") == []
    file.unlink()
    os.mkfifo(file)
    assert pressed("agent", "show", "") == []
    assert time.monotonic() - began < 15


def test_what_a_database_says_of_a_name_does_not_reach_the_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    desk = waiting.deployed(tmp_path)
    with contextlib.closing(desk):
        desk.ask("a1", agent="\x1b]0;pwn\x07sh\u202eop\n", call={"prompts": ("x" * 500_000,)})
        assert answers(["approval", "show", ""], {"approval": ""}) == [("a1", "]0;pwn sh op")]
