"""The command line as users run it: directly on the store, and through a gate that runs."""

import base64
import contextlib
import json
import os
import secrets
import signal
import sqlite3
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from portcullis.cli import main

COMMAND = Path(sys.executable).parent / "portcullis"


class Deployment:
    """A folder with a configuration, and the command line in it (in this process, for speed)."""

    def __init__(self, folder, capsys, monkeypatch):
        self.folder = folder
        self.state = folder / "portcullis-state"
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(folder)
        (folder / "portcullis.yaml").write_text(
            "trust_domain: example.test\n"
            'listen: {gate: "127.0.0.1:0", control: "127.0.0.1:0", mtls: "127.0.0.1:0",'
            " workload: null}\n"
            "tokens: {bearer: loopback, ttl_seconds: 600}\n"
        )
        (folder / "policy").mkdir()
        (folder / "policy" / "main.yaml").write_text(
            "version: 1\nroles:\n  support: {models: [gpt-*]}\nagents:\n"
            "  shop-1: {role: support, owner: shop}\n"
        )

    def bound(self):
        """Tokens are bound to a key, as they are unless somebody says otherwise."""
        file = self.folder / "portcullis.yaml"
        file.write_text(file.read_text().replace("bearer: loopback, ", ""))

    def create(self, kind, name):
        """Register an agent or an application; what was printed as JSON."""
        return self.json(kind, "create", name, "--owner", "shop team", "--purpose", "sells")

    def run(self, *words, code=0):
        """Run a command; what it wrote to stdout and stderr."""
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["portcullis", *words])
        with pytest.raises(SystemExit) as done:
            main()
        written = self._capsys.readouterr()
        assert (done.value.code or 0) == code, written.err
        return written

    def setenv(self, name, value):
        self._monkeypatch.setenv(name, value)

    def operator(self, name, *roles):
        return Operator(self, name, roles)

    def json(self, *words):
        return json.loads(self.run(*words, "--json").out)

    def events(self):
        done = self.run("audit", "query", "--json")
        return [json.loads(line)["event"] for line in done.out.splitlines()]


@pytest.fixture
def deployment(tmp_path, capsys, monkeypatch):
    return Deployment(tmp_path, capsys, monkeypatch)


@contextlib.contextmanager
def running(deployment, *, stop=signal.SIGTERM):
    """The deployment's gate, running; what it wrote to ``gate.json``."""
    process = subprocess.Popen([COMMAND, "up"], cwd=deployment.folder, stderr=subprocess.PIPE)
    place = deployment.state / "gate.json"
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError, ValueError):
                found = json.loads(place.read_bytes())
                if found["pid"] == process.pid:
                    break
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.05)
        yield found
    finally:
        process.send_signal(stop)
        process.communicate(timeout=30)


@pytest.fixture
def gate(deployment):
    with running(deployment) as found:
        yield found


class Operator:
    """An operator as people are: a password, an authenticator and a terminal."""

    def __init__(self, deployment, name, roles):
        self.deployment, self.name = deployment, name
        self.password = secrets.token_hex(12)
        words = [word for role in roles for word in ("--role", role)]
        added = self.run("operator", "add", name, "--owner", "ops", *words)
        query = parse_qs(urlsplit(json.loads(added.out)["otpauth"]).query)
        self.secret = base64.b32decode(query["secret"][0])

    def run(self, *words, code=0):
        self.deployment.setenv("THE_PASSWORD", self.password)
        return self.deployment.run(*words, "--password", "env:THE_PASSWORD", "--json", code=code)

    def login(self, later=0, **expected):
        totp = TOTP(self.secret, 6, SHA1(), 30)  # noqa: S303 - RFC 6238
        self.deployment.setenv("THE_CODE", totp.generate(time.time() + later).decode())
        done = self.run("operator", "login", self.name, "--code", "env:THE_CODE", **expected)
        return json.loads(done.out) if not expected else done


def ask(url, token, body=None):
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"})  # noqa: S310
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def methods(events):
    return [(e.get("method", ""), e.get("verdict", ""), e.get("code", "")) for e in events]


