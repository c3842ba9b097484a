"""What a newcomer types. If these fail, the first ten minutes do."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anthropic
import openai
import pytest
import yaml

import commands
import standins

COMMAND = str(Path(sys.executable).parent / "portcullis")


def run(folder, *words, **environment):
    return commands.run(*words, cwd=folder, env=environment)


def configure(folder, **changes):
    path = folder / "portcullis.yaml"
    data = yaml.safe_load(path.read_text())
    data["listen"] = {"gate": "127.0.0.1:0", "control": "127.0.0.1:0", "mtls": "127.0.0.1:0"}
    path.write_text(yaml.safe_dump(data | changes))


@pytest.fixture
def folder(tmp_path):
    done = run(tmp_path, "init")
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_what_init_writes_is_a_policy_that_loads_and_is_never_overwritten(folder):
    assert run(folder, "policy", "check").returncode == 0
    again = run(folder, "init")
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_doctor_says_what_is_missing_and_what_to_do(folder):
    configure(
        folder,
        models={
            "gpt": {"shape": "openai", "url": "http://127.0.0.1:9", "credential": "env:NO_SUCH"}
        },
        mcp={"tool": {"command": ["no-such-program"]}},
    )
    done = run(folder, "doctor", "--json")
    assert done.returncode == 1
    missing = {f["what"]: f for f in json.loads(done.stdout)["findings"] if not f["ok"]}
    assert set(missing) == {"credential of gpt", "upstream gpt", "command of tool"}
    assert all(finding["do"] for finding in missing.values())
    assert "no-such-program" in missing["command of tool"]["found"]


def test_doctor_shows_no_secret(folder):
    configure(
        folder,
        models={"gpt": {"shape": "openai", "url": "http://127.0.0.1:9", "credential": "env:KEY"}},
    )
    done = run(folder, "doctor", KEY="a-secret-of-some-length")
    assert "a-secret-of-some-length" not in done.stdout + done.stderr


def missing(folder):
    findings = json.loads(run(folder, "doctor", "--json").stdout)["findings"]
    return {f["what"]: f["found"] for f in findings if not f["ok"]}


def test_doctor_finds_what_would_keep_the_gate_from_starting(folder):
    (folder / "a-file").write_text("")
    (folder / "bin").mkdir()
    (folder / "bin/tool").write_text("#!/bin/sh\n")
    (folder / "bin/tool").chmod(0o700)
    rule = {"id": "r", "entity": "RE", "category": "personal", "pattern": "ab"}
    pack = {"pack": "own", "rules": [rule | {"match": ["ab"], "reject": ["ab"]}]}
    (folder / "pack.yaml").write_text(json.dumps(pack))
    configure(
        folder,
        state="a-file",
        listen={"gate": "127.0.0.1:7399", "control": "127.0.0.1:7399"},
        inspection={"packs": ["pack.yaml"]},
        mcp={
            "lost": {"command": ["sh"], "cwd": "no-such-folder"},
            "own": {"command": ["./tool"], "cwd": "bin"},
        },
    )
    found = missing(folder)
    assert set(found) == {"state", "address", "folder of lost", "inspection"}
    assert "a-file" in found["state"]
    assert "reject example 1 is found" in found["inspection"]
    own = {"own": {"command": ["./tool"], "cwd": "bin"}}
    configure(folder, state="not/yet/there", inspection={}, mcp=own)
    assert missing(folder) == {}


def test_doctor_says_what_is_in_each_box_and_who_has_none(folder):
    (folder / "data").mkdir()
    server = {"command": ["python3", "-c", "pass", str(folder / "data")], "cwd": "data"}
    loose = {"profiles": {"large": {"memory": "1GiB"}, "apart": {"demands": ["kernel"]}}}
    servers = {
        "held": {"command": ["sh"], "mounts": ["data:rw"]},
        "free": {"command": ["sh"], "sandbox": "none"},
        "big": {"command": ["sh"], "sandbox": "large"},
        "far": {"command": ["sh"], "sandbox": "apart"},
        "blind": {"command": ["sh", str(folder / "portcullis.yaml")]},
        "sees": server,
    }
    configure(folder, mcp=servers, sandbox=loose, tools={"own": {"code": {}}})
    findings = json.loads(run(folder, "doctor", "--json").stdout)["findings"]
    found = {(f["what"], f["ok"]): f["found"] for f in findings if f["what"].startswith("box")}
    assert found["box of mcp.held", True] == f"strict, {folder.resolve()}/data:rw"
    assert found["box of mcp.free", True].startswith("none: what runs there can do all")
    assert "looser than strict (memory)" in found["box of mcp.big", True]
    assert "kernel" in found["box of mcp.far", False]
    assert "portcullis.yaml, which is not in the box" in found["box of mcp.blind", False]
    assert found["box of tools.own.code", True] == "strict"
    assert {what for what, ok in found if not ok} == {"box of mcp.far", "box of mcp.blind"}


def test_doctor_does_not_take_the_running_gate_for_a_stranger(folder):
    configure(folder, mcp={"tool": {"command": ["sh"]}})
    with subprocess.Popen([COMMAND, "up"], cwd=folder, stderr=subprocess.DEVNULL) as gate:
        try:
            place = folder / "portcullis-state" / "gate.json"
            assert eventually(place.exists)
            found = json.loads(place.read_text())
            listen = {name: found[name].removeprefix("http://") for name in ("gate", "control")}
            configure(folder, mcp={"tool": {"command": ["sh"]}}, listen=listen)
            assert missing(folder) == {}
            assert f"process {gate.pid}" in run(folder, "doctor").stdout
        finally:
            gate.send_signal(signal.SIGTERM)


def test_explain_says_what_to_do(tmp_path):
    done = run(tmp_path, "explain", "pc3004")
    assert done.returncode == 0
    assert "row scope" in done.stdout
    assert run(tmp_path, "explain", "PC0").returncode == 2


def test_a_gate_comes_up_reloads_its_policy_and_drains_on_sigterm(folder):
    configure(folder)
    with subprocess.Popen(
        [COMMAND, "up"], cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as gate:
        try:
            place = folder / "portcullis-state" / "gate.json"
            assert eventually(place.exists)
            made = run(
                folder, "agent", "create", "my-agent", "--owner", "me", "--purpose", "to try it"
            )
            assert made.returncode == 0, made.stderr
            assert "agent join my-agent" in made.stderr  # what to do next; nothing secret
            assert made.stdout == ""
            assert run(folder, "agent", "token", "my-agent").returncode != 0
            policy = folder / "policy" / "main.yaml"
            good = policy.read_text()
            policy.write_text(good + "\nnonsense: true\n")
            gate.send_signal(signal.SIGHUP)
            assert eventually(lambda: events(folder, "policy.activate", "deny"))
            policy.write_text(good.replace("gpt-*", "other-*"))
            gate.send_signal(signal.SIGHUP)
            assert eventually(lambda: len(events(folder, "policy.activate", "allow")) == 2)
            gate.send_signal(signal.SIGTERM)
            assert gate.wait(15) == 0
            assert not place.exists()
        finally:
            if gate.poll() is None:
                gate.kill()
    assert run(folder, "audit", "verify").returncode == 0


@contextlib.contextmanager
def started(folder, *words, **environment):
    """A command that stays up; what it prints first, as JSON if it is."""
    with subprocess.Popen(
        [COMMAND, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | environment,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


@contextlib.asynccontextmanager
async def up(folder):
    """A gate with the stand-in model behind it, as ``init`` configures it but for its ports."""
    async with standins.standin_model() as (_, url, credential):
        (folder / "model.key").touch(mode=0o600)
        (folder / "model.key").write_text(credential)
        upstream = {"url": url, "credential": "file:model.key"}
        models = {
            "gpt": upstream | {"shape": "openai", "serves": ["gpt-*"]},
            "claude": upstream | {"shape": "anthropic", "serves": ["claude-*"]},
        }
        configure(folder, models=models)
        with started(folder, "up"):
            assert await asyncio.to_thread(
                eventually, (folder / "portcullis-state" / "gate.json").exists
            )
            yield json.loads((folder / "portcullis-state" / "gate.json").read_text())


async def joined(folder, *, agent="my-agent"):
    """The environment of a side process: a join token, and a home with nothing in it."""
    (folder / "home").mkdir(exist_ok=True)
    made = await asyncio.to_thread(run, folder, "agent", "join", agent)
    assert made.returncode == 0, made.stderr
    return {"JOIN": made.stdout.strip(), "HOME": str(folder / "home")}


def connect(gate, agent="my-agent"):
    where = ("--gate", gate["mtls"], "--enrol", gate["gate"])
    return ("agent", "connect", agent, "--join-token", "env:JOIN", *where, "--json")


@pytest.mark.anyio
async def test_unmodified_clients_need_only_a_base_url_until_the_agent_is_revoked(folder):
    said = [{"role": "user", "content": "still here"}]
    async with up(folder) as gate:
        words = ("agent", "create", "my-agent", "--owner", "me", "--purpose", "to try it")
        made = await asyncio.to_thread(run, folder, *words)
        assert "JOIN=$(portcullis agent join my-agent)" in made.stderr
        with started(folder, *connect(gate), **await joined(folder)) as beside:
            urls = json.loads(await asyncio.to_thread(beside.stdout.readline))
            assert urls["spiffe_id"] == "spiffe://example.org/agent/my-agent"
            async with (
                openai.AsyncOpenAI(base_url=urls["openai"], api_key="any", max_retries=0) as gpt,
                anthropic.AsyncAnthropic(base_url=urls["anthropic"], api_key="any") as claude,
            ):
                answer = await gpt.chat.completions.create(model="gpt-standin:say", messages=said)
                assert answer.choices[0].message.content == "still here"
                message = await claude.messages.create(
                    model="claude-standin:say", max_tokens=9, messages=said
                )
                assert message.content[0].text == "still here"
                revoked = await asyncio.to_thread(run, folder, "agent", "revoke", "my-agent")
                assert revoked.returncode == 0, revoked.stderr
                with pytest.raises(openai.APIError):
                    await gpt.chat.completions.create(model="gpt-standin:say", messages=said)
            assert await asyncio.to_thread(beside.wait, 20) == 3
    assert list((folder / "home").iterdir()) == []


@pytest.mark.anyio
async def test_a_session_is_opened_shown_and_closed_while_every_token_is_bound(folder):
    said = [{"role": "user", "content": "where is it?"}]
    async with up(folder) as gate:
        for words in (("agent", "create", "my-agent"), ("application", "create", "helpdesk")):
            await asyncio.to_thread(run, folder, *words, "--owner", "me", "--purpose", "to try it")
        who = ("--application", "helpdesk")
        words = ("session", "open", "my-agent", *who, "--user", "ada", "--prompt", "where is it?")
        done = await asyncio.to_thread(run, folder, *words, "--json")
        assert done.returncode == 0, done.stderr
        opened = json.loads(done.stdout)
        shown = await asyncio.to_thread(run, folder, "session", "show", opened["session"], *who)
        assert "my-agent" in shown.stdout
        saying = ("session", "say", opened["session"], *who, "--prompt", "and when?")
        turned = await asyncio.to_thread(run, folder, *saying, "--json")
        assert json.loads(turned.stdout)["turns"] == 1
        async with openai.AsyncOpenAI(
            base_url=f"{gate['gate']}/openai/v1", api_key=opened["token"], max_retries=0
        ) as thief:
            with pytest.raises(openai.AuthenticationError, match="PC2049"):
                await thief.chat.completions.create(model="gpt-standin:say", messages=said)
        with started(folder, *connect(gate), **await joined(folder)) as beside:
            urls = json.loads(await asyncio.to_thread(beside.stdout.readline))
            async with openai.AsyncOpenAI(
                base_url=urls["openai"], api_key=opened["token"], max_retries=0
            ) as gpt:
                answer = await gpt.chat.completions.create(model="gpt-standin:say", messages=said)
                assert answer.choices[0].message.content == "where is it?"
                closing = ("session", "close", opened["session"], *who)
                closed = await asyncio.to_thread(run, folder, *closing)
                assert closed.returncode == 0, closed.stderr
                with pytest.raises(openai.PermissionDeniedError, match="PC2006"):
                    await gpt.chat.completions.create(model="gpt-standin:say", messages=said)
    query = ("audit", "query", "--session", opened["session"], "--json")
    records = await asyncio.to_thread(run, folder, *query)
    events = [json.loads(line)["event"] for line in records.stdout.splitlines()]
    assert {"sessions.open", "sessions.close"} <= {event.get("method") for event in events}
    assert opened["token"] not in records.stdout


def test_without_mutual_tls_the_session_command_says_what_to_set(folder):
    configure(folder)
    data = yaml.safe_load((folder / "portcullis.yaml").read_text())
    data["listen"]["mtls"] = None
    (folder / "portcullis.yaml").write_text(yaml.safe_dump(data))
    with started(folder, "up"):
        assert eventually((folder / "portcullis-state" / "gate.json").exists)
        done = run(folder, "session", "show", "abc", "--application", "helpdesk")
    assert done.returncode != 0
    assert "listen.mtls" in done.stderr


def events(folder, method, verdict):
    done = run(folder, "audit", "query", "--json")
    found = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    return [e for e in found if e.get("method") == method and e["verdict"] == verdict]


def eventually(wanted, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if wanted():
            return True
        time.sleep(0.1)
    return False
