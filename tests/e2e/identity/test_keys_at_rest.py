"""If these fail, a backup of the state directory gives secrets away, or a rotation loses them."""

import asyncio
import base64
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from typer.testing import CliRunner

from needles import contents
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier, verify
from portcullis.bootstrap import GATE, audit_directory, founded, keys_of
from portcullis.cli.keys import app
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind, Session
from portcullis.identity.keymanager import sealed_files
from portcullis.identity.keys import issuer_key
from portcullis.identity.private import write_private
from portcullis.identity.sealing import Envelope
from standins import staged

PROMPT = "Please look up the order of Marguerite Duras"
PASSPHRASE = {"kind": "passphrase", "passphrase": "env:PORTCULLIS_PASSPHRASE"}


@pytest.fixture(autouse=True)
def passphrase(monkeypatch):
    monkeypatch.setenv("PORTCULLIS_PASSPHRASE", "correct horse battery staple")


def configured(folder: Path, keys: str = "kind: file", name: str = "portcullis.yaml") -> Path:
    path = folder / name
    path.write_text(f"trust_domain: example.org\nkeys: {{{keys}}}\n")
    return path


def opened(path: Path, **fields):
    """Open everything, as a gate that starts would; closed again at once."""
    config = load(path)
    with contextlib.ExitStack() as stack:
        services = founded(stack, config, GATE)
        for number in range(fields.pop("sessions", 0)):
            asyncio.run(services.sessions.open(session(f"s{number}")))
        issuer = issuer_key(config.state / "keys", services.sealer)
        raw = issuer.private_bytes_raw()
        found = [asyncio.run(services.sessions.get(f"s{number}")) for number in range(3)]
    return raw, found


def session(name: str) -> Session:
    return Session(
        id=name,
        agent="a",
        application="web",
        user="u",
        prompt=PROMPT,
        subject={},
        grant=None,
        opened_at=time.time(),
        expires_at=time.time() + 3600,
    )


def run(*words: str, path: Path):
    done = CliRunner().invoke(app, [*words, "--config", str(path), "--json"])
    if isinstance(done.exception, Problem):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def events(path: Path, method: str):
    log = audit_directory(load(path))
    assert verify(log, own_verifier(log)).ok
    return [each.event for each in records(log, own_verifier(log)) if each.event.method == method]


def found_in(folder: Path, needles: dict[str, bytes]) -> list[str]:
    return [
        f"{name} in {path.relative_to(folder)}"
        for path, held in sorted(contents(folder).items())
        for name, needle in needles.items()
        if needle in held
    ]


@pytest.mark.anyio
async def test_after_a_gate_ran_no_key_and_no_prompt_lies_in_the_clear(tmp_path):
    async with staged(tmp_path, settings={"keys": PASSPHRASE}) as stage:
        application = await stage.register(PrincipalKind.APPLICATION, "web")
        await stage.register(PrincipalKind.AGENT, "helper")
        await stage.open_session(application, "helper", subject={}, prompt=PROMPT)
        state = load(stage.config).state
        sealer = stage.gate.services.sealer
        needles = {"prompt": PROMPT.encode(), "prompt, folded": b"Marguerite"}
        for name, plain in plaintexts(state, sealer).items():
            needles |= key_material(name, plain)
        assert len(needles) > 8
        assert found_in(state, needles) == []
    assert found_in(state, needles) == []
    assert found_in(state, {"PEM": b"PRIVATE KEY", "signer": b"PRIVATE+KEY"}) == []


def plaintexts(state: Path, sealer) -> dict[str, bytes]:
    """What the sealed files hold, by any purpose that opens them."""
    found = {}
    for path, content in sealed_files(state).items():
        near = f"{path.parent.name}/{path.name}"
        for purpose in ("file:issuer", "file:kill", f"file:{near}"):
            with contextlib.suppress(Problem):
                found[near] = sealer.open(content, purpose)
    assert len(found) == len(sealed_files(state))
    return found


def key_material(name: str, plain: bytes) -> dict[str, bytes]:
    """The key as it is stored, as text and as the bytes that matter."""
    needles = {name: plain.strip()}
    if name.endswith("subjects.key"):
        needles[f"{name}, raw"] = bytes.fromhex(plain.decode())
    if name.endswith("log.key"):  # PRIVATE+KEY+name+hash+base64(0x01 || seed)
        needles[f"{name}, raw"] = base64.b64decode(plain.split(b"+", 4)[4])[1:]
    load_key = (
        serialization.load_pem_private_key
        if b"BEGIN" in plain
        else serialization.load_der_private_key
    )
    with contextlib.suppress(ValueError):
        numbers = load_key(plain, None)
        raw = (
            numbers.private_bytes_raw()
            if hasattr(numbers, "private_bytes_raw")
            else numbers.private_numbers().private_value.to_bytes(32)
        )
        needles[f"{name}, raw"] = raw
    return needles


@pytest.mark.anyio
async def test_while_a_gate_runs_its_keys_are_not_changed(tmp_path):
    async with staged(tmp_path) as stage:
        before = {path: path.read_bytes() for path in sealed_files(load(stage.config).state)}
        with pytest.raises(Problem, match="PC6003"):
            await asyncio.to_thread(run, "rotate", path=stage.config)
        status = await asyncio.to_thread(run, "status", path=stage.config)
        assert (status["version"][:7], status["older_files"]) == ("file:1-", 0)
        assert {path: path.read_bytes() for path in before} == before


