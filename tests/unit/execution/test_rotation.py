"""If these fail, a secret that leaked counts as rotated, or is told to whoever rotates it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import anyio
import pytest

from portcullis.core.incident import Access, Subject
from portcullis.execution.rotation import CommandHook, RotatingSecrets
from portcullis.execution.secrets import local_secrets

pytestmark = pytest.mark.anyio

OLD = "the-old-secret"
ROTATE = """
import os, pathlib, sys
reference = sys.argv[-1]
told = os.environ["PORTCULLIS_REFERENCE"]
path = pathlib.Path(reference.removeprefix("file:"))
said = {"argv": sys.argv[1:], "told": told, "names": sorted(os.environ), "cwd": os.getcwd()}
said["group"] = os.getpgrp() == os.getpid()
path.with_suffix(".said").write_text(repr(said))
print("the new secret is", "x" * 100_000)
path.write_text("the-new-secret-" + str(os.getpid()))
"""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "crm.key"
    path.write_text(OLD)
    path.chmod(0o600)
    return path


def rotating(secret: Path, program: str | None, seconds: float = 20.0, **options):
    reference = f"file:{secret}"
    hooks = {}
    if program is not None:
        script = secret.with_name("rotate.py")
        script.write_text(program)
        hooks = {"file": CommandHook((sys.executable, "-I", str(script), "--quiet"), seconds)}
    given = {
        "known": lambda subject, since: (),
        "anew": local_secrets(os.environ).anew,
        "hooks": hooks,
        "configured": (reference, "env:NOTHING"),
        "outdated": lambda name: "",
    }
    return RotatingSecrets(**{**given, **options}), reference


async def test_a_secret_is_rotated_and_seen_to_be_another(secret) -> None:
    work, reference = rotating(secret, ROTATE)
    done = await work.rotate(reference)
    assert (done.rotated, done.verified, done.fault) == (True, True, "")
    assert secret.read_text() != OLD


async def test_the_program_is_told_which_secret_and_nothing_else(secret, monkeypatch) -> None:
    monkeypatch.setenv("PORTCULLIS_TEST_SECRET", "not-for-others")
    work, reference = rotating(secret, ROTATE)
    assert (await work.rotate(reference)).verified
    said = secret.with_suffix(".said").read_text()
    assert OLD not in said
    assert "PORTCULLIS_TEST_SECRET" not in said
    found = eval(said)  # noqa: S307 - our own program wrote it
    assert found["argv"] == ["--quiet", reference]
    assert found["told"] == reference
    assert set(found["names"]) <= {"LANG", "LC_CTYPE", "PATH", "PORTCULLIS_REFERENCE"}
    assert found["cwd"] == "/"
    assert found["group"]


@pytest.mark.parametrize(
    ("program", "code", "rotated"),
    [
        ("pass", "PC7073", False),
        ("import sys; sys.exit(3)", "PC7071", False),
        ("import pathlib, sys; pathlib.Path(sys.argv[-1][5:]).unlink()", "PC7074", True),
    ],
    ids=["nothing", "fails", "removes"],
)
async def test_what_did_not_change_the_secret_did_not_rotate_it(
    secret, program, code, rotated
) -> None:
    work, reference = rotating(secret, program)
    done = await work.rotate(reference)
    assert (done.rotated, done.verified, done.fault) == (rotated, False, code)
    assert done.detail
    assert OLD not in done.detail


async def test_a_program_that_does_not_end_is_ended_with_all_that_it_started(secret) -> None:
    program = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "pathlib.Path(sys.argv[-1][5:]).with_suffix('.pid').write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    work, reference = rotating(secret, program, seconds=1.5)
    began = time.monotonic()
    done = await work.rotate(reference)
    assert done.fault == "PC7072"
    assert time.monotonic() - began < 10
    child = Path(f"/proc/{secret.with_suffix('.pid').read_text()}/stat")
    for _ in range(100):
        if _gone(child):
            break
        await anyio.sleep(0.02)
    else:
        pytest.fail("what it started goes on")


def _gone(process: Path) -> bool:
    try:
        return process.read_text().split()[2] == "Z"
    except OSError:
        return True


async def test_a_program_that_is_not_there_is_a_fault_and_no_crash(secret) -> None:
    hooks = {"file": CommandHook(("/no/such/program",), 5.0)}
    work, reference = rotating(secret, None, hooks=hooks)
    done = await work.rotate(reference)
    assert done.fault == "PC7071"
    assert "cannot be started" in done.detail


@pytest.mark.parametrize(
    "reference", ["env:NOTHING", "file:/etc/passwd", "nonsense", "file:", ""], ids=str
)
async def test_only_what_is_configured_and_has_a_hook_is_handed_on(secret, reference) -> None:
    work, _ = rotating(secret, ROTATE)
    done = await work.rotate(reference)
    assert (done.rotated, done.fault) == (False, "PC7070")
    assert not secret.with_suffix(".said").exists()


async def test_a_secret_that_could_not_be_read_before_has_nothing_to_be_compared_with(
    secret,
) -> None:
    secret.unlink()
    program = (
        "import os, sys\n"
        "f = os.open(sys.argv[-1][5:], os.O_CREAT | os.O_WRONLY, 0o600)\n"
        "os.write(f, b'another-secret')\n"
    )
    work, reference = rotating(secret, program)
    done = await work.rotate(reference)
    assert (done.rotated, done.verified, done.fault) == (True, False, "PC7074")


async def test_ones_own_credentials_are_worthless_or_it_is_said_why_not(secret) -> None:
    work, _ = rotating(secret, None, outdated=lambda name: "" if name == "shop" else "still good")
    assert (await work.rotate("identity:shop")).verified
    other = await work.rotate("identity:other")
    assert (other.rotated, other.fault, other.detail) == (False, "PC7073", "still good")


async def test_each_credential_says_whether_anything_rotates_it(secret) -> None:
    names = (f"file:{secret}", "env:CRM", "identity:shop")
    found = [
        Access(reference=one, source=one.partition(":")[0], upstream="crm", why="it called this")
        for one in names
    ]
    work, _ = rotating(secret, ROTATE, known=lambda subject, since: found)
    hooks = [one.hook for one in await work.access(Subject(agent="shop"), 0.0)]
    assert hooks == [True, False, True]