def test_without_a_gate_the_command_line_works_on_the_store_and_records_it(deployment):
    created = deployment.run(
        "agent", "create", "shop-1", "--owner", "shop team", "--purpose", "sells"
    )
    assert created.out.count(".") == 2
    assert len(created.out.splitlines()) == 1
    assert "registered" in created.err
    due = (datetime.now(UTC) + timedelta(days=90)).date()
    assert f"review due {due}" in created.err or f"review due {due - timedelta(1)}" in created.err
    assert deployment.run("agent", "list").out.split()[:2] == ["shop-1", "active"]
    assert deployment.json("agent", "show", "shop-1")["owner"] == "shop team"
    token = deployment.json("agent", "token", "shop-1", "--ttl", "60")
    assert token["token"] not in created.out
    again = deployment.run(
        "agent", "create", "shop-1", "--owner", "x", "--purpose", "sells", code=1
    )
    assert "PC2009" in again.err
    deployment.run("agent", "suspend", "shop-1")
    refused = deployment.run("agent", "token", "shop-1", code=1)
    assert "PC4001" in refused.err
    events = deployment.events()
    assert methods(events) == [
        ("principals.create", "allow", ""),
        ("tokens.mint", "allow", ""),
        ("tokens.mint", "allow", ""),
        ("principals.create", "deny", "PC2009"),
        ("principals.suspend", "allow", ""),
        ("tokens.mint", "deny", "PC4001"),
    ]
    assert all(event["principal"].startswith("local-") for event in events)
    assert {event["route"] for event in events} == {"cli"}
    assert token["credential"] == events[2]["parameters"]["credential"]
    log = b"".join(p.read_bytes() for p in (deployment.state / "log").rglob("*") if p.is_file())
    assert token["token"].encode() not in log


def test_a_life_is_led_from_the_command_line(deployment):
    deployment.create("agent", "shop-1")
    entry = deployment.json("agent", "register", "shop-1", "--selector", "unix:uid:1000")
    shown = deployment.json("agent", "show", "shop-1")
    assert (shown["purpose"], shown["entries"]) == ("sells", [entry])
    assert f"entry    {entry['id']} unix:uid:1000" in deployment.run("agent", "show", "shop-1").out
    reviewed = deployment.json("agent", "review", "shop-1", "--until", "2099-12-31")
    assert datetime.fromtimestamp(reviewed["review_at"], UTC).isoformat()[:10] == "2099-12-31"
    assert deployment.json("agent", "rotate", "shop-1")["rotated_at"] > 0
    deployment.run("agent", "unregister", entry["id"])
    assert deployment.json("agent", "show", "shop-1")["entries"] == []
    assert "PC2010" in deployment.run("agent", "unregister", entry["id"], code=1).err
    deployment.run("credential", "revoke", "svid:ab12")
    assert deployment.json("agent", "revoke", "shop-1")["state"] == "revoked"
    words = ("agent", "create", "shop-1", "--owner", "x", "--purpose", "y")
    assert "PC2009" in deployment.run(*words, code=1).err
    assert "PC2073" in deployment.run("agent", "resume", "shop-1", code=1).err
    assert methods(deployment.events())[2:] == [
        ("entries.add", "allow", ""),
        ("principals.review", "allow", ""),
        ("principals.rotate", "allow", ""),
        ("entries.remove", "allow", ""),
        ("entries.remove", "deny", "PC2010"),
        ("credentials.revoke", "allow", ""),
        ("principals.revoke", "allow", ""),
        ("principals.create", "deny", "PC2009"),
        ("principals.resume", "deny", "PC2073"),
    ]


@pytest.mark.parametrize("running_too", [False, True])
def test_no_token_is_printed_that_is_bound_to_no_key_but_what_to_do_next(deployment, running_too):
    deployment.bound()
    with running(deployment) if running_too else contextlib.nullcontext():
        done = deployment.run("agent", "create", "shop-1", "--owner", "shop", "--purpose", "sells")
        assert done.out == ""
        assert "agent register shop-1 --selector" in done.err
        assert "agent join shop-1" in done.err
        assert "agent connect shop-1" in done.err
        refused = deployment.run("agent", "token", "shop-1", code=1)
        assert refused.out == ""
        assert "PC2049" in refused.err
        assert "agent connect" in refused.err
        joined = deployment.run("agent", "join", "shop-1", "--ttl", "60")
        assert len(base64.urlsafe_b64decode(joined.out.strip() + "=")) == 32
        words = ("agent", "create", "shop-2", "--owner", "x", "--purpose", "y", "--ttl", "60")
        assert "PC7004" in deployment.run(*words, code=2).err
    log = b"".join(p.read_bytes() for p in (deployment.state / "log").rglob("*") if p.is_file())
    assert joined.out.strip().encode() not in log
    assert joined.out.strip().encode() not in (deployment.state / "portcullis.db").read_bytes()


