"""Pressing tab in a real shell."""

import contextlib
import os
import stat
import subprocess
import sys
import time

import pytest

import waiting
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
