"""The command line as users run it: directly on the store, and through a gate that runs."""

import base64
import contextlib
import http.client
import json
import secrets
import sqlite3
import stat
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from e2e.control.led import ask, eventually, running
from needles import contents


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


def test_operators_log_in_and_are_led_through_their_life(served):
    deployment, gate = served
    vic = deployment.operator("vic", "viewer")
    now = time.time()
    token = vic.login(at=now)["token"]
    version = f"{gate['control']}/api/v1/version"
    assert ask(version, token)[0] == 200
    assert "PC2070" in vic.login(at=now, code=1).err  # the same code again
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
    written = contents(deployment.state).values()
    for secret in (old, vic.password, token, parse_qs(urlsplit(new).query)["secret"][0]):
        assert all(secret.encode() not in content for content in written)


def test_what_the_command_line_changes_at_a_running_gate_is_as_without_one(served):
    deployment, gate = served
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


def test_time_expires_an_agent_at_a_running_gate(served):
    deployment, gate = served
    deployment.create("agent", "shop-2")
    token = deployment.json("agent", "token", "shop-2")["token"]
    soon = time.time() + 1
    with contextlib.closing(sqlite3.connect(deployment.state / "portcullis.db")) as connection:
        connection.execute("UPDATE principals SET review_at = ? WHERE id = 'shop-2'", (soon,))
        connection.commit()
    assert eventually(
        lambda: deployment.json("agent", "show", "shop-2")["state"] == "expired", seconds=20
    )
    models = f"{gate['gate']}/openai/v1/chat/completions"
    body = {"model": "none", "messages": [{"role": "user", "content": "hello"}]}
    assert ask(models, token, body)[1]["error"]["code"] == "PC4001"
    assert deployment.json("agent", "review", "shop-2")["state"] == "active"


def test_what_the_state_directory_holds_is_its_owners_alone(deployment):
    deployment.create("agent", "shop-1")
    assert stat.S_IMODE(deployment.state.stat().st_mode) == 0o700
    for path in (deployment.state / "keys", deployment.state / "log"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (deployment.state / "portcullis.db", *(deployment.state / "keys").rglob("*")):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_running_gate_does_what_the_command_line_asks_and_at_once(served):
    deployment, gate = served
    agent = deployment.create("agent", "shop-3")
    deployment.create("application", "web")
    operator = deployment.operator("val", "viewer").login()
    status, found = ask(f"{gate['control']}/api/v1/principals", operator["token"])
    assert status == 200
    assert {one["id"] for one in found["principals"]} >= {"shop-3", "web", "val"}
    opened = deployment.json(
        *("session", "open", "shop-3", "--application", "web"),
        *("--user", "u", "--prompt", "where is it?", "--subject", "customer_id=C-1"),
        *("--budget", "calls=50,effects=5"),
    )
    words = (opened["session"], "--application", "web")
    shown = deployment.json("session", "show", *words)
    assert (shown["agent"], shown["left"]) == ("shop-3", {"calls": 50, "effects": 5})
    said = deployment.run("session", "show", *words).out
    assert "calls: 50 of 50 left, effects: 5 of 5 left" in said
    models = f"{gate['gate']}/openai/v1/chat/completions"
    body = {"model": "none", "messages": [{"role": "user", "content": "hello"}]}
    for token in (agent["token"], opened["token"]):
        assert ask(models, token, body)[1]["error"]["code"] != "PC2006"
    deployment.run("session", "close", *words)
    assert ask(models, opened["token"], body)[1]["error"]["code"] == "PC2006"
    deployment.run("agent", "suspend", "shop-3")
    status, refused = ask(models, agent["token"], body)
    assert (status, refused["error"]["code"]) == (403, "PC4001")
    deployment.run("operator", "suspend", "val")
    status, refused = ask(f"{gate['control']}/api/v1/version", operator["token"])
    assert (status, refused["code"]) == (403, "PC4001")
    shown = deployment.run("session", "show", *words, code=1)
    assert "PC2010" in shown.err


def test_a_link_from_the_command_line_logs_in_at_the_running_gate_once(served):
    deployment, gate = served
    link = urlsplit(deployment.json("console")["url"])
    form = urlencode({"once": parse_qs(link.fragment)["once"][0]}).encode()
    answers = []
    for _ in range(2):
        connection = http.client.HTTPConnection("127.0.0.1", link.port, timeout=10)
        headers = {
            "host": link.netloc,
            "origin": f"{link.scheme}://{link.netloc}",
            "content-type": "application/x-www-form-urlencoded",
        }
        connection.request("POST", "/login/link", form, headers)
        answer = connection.getresponse()
        answers.append((answer.status, bool(answer.getheader("set-cookie"))))
        connection.close()
    assert link.netloc == f"portcullis.localhost:{urlsplit(gate['control']).port}"
    assert answers == [(303, True), (401, False)]