def test_operators_log_in_and_are_led_through_their_life(deployment, gate):
    vic = deployment.operator("vic", "viewer")
    token = vic.login()["token"]
    version = f"{gate['control']}/api/v1/version"
    assert ask(version, token)[0] == 200
    assert "PC2070" in vic.login(code=1).err
    deployment.json("operator", "role", "vic", "--role", "responder")
    assert ask(version, token)[1]["code"] == "PC4001"
    responder = vic.login(30)["token"]
    assert ask(version, responder)[0] == 200
    old, vic.password = vic.password, secrets.token_hex(12)
    new = json.loads(vic.run("operator", "password", "vic").out)["otpauth"]
    assert new.startswith("otpauth://totp/example.test:vic?")
    assert ask(version, responder)[1]["code"] == "PC4001"
    assert deployment.json("operator", "remove", "vic")["state"] == "revoked"
    assert "PC2070" in vic.login(code=1).err
    written = [path.read_bytes() for path in deployment.state.rglob("*") if path.is_file()]
    for secret in (old, vic.password, token, parse_qs(urlsplit(new).query)["secret"][0]):
        assert all(secret.encode() not in content for content in written)


def test_what_the_command_line_changes_at_a_running_gate_is_as_without_one(deployment, gate):
    deployment.create("agent", "shop-1")
    entry = deployment.json("agent", "register", "shop-1", "--selector", "unix:uid:1000")
    assert deployment.json("agent", "show", "shop-1")["entries"] == [entry]
    reviewed = deployment.json("agent", "review", "shop-1", "--until", "2099-12-31")
    assert datetime.fromtimestamp(reviewed["review_at"], UTC).isoformat()[:10] == "2099-12-31"
    token = deployment.json("agent", "token", "shop-1")
    models = f"{gate['gate']}/openai/v1/chat/completions"
    body = {"model": "none", "messages": [{"role": "user", "content": "hello"}]}
    deployment.run("credential", "revoke", token["credential"])
    assert ask(models, token["token"], body)[1]["error"]["code"] == "PC4001"
    second = deployment.json("agent", "token", "shop-1")["token"]
    assert ask(models, second, body)[1]["error"]["code"] != "PC4001"
    deployment.run("agent", "rotate", "shop-1")
    assert ask(models, second, body)[1]["error"]["code"] == "PC4001"
    third = deployment.json("agent", "token", "shop-1")["token"]
    assert ask(models, third, body)[1]["error"]["code"] != "PC4001"
    deployment.run("agent", "revoke", "shop-1")
    assert ask(models, third, body)[1]["error"]["code"] == "PC4001"
    deployment.run("agent", "unregister", entry["id"])


def test_time_expires_an_agent_at_a_running_gate(deployment, gate):
    deployment.create("agent", "shop-1")
    token = deployment.json("agent", "token", "shop-1")["token"]
    soon = time.time() + 1
    with contextlib.closing(sqlite3.connect(deployment.state / "portcullis.db")) as connection:
        connection.execute("UPDATE principals SET review_at = ?", (soon,))
        connection.commit()
    assert eventually(
        lambda: deployment.json("agent", "show", "shop-1")["state"] == "expired", seconds=20
    )
    models = f"{gate['gate']}/openai/v1/chat/completions"
    body = {"model": "none", "messages": [{"role": "user", "content": "hello"}]}
    assert ask(models, token, body)[1]["error"]["code"] == "PC4001"
    assert deployment.json("agent", "review", "shop-1")["state"] == "active"