def test_a_rotation_leaves_nothing_under_the_old_version_and_is_recorded(tmp_path):
    path = configured(tmp_path)
    raw, _ = opened(path, sessions=3)
    before = run("status", path=path)
    assert (before["older_files"], before["older_values"], before["values"]) == (0, 0, 3)
    keys_of(load(path)).rotate()
    between = run("status", path=path)
    assert between["older_files"] == between["files"] == before["files"] >= 3
    assert between["older_values"] == 3
    after = run("rotate", path=path)
    assert after == run("status", path=path)
    assert (after["older_files"], after["older_values"]) == (0, 0)
    assert after["version"].startswith("file:3-")
    assert opened(path) == (raw, [session_of(path, name) for name in ("s0", "s1", "s2")])
    [begun], [ended] = events(path, "keys.rotate"), events(path, "keys.sealed")
    assert begun.parameters == {"manager": "file", "version": between["version"]}
    assert ended.parameters["version"] == after["version"]
    assert ended.principal.startswith("local-")


def session_of(path: Path, name: str):
    with contextlib.ExitStack() as stack:
        services = founded(stack, load(path), GATE)
        return asyncio.run(services.sessions.get(name))


def test_everything_moves_to_another_key_manager(tmp_path):
    old = configured(tmp_path, name="old.yaml")
    raw, _ = opened(old, sessions=3)
    new = configured(tmp_path, "kind: passphrase, passphrase: 'env:PORTCULLIS_PASSPHRASE'")
    with pytest.raises(Problem, match="PC7010") as caught:
        run("status", path=new)
    assert "--from" in caught.value.hint
    moved = run("rotate", "--from", str(old), path=new)
    assert moved["version"].startswith("passphrase:1-")
    assert (moved["older_files"], moved["older_values"]) == (0, 0)
    (load(old).state / "keys" / "master.key").unlink()
    now, sessions = opened(new)
    assert now == raw
    assert [each.prompt for each in sessions] == [PROMPT] * 3


def test_a_wrong_passphrase_is_said_and_changes_nothing(tmp_path, monkeypatch):
    path = configured(tmp_path, "kind: passphrase, passphrase: 'env:PORTCULLIS_PASSPHRASE'")
    raw, _ = opened(path)
    state = load(path).state
    before = {each: each.read_bytes() for each in (state / "keys").rglob("*") if each.is_file()}
    monkeypatch.setenv("PORTCULLIS_PASSPHRASE", "incorrect horse battery staple")
    for work in (lambda: opened(path), lambda: run("rotate", path=path)):
        with pytest.raises(Problem, match="PC7010") as caught:
            work()
        assert "incorrect" not in str(caught.value)
    assert {each: each.read_bytes() for each in before} == before
    monkeypatch.undo()
    monkeypatch.setenv("PORTCULLIS_PASSPHRASE", "correct horse battery staple")
    assert opened(path)[0] == raw


_ROTATING = """
import sys
from pathlib import Path
from typer.testing import CliRunner
from portcullis.cli.keys import app
print("ready", flush=True)
while True:
    CliRunner().invoke(app, ["rotate", "--config", sys.argv[1]])
"""


@pytest.mark.timeout(120)
def test_killed_at_any_moment_a_rotation_loses_nothing(tmp_path):
    path = configured(tmp_path)
    raw, _ = opened(path, sessions=3)
    moments = random.Random(1)
    versions = set()
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", _ROTATING, str(path)], stdout=subprocess.PIPE
        )
        process.stdout.readline()
        time.sleep(moments.uniform(0.02, 0.5))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        now, sessions = opened(path)
        assert now == raw
        assert [each.prompt for each in sessions] == [PROMPT] * 3
        versions.add(run("status", path=path)["version"])
    assert len(versions) > 1
    done = run("rotate", path=path)
    assert (done["older_files"], done["older_values"]) == (0, 0)


def test_stopped_before_any_single_write_a_rotation_loses_nothing(tmp_path, monkeypatch):
    path = configured(tmp_path)
    raw, _ = opened(path, sessions=3)
    writes = 0
    for at in range(20):
        with monkeypatch.context() as patched:
            left = iter(range(at))
            stop_at_writes(patched, left)
            done = CliRunner().invoke(app, ["rotate", "--config", str(path)])
        if done.exit_code == 0:
            break
        assert done.exit_code == 130  # stopped, as by Ctrl-C
        writes += 1
        now, sessions = opened(path)
        assert now == raw
        assert [each.prompt for each in sessions] == [PROMPT] * 3
    assert 4 <= writes < 20
    assert opened(path)[0] == raw


def stop_at_writes(patched, left) -> None:
    """Let as many replacements of files and columns happen as ``left`` has, then stop short."""
    replace, seal = Path.replace, Envelope.seal

    def replaced(self, target):
        if "keys" in self.parts and next(left, None) is None:
            raise KeyboardInterrupt
        return replace(self, target)

    def sealed(self, plaintext, purpose):
        if purpose.startswith("sessions:") and next(left, None) is None:
            raise KeyboardInterrupt
        return seal(self, plaintext, purpose)

    patched.setattr(Path, "replace", replaced)
    patched.setattr(Envelope, "seal", sealed)


def test_a_key_file_that_was_altered_stops_the_rotation(tmp_path):
    path = configured(tmp_path)
    opened(path)
    issuer = load(path).state / "keys" / "issuer.pem"
    good = issuer.read_bytes()
    altered = good[:-1] + bytes([good[-1] ^ 1])
    write_private(issuer, altered)
    with pytest.raises(Problem, match=r"PC7010.*file:issuer"):
        run("rotate", path=path)
    assert issuer.read_bytes() == altered
    write_private(issuer, good)
    assert run("rotate", path=path)["older_files"] == 0


def test_without_a_state_there_is_nothing_to_say_and_no_key_is_made(tmp_path):
    path = configured(tmp_path)
    with pytest.raises(Problem, match="PC7005"):
        run("status", path=path)
    assert not load(path).state.exists()
