"""Witnesses as processes of their own, beside a real gate and as an operator starts them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

import aiohttp
import pytest
from mcp import MCPError
from typer.testing import CliRunner, Result

from portcullis.audit.checkpoint import open_checkpoint
from portcullis.audit.quorum import load_quorum
from portcullis.audit.verify import own_verifier, read_checkpoint, verify
from portcullis.bootstrap import GATE, audit_directory, founded
from portcullis.cli.audit import app
from portcullis.cli.backup import app as backup
from portcullis.cli.doctor import _witnesses as findings
from portcullis.config import Config, load
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.demo.stage import TRUST_DOMAIN, _operator
from standins import AGENT, SUBJECT, Stage, agent_token, eventually, mcp_client, staged
from witnesses import witness_process, written_policy

pytestmark = pytest.mark.anyio

LETTER = {"to": SUBJECT["email"], "subject": "Your order", "body": "It is on its way."}


def log_of(folder: Path) -> Path:
    """The log of a gate that is to be staged here: it is made, so that its key is known."""
    config = Config(trust_domain=TRUST_DOMAIN, state=folder / "state")
    with contextlib.ExitStack() as stack:
        founded(stack, config, GATE)
    return audit_directory(config)


def post(url: str, body: bytes) -> tuple[int, str, bytes]:
    request = urllib.request.Request(f"{url}/add-checkpoint", body)  # noqa: S310 - a test's own
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the same
            return answer.status, answer.headers["content-type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read()


async def test_a_gates_acts_wait_for_witnesses_are_denied_without_and_go_on_with_them(
    tmp_path: Path,
) -> None:
    log = log_of(tmp_path)
    vkey = own_verifier(log)
    with contextlib.ExitStack() as second:
        first = second.enter_context(witness_process(tmp_path / "w1", "w1.example", [vkey]))
        with contextlib.ExitStack() as stack:
            other = stack.enter_context(witness_process(tmp_path / "w2", "w2.example", [vkey]))
            policy = written_policy(tmp_path / "witnesses", [first, other], "all", [vkey])
            audit = {
                "witnesses": str(policy),
                "await_witnesses": ["external", "delete"],
                "witness_seconds": 2,
            }
            settings = {"audit": audit, "decisions": {"askers": ["pep"], "seconds": 5}}
            async with staged(tmp_path, settings=settings) as stage:
                token = await agent_token(stage)
                pep = await stage.register(PrincipalKind.APPLICATION, "pep")
                async with mcp_client(stage, "mail", token) as mail:
                    sent = await mail.call_tool("send", LETTER)
                    assert not sent.is_error
                    note = (log / "checkpoint").read_bytes()
                    found = load_quorum(policy).met(note, time.time())
                    assert set(found.times) == {"w1.example", "w2.example"}
                    decision = next(
                        n for n, e in enumerate(stage.events()) if e.name == "send" and e.verdict
                    )
                    assert open_checkpoint(note, vkey).size > decision
                    session = next(e.session for e in stage.events() if e.session)
                    assert "code" not in await elsewhere(stage, pep, session)

                    port = other.url.rpartition(":")[2]
                    stack.close()
                    with pytest.raises(MCPError, match="No quorum of witnesses"):
                        await mail.call_tool("send", LETTER)
                    assert (await elsewhere(stage, pep, session))["code"] == "PC6007"
                    await eventually(stage, lambda e: e.method == "witness.quorum_lost")
                    owed = await eventually(stage, lambda e: e.code == "PC6007")
                    assert owed.verdict == "error"
                    shown = await scraped(stage)
                    assert 'witness_up{witness="w1.example"} 1.0' in shown
                    assert 'witness_up{witness="w2.example"} 0.0' in shown
                    assert "portcullis_audit_witness_quorum 0.0" in shown
                    assert await readiness(stage) == (200, {"status": "ready"})
                    said = {f.what: f.ok for f in findings(load(stage.config))}
                    assert said == {
                        "witness w1.example": True,
                        "witness w2.example": False,
                        "witnesses": True,
                    }

                    second.enter_context(
                        witness_process(tmp_path / "w2", "w2.example", [vkey], f"127.0.0.1:{port}")
                    )
                    back = await eventually(
                        stage, lambda e: e.method == "witness.quorum_back", seconds=15
                    )
                    assert back.type == "admin"
                    assert not (await mail.call_tool("send", LETTER)).is_error


async def elsewhere(stage: Stage, token: str, session: str) -> dict[str, str]:
    """What somebody else is told who would send the letter for the agent."""
    asked = {
        "subject": {"type": "agent", "id": AGENT, "properties": {"session": session}},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "mail.send", "properties": {"arguments": LETTER}},
    }
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {token}"}) as http,
        http.post(f"{stage.gate.gate_url}/access/v1/evaluation", json=asked) as answer,
    ):
        context: dict[str, str] = (await answer.json())["context"]
        return context


async def readiness(stage: Stage) -> tuple[int, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{stage.gate.control_url}/readyz") as answer,
    ):
        return answer.status, await answer.json()


async def scraped(stage: Stage) -> str:
    principals, who = stage.gate.services.principals("demo"), (PrincipalKind.OPERATOR, "vic")
    await principals.create(_operator(), *who, owner="vic", roles=("viewer",))
    viewer = await principals.mint(_operator(), *who)
    headers = {"authorization": f"Bearer {viewer.token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.get(f"{stage.gate.control_url}/metrics") as answer,
    ):
        return await answer.text()


def test_a_witness_speaks_the_protocol_over_http_and_keeps_its_word_over_kill_9(
    tmp_path: Path,
) -> None:
    log = log_of(tmp_path)
    verifier = own_verifier(log)
    head = (log / "checkpoint").read_bytes()
    size = open_checkpoint(head, verifier).size
    with witness_process(tmp_path / "w", "w1.example", [verifier]) as running:
        status, kind, body = post(running.url, b"old 0\n\n" + head)
        assert (status, kind) == (200, "text/plain; charset=utf-8")
        assert body.decode().startswith("\u2014 w1.example ")
        assert len(base64.b64decode(body.split()[-1])) == 4 + 8 + 64
        with urllib.request.urlopen(f"{running.url}/vkey", timeout=10) as answer:  # noqa: S310
            assert answer.read().decode().strip() == running.vkey
        running.process.kill()
    with witness_process(tmp_path / "w", "w1.example", [verifier]) as running:
        if size:
            assert post(running.url, b"old 0\n\n" + head) == (
                409,
                "text/x.tlog.size",
                f"{size}\n".encode(),
            )
        assert post(running.url, b"old 5\n\n" + head.replace(b"\n", b"\r\n"))[0] == 400
        assert post(running.url, b"old 0\n\n" + head[:-8] + b"AAAAAA=\n")[0] in {400, 403}
        assert post(running.url, b"x" * 100_000)[0] == 413
        stranger = head.replace(b"demo.portcullis.example", b"other.portcullis.example")
        assert post(running.url, b"old 0\n\n" + stranger)[0] == 404
        running.process.terminate()
        assert running.process.wait(20) == 0


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["witness", *map(str, words)])


def test_a_witness_shows_its_key_and_does_not_start_when_it_forgot(tmp_path: Path) -> None:
    state = tmp_path / "w"
    shown = run("--state", state, "--name", "w1.example", "--show-key")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.startswith("w1.example+")
    assert run("--state", state, "--show-key").stdout == shown.stdout
    (state / "origins").unlink()
    log = log_of(tmp_path)
    refused = run("--state", state, "--log", log / "log.vkey", "--listen", "127.0.0.1:0").exception
    assert isinstance(refused, Problem)
    assert (refused.code, "new key" in refused.hint) == ("PC6008", True)
    for wrong in (run("--state", state), run("--state", tmp_path / "new", "--show-key")):
        assert isinstance(wrong.exception, Problem)
        assert wrong.exception.code == "PC7004"
    inside = run("--state", tmp_path / "state/w", "--name", "w.example", "--show-key")
    assert "lies in the state of a gate" in inside.stderr


async def test_a_gate_put_back_to_an_older_state_does_not_start(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    vkey = own_verifier(log)
    with witness_process(tmp_path / "w", "w1.example", [vkey]) as running:
        policy = written_policy(tmp_path / "witnesses", [running])
        settings = {"audit": {"witnesses": "witnesses"}}
        shutil.copytree(tmp_path / "state", tmp_path / "backup", symlinks=True)
        async with staged(tmp_path, settings=settings) as stage:
            await agent_token(stage)
        assert load_quorum(policy).met((log / "checkpoint").read_bytes(), time.time()).met
        (tmp_path / "state").rename(tmp_path / "newest")
        (tmp_path / "backup").rename(tmp_path / "state")
        (tmp_path / "company.db").unlink()
        with pytest.raises(Problem) as caught:
            async with staged(tmp_path, settings=settings):
                pass
        assert caught.value.code == "PC6032"
        assert "has seen" in caught.value.detail
        assert "portcullis backup fence" in caught.value.hint
        (tmp_path / "company.db").unlink()
        config = str(tmp_path / "portcullis.yaml")
        newest = tmp_path / "newest/log"
        words = ["fence", "--config", config, "--json", "--reason", "disk 3 died"]
        words = [*words, "--newer-log", str(newest)]
        done = await asyncio.to_thread(CliRunner().invoke, backup, words)
        assert done.exit_code == 0, done.exception
        told = json.loads(done.stdout)
        ended, seen = told["former"]["gate"], read_checkpoint(newest, vkey)[0]
        assert (ended["newest_size"], ended["newest_root"]) == (seen.size, seen.root.hex())
        assert ended["size"] < seen.size
    with witness_process(tmp_path / "w", "w1.example", [vkey, told["vkey"]]) as running:
        policy = written_policy(tmp_path / "witnesses", [running])
        async with staged(tmp_path, settings=settings) as stage:
            begun = stage.events()
            assert [one.method for one in begun[:2]] == ["log.begin", "backup.restored"]
            assert begun[0].parameters["newest_root"] == seen.root.hex()
            new = stage.gate.audit_directory
            assert new == Path(told["log"])
            await stage.create(PrincipalKind.AGENT, "another")
        note = (new / "checkpoint").read_bytes()
        assert load_quorum(policy).met(note, time.time()).met
        assert open_checkpoint(note, own_verifier(new)).size > len(begun)
        assert verify(log, vkey).ok  # the old one stays, as evidence
