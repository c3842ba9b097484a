"""What a command says when the machine is against it: a code and a hint, whatever happened."""

import base64
import json
import os
import socket
import sqlite3
import sys

import pytest
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from portcullis import cli
from portcullis.bootstrap import GATE_FILE, local_operator, started
from portcullis.cli import doctor as doctor_module
from portcullis.cli.operate import running_gate
from portcullis.config import load
from portcullis.core.errors import Problem


@pytest.fixture
def file(tmp_path):
    found = tmp_path / "portcullis.yaml"
    found.write_text(f"trust_domain: example.test\nstate: {tmp_path / 'state'}\n")
    (tmp_path / "state" / "ca").mkdir(parents=True, mode=0o700)
    (tmp_path / "state" / "keys").mkdir(mode=0o700)
    (tmp_path / "state").chmod(0o700)
    return found


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            OperationalError("UPDATE x", {}, sqlite3.OperationalError("database is locked")),
            "PC7005",
            "database is locked",
        ),
        (OSError(28, "No space left on device", "/x/y"), "PC7005", "/x/y: No space left on device"),
        (ValueError("a secret"), "PC9002", "ValueError"),
    ],
)
def test_no_command_ends_in_a_traceback(monkeypatch, capsys, error, code, said):
    def fail(wanted):
        raise error

    monkeypatch.setattr(sys, "argv", ["portcullis", "agent", "list"])
    monkeypatch.setattr(cli, "_app", lambda wanted: lambda: fail(wanted))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert f"error: {code} " in told
    assert said in told
    assert "hint: " in told
    assert "a secret" not in told


def test_the_doctor_looks_at_everything_even_when_the_authority_is_damaged(file, tmp_path):
    for name, content in (
        ("ca/state.json", b"{"),
        ("portcullis.db", b"x" * 4096),
        (GATE_FILE, b""),
    ):
        (tmp_path / "state" / name).write_bytes(content)
        (tmp_path / "state" / name).chmod(0o600)
    app = doctor_module.typer.Typer()
    app.command()(doctor_module.doctor)
    done = CliRunner().invoke(app, ["--json", "--config", str(file)])
    assert done.exit_code == 1
    found = {one["what"]: one for one in json.loads(done.stdout)["findings"]}
    for what in ("trust domain", "database", "gate"):
        assert not found[what]["ok"]
        assert found[what]["do"]
    assert found["upstreams"]["found"] == "none"


def test_a_process_that_got_a_dead_gates_number_is_not_taken_for_the_gate(file, tmp_path):
    place = tmp_path / "state" / GATE_FILE
    said = {"control": "http://127.0.0.1:1", "gate": "http://127.0.0.1:2", "pid": os.getpid()}
    place.write_text(json.dumps(said | {"started": started(os.getpid())}))
    assert running_gate(load(file)) is not None
    place.write_text(json.dumps(said | {"started": "1"}))
    assert running_gate(load(file)) is None


def test_half_a_gate_file_says_what_to_do(file, tmp_path):
    (tmp_path / "state" / GATE_FILE).write_text("")
    with pytest.raises(Problem) as refused:
        running_gate(load(file))
    assert (refused.value.code, "remove that file" in refused.value.hint) == ("PC7001", True)


def test_the_operator_in_the_log_is_the_user_and_not_what_the_environment_says(monkeypatch):
    before = local_operator()
    for name in ("LOGNAME", "USER"):
        monkeypatch.setenv(name, "somebody-else")
    assert local_operator() == before
    monkeypatch.setattr(os, "geteuid", lambda: 2**31 - 7)  # a container's user without a name
    assert local_operator() == f"local-{2**31 - 7}"


def test_the_doctor_looks_at_incoming_webhooks_and_at_the_length_of_keys(file, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("CHAT", f"http://127.0.0.1:{port}/services/{'x' * 20}")
        monkeypatch.setenv("GONE", f"http://127.0.0.1:1/services/{'y' * 20}")
        monkeypatch.setenv("SHORT", "k" * 23)
        monkeypatch.setenv("LONG", "whsec_" + base64.b64encode(b"k" * 24).decode())
        hook = f"{{kind: webhook, url: 'http://127.0.0.1:{port}/', secrets: [env:%s]}}"
        with file.open("a") as more:
            more.write("notifications:\n  chat: {kind: slack, webhook: env:CHAT}\n")
            more.write("  gone: {kind: slack, webhook: env:GONE}\n")
            more.write(f"  short: {hook % 'SHORT'}\n  long: {hook % 'LONG'}\n")
            more.write(f"  there: {{kind: syslog, address: '127.0.0.1:{port}', tls: false}}\n")
            more.write("  here: {kind: syslog, socket: log.sock}\n")
            more.write("  pager: {kind: pagerduty, routing_key: env:NO_KEY,")
            more.write(f" url: 'http://127.0.0.1:{port}/'}}\n")
        found = {one.what: one for one in doctor_module._deployment(load(file))}
    assert found["channel chat"].ok
    assert (found["channel there"].ok, found["channel here"].ok) == (True, False)
    assert (found["channel pager"].ok, found["secret of notifications.pager"].ok) == (True, False)
    assert not found["channel gone"].ok
    assert "services" not in str(found)  # the address is the secret
    assert found["key of notifications.short"].found == "env:SHORT is 23 bytes, less than 24"
    assert "key of notifications.long" not in found