def test_what_the_state_directory_holds_is_its_owners_alone(deployment):
    deployment.create("agent", "shop-1")
    assert stat.S_IMODE(deployment.state.stat().st_mode) == 0o700
    for path in (deployment.state / "keys", deployment.state / "log"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (deployment.state / "portcullis.db", *(deployment.state / "keys").rglob("*")):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_running_gate_does_what_the_command_line_asks_and_at_once(deployment, gate):
    agent = deployment.create("agent", "shop-1")
    deployment.create("application", "web")
    operator = deployment.operator("vic", "viewer").login()
    status, found = ask(f"{gate['control']}/api/v1/principals", operator["token"])
    assert (status, len(found["principals"])) == (200, 3)
    opened = deployment.json(
        *("session", "open", "shop-1", "--application", "web"),
        *("--user", "u", "--prompt", "where is it?", "--subject", "customer_id=C-1"),
    )
    words = (opened["session"], "--application", "web")
    assert deployment.json("session", "show", *words)["agent"] == "shop-1"
    models = f"{gate['gate']}/openai/v1/chat/completions"
    body = {"model": "none", "messages": [{"role": "user", "content": "hello"}]}
    for token in (agent["token"], opened["token"]):
        assert ask(models, token, body)[1]["error"]["code"] != "PC2006"
    deployment.run("session", "close", *words)
    assert ask(models, opened["token"], body)[1]["error"]["code"] == "PC2006"
    deployment.run("agent", "suspend", "shop-1")
    status, refused = ask(models, agent["token"], body)
    assert (status, refused["error"]["code"]) == (403, "PC4001")
    deployment.run("operator", "suspend", "vic")
    status, refused = ask(f"{gate['control']}/api/v1/version", operator["token"])
    assert (status, refused["code"]) == (403, "PC4001")
    shown = deployment.run("session", "show", *words, code=1)
    assert "PC2010" in shown.err


def test_a_session_and_a_suspended_principal_survive_the_death_of_the_gate(deployment):
    with running(deployment, stop=signal.SIGKILL):
        agent = deployment.create("agent", "shop-1")
        deployment.create("application", "web")
        opened = deployment.json(
            *("session", "open", "shop-1", "--application", "web", "--user", "u", "--prompt", "p")
        )
        deployment.run("agent", "suspend", "shop-1")
    with running(deployment) as gate:
        words = (opened["session"], "--application", "web")
        assert deployment.json("session", "show", *words)["session"] == opened["session"]
        models = f"{gate['gate']}/openai/v1/chat/completions"
        body = {"model": "none", "messages": [{"role": "user", "content": "hello"}]}
        assert ask(models, agent["token"], body)[1]["error"]["code"] == "PC4001"


def test_a_gate_that_died_does_not_lock_its_owner_out(deployment):
    with running(deployment, stop=signal.SIGKILL):
        pass
    assert (deployment.state / "gate.json").exists()
    deployment.create("agent", "shop-1")


def test_a_gate_file_left_behind_by_a_reused_process_number_says_what_to_do(deployment):
    deployment.state.mkdir(mode=0o700)
    left = {"control": "http://127.0.0.1:1", "gate": "http://127.0.0.1:1", "pid": os.getpid()}
    (deployment.state / "gate.json").write_text(json.dumps(left))
    done = deployment.run("agent", "list", code=1)
    assert "PC7005" in done.err
    assert "remove gate.json" in done.err


def test_a_session_needs_a_gate(deployment):
    done = deployment.run("session", "show", "abc", "--application", "web", code=1)
    assert "PC7005" in done.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("agent", "create", "Shop", "--owner", "x", "--purpose", "y"), "PC7004"),
        (("agent", "create", "../x", "--owner", "x", "--purpose", "y"), "PC7004"),
        (("agent", "create", "shop-1", "--owner", "", "--purpose", "y"), "PC7004"),
        (("agent", "create", "shop-1", "--owner", "x", "--purpose", ""), "PC7004"),
        (("agent", "unregister", "../x"), "PC7004"),
        (("credential", "revoke", "../x"), "PC7004"),
        (("operator", "add", "vic", "--owner", "x", "--role", "root"), "PC7004"),
        (("operator", "add", "vic", "--owner", "x", "--role", "viewer"), "PC7004"),
    ],
)
def test_a_bad_word_is_a_usage_error_with_a_hint(deployment, words, text):
    done = deployment.run(*words, code=2)
    assert done.out == ""
    assert text in done.err
    assert "hint: " in done.err


def test_the_first_agent_is_registered_while_its_gate_is_still_starting(deployment):
    with subprocess.Popen(
        [COMMAND, "up"], cwd=deployment.folder, stderr=subprocess.PIPE, text=True
    ) as gate:
        try:
            deployment.create("agent", "shop-1")
            deployment.create("agent", "shop-2")
            place = deployment.state / "gate.json"
            assert eventually(place.exists), gate.stderr.read()
            assert len(deployment.json("agent", "list")) == 2
        finally:
            gate.send_signal(signal.SIGTERM)


def test_a_state_that_is_no_folder_is_named(deployment):
    deployment.state.write_text("")
    for words in (("up",), ("agent", "list")):
        assert "PC7001" in deployment.run(*words, code=1).err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--server", "../../elsewhere"), "--server"),
        (("--env", "NAME"), "--env"),
        ((), "two pipes"),
    ],
)
def test_a_wrapper_that_cannot_serve_says_so_and_does_not_crash(deployment, words, text):
    done = subprocess.run(
        [COMMAND, "mcp", "--agent", "shop-1", *words, "--", "cat"],
        cwd=deployment.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "PC7004" in done.stderr
    assert text in done.stderr


def test_what_changes_something_says_so_in_json_too(deployment, gate):
    deployment.create("agent", "shop-1")
    deployment.create("application", "web")
    assert deployment.json("agent", "suspend", "shop-1")["state"] == "suspended"
    assert deployment.json("agent", "resume", "shop-1")["state"] == "active"
    who = ("--application", "web")
    opened = deployment.json("session", "open", "shop-1", *who, "--user", "u", "--prompt", "p")
    closed = deployment.json("session", "close", opened["session"], *who)
    assert closed == {"session": opened["session"], "state": "closed"}


def test_a_second_gate_says_which_one_runs(deployment, gate):
    refused = deployment.run("up", code=1)
    assert "PC6003" in refused.err
    assert gate["gate"] in refused.err


def eventually(wanted, seconds=10):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if wanted():
            return True
        time.sleep(0.05)
    return False
