"""What a newcomer types. If these fail, the first ten minutes do."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

COMMAND = str(Path(sys.executable).parent / "portcullis")


def run(folder, *words, **environment):
    return subprocess.run(
        [COMMAND, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
        check=False,
    )


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
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o700)
    configure(
        folder,
        state="a-file",
        listen={"gate": "127.0.0.1:7399", "control": "127.0.0.1:7399"},
        mcp={
            "lost": {"command": ["sh"], "cwd": "no-such-folder"},
            "own": {"command": ["./tool"], "cwd": "."},
        },
    )
    found = missing(folder)
    assert set(found) == {"state", "address", "folder of lost"}
    assert "a-file" in found["state"]
    configure(folder, state="not/yet/there", mcp={"own": {"command": ["./tool"], "cwd": "."}})
    assert missing(folder) == {}


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


def events(folder, method, verdict):
    done = run(folder, "audit", "query", "--json")
    found = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    return [e for e in found if e.get("method") == method and e["verdict"] == verdict]


def eventually(wanted, seconds=10):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if wanted():
            return True
        time.sleep(0.1)
    return False
