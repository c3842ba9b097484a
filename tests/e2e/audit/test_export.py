"""Events leave a real gate: all of them, whatever dies, and the log says when they do not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from typer.testing import CliRunner

from exported import event
from portcullis.audit.log import open_log
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.cli.audit import app
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.demo.stage import _operator
from receivers import HttpReceiver, http_receiver, server_tls, syslog_receiver
from sealers import sealer_at
from standins import Stage, agent_token, eventually, mcp_client, staged

pytestmark = pytest.mark.anyio

COMMAND = Path(sys.executable).parent / "portcullis"
SECRET = {"PORTCULLIS_TEST_SECRET": "a secret of this test alone"}


def webhook(url: str, **settings: Any) -> dict[str, Any]:
    reference = f"env:{next(iter(SECRET))}"
    return {"name": "siem", "kind": "webhook", "url": url, "secret": reference, **settings}


def numbers(receiver: HttpReceiver) -> list[int]:
    return [json.loads(line)["index"] for line in receiver.lines]


async def until(wanted: Callable[[], bool], seconds: float = 15) -> None:
    for _ in range(round(seconds / 0.02)):
        if wanted():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came")


class Daemon:
    """``portcullis up`` in a process of its own."""

    def __init__(self, folder: Path, exporters: list[dict[str, Any]]) -> None:
        self.folder = folder
        self.log = folder / "portcullis-state/log"
        listen = {"gate": "127.0.0.1:0", "control": "127.0.0.1:0", "mtls": None, "workload": None}
        written = {
            "trust_domain": "example.org",
            "listen": listen,
            "audit": {"exporters": exporters},
        }
        (folder / "portcullis.yaml").write_text(yaml.safe_dump(written))
        (folder / "policy").mkdir()
        (folder / "policy/main.yaml").write_text("version: 1\nroles: {}\nagents: {}\n")
        self.process: asyncio.subprocess.Process

    async def start(self) -> str:
        place = self.folder / "portcullis-state/gate.json"
        place.unlink(missing_ok=True)
        self.process = await asyncio.create_subprocess_exec(
            COMMAND,
            "up",
            cwd=self.folder,
            env={**os.environ, **SECRET},
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until(place.exists, 30)
        await asyncio.sleep(0.05)
        return json.loads(place.read_text())["gate"]

    async def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        await self.process.wait()

    def written(self) -> int:
        return sum(1 for _ in records(self.log, own_verifier(self.log)))


async def viewer(stage: Stage) -> dict[str, str]:
    principals, who = stage.gate.services.principals("demo"), (PrincipalKind.OPERATOR, "vic")
    await principals.create(_operator(), *who, owner="vic", roles=("viewer",))
    return {"authorization": f"Bearer {(await principals.mint(_operator(), *who)).token}"}


async def refusals(url: str, count: int) -> None:
    """Each is an event: a request without a credential."""
    async with aiohttp.ClientSession() as http:
        for _ in range(count):
            async with http.post(f"{url}/openai/v1/chat/completions", json={}) as answer:
                await answer.read()


async def test_a_gate_that_is_killed_while_it_delivers_loses_no_event(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        daemon = Daemon(tmp_path, [webhook(receiver.url)])
        url = await daemon.start()
        deaths: list[int] = []

        def judge(_: web.Request, body: bytes) -> web.Response | None:
            if len(body.splitlines()) > 4 and not deaths:
                daemon.process.kill()  # before the acknowledgement
                deaths.append(len(receiver.lines))
            return None

        receiver.judge = judge
        with pytest.raises((aiohttp.ClientError, OSError)):
            await refusals(url, 100_000)
        await daemon.process.wait()
        assert deaths
        receiver.judge = lambda *_: None
        await refusals(await daemon.start(), 5)
        await until(lambda: len(set(numbers(receiver))) >= daemon.written())
        await daemon.end(signal.SIGTERM)
        found = numbers(receiver)
        log = list(records(daemon.log, own_verifier(daemon.log)))
        assert set(found) >= {*range(len(log) - 5)}
        assert len(found) > len(set(found))  # what was not acknowledged came again
        sent = {json.loads(line)["index"]: line for line in receiver.lines}
        for record in log[: len(sent)]:
            assert sent[record.index] == b'{"index":%d,"event":%s}' % (record.index, record.entry)


async def test_a_gate_stops_at_once_while_a_peer_says_nothing_and_loses_nothing(
    tmp_path: Path,
) -> None:
    taken: list[bytes] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await reader.read())
        await released.wait()
        writer.close()

    released = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    exporter = {"name": "siem", "kind": "syslog", "address": address, "tls": False}
    daemon = Daemon(tmp_path, [exporter])
    await refusals(await daemon.start(), 3)
    await until(lambda: bool(taken))
    began = time.monotonic()
    await daemon.end(signal.SIGTERM)
    assert time.monotonic() - began < 4  # with room for a busy machine
    released.set()
    before = len(taken)
    await daemon.start()
    await until(lambda: b"".join(taken[before:]).count(b"CEF:0") >= daemon.written())
    await daemon.end(signal.SIGTERM)
    server.close()


async def test_every_kind_of_exporter_gets_what_an_agent_did_and_says_when_it_is_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRET.items():
        monkeypatch.setenv(name, value)
    tls, authority = server_tls(tmp_path)
    async with (
        http_receiver(tls) as hook,
        http_receiver() as collector,
        http_receiver() as decisions,
        syslog_receiver(tls) as syslog,
    ):
        exporters = [
            webhook(
                hook.url,
                ca=str(authority),
                format="ocsf",
                types=["tool_call"],
                behind_seconds=0.1,
            ),
            {"name": "otel", "kind": "otlp", "url": collector.url},
            {"name": "opa", "kind": "opa", "url": decisions.url},
            {
                "name": "syslog",
                "kind": "syslog",
                "address": f"127.0.0.1:{syslog.port}",
                "ca": str(authority),
            },
            {"name": "lines", "kind": "file", "path": "out.jsonl"},
        ]
        settings = {"audit": {"exporters": exporters, "checkpoint_seconds": 0.05}}
        hook.judge = lambda *_: web.Response(status=503)
        async with staged(tmp_path, settings=settings) as stage:
            token = await agent_token(stage)
            async with mcp_client(stage, "orders", token) as client:
                await client.call_tool("search", {"customer_id": "C-1001"})
            call = await eventually(stage, lambda one: one.type == "tool_call")
            behind = await eventually(stage, lambda one: one.method == "audit.export.behind")
            assert (behind.type, behind.parameters["exporter"]) == ("admin", "siem")
            hook.judge = lambda *_: None
            await eventually(stage, lambda one: one.method == "audit.export.recovered")
            lines = tmp_path / "out.jsonl"

            def seen() -> list[bool]:
                bodies = [ExportLogsServiceRequest.FromString(body) for _, body in collector.taken]
                logs = [one for body in bodies for one in body.resource_logs[0].scope_logs]
                leaves = [record.body.string_value for one in logs for record in one.log_records]
                return [
                    any(json.loads(x)["metadata"]["uid"] == call.id for x in hook.lines),
                    any(json.loads(x)["id"] == call.id for x in leaves),
                    any(f"externalId={call.id} ".encode() in x for x in syslog.messages),
                    lines.exists() and call.id in lines.read_text(),
                    any(one["decision_id"] == call.id for one in decided()),
                ]

            def decided() -> list[dict[str, Any]]:
                return [x for _, body in decisions.taken for x in json.loads(body)]

            await until(lambda: all(seen()))
            shown = json.loads(hook.lines[0])
            assert (shown["class_uid"], shown["metadata"]["version"]) == (6003, "1.8.0")
            assert {json.loads(x)["metadata"]["event_code"] for x in hook.lines} == {"tool_call"}
            assert syslog.messages[0].startswith(b"<")
            assert all(head["content-encoding"] == "gzip" for head, _ in decisions.taken)
            assert {one["bundles"]["portcullis"]["revision"] for one in decided()} == {call.policy}
            async with (
                aiohttp.ClientSession(headers=await viewer(stage)) as http,
                http.get(f"{stage.gate.control_url}/metrics") as answer,
            ):
                figures = await answer.text()
            for name in ("siem", "otel", "opa", "syslog", "lines"):
                assert f'portcullis_audit_export_lag_entries{{exporter="{name}"}}' in figures
                assert f'portcullis_audit_export_dead_letters{{exporter="{name}"}} 0.0' in figures


def run(*words: Any) -> Any:
    return CliRunner().invoke(app, ["export", *map(str, words)])


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of three events, and a file as the only exporter."""
    for name, value in SECRET.items():
        monkeypatch.setenv(name, value)
    with open_log(
        tmp_path / "state/log", tmp_path / "keys", "example.org/gate", sealer=sealer_at(tmp_path)
    ) as log:
        for number in range(3):
            log.append_now(event(number, verdict="deny" if number == 1 else "allow"))
    exporters = [
        {"name": "lines", "kind": "file", "path": "out.jsonl", "format": "cef"},
        webhook("http://127.0.0.1:1/in"),
    ]
    config = {"trust_domain": "example.org", "state": "state", "audit": {"exporters": exporters}}
    (tmp_path / "portcullis.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def test_a_command_delivers_what_is_owed_and_again_from_where_it_is_told(deployment: Path) -> None:
    config = ("-c", deployment / "portcullis.yaml", "--json")
    first = run("--name", "lines", *config)
    assert json.loads(first.stdout) == {
        "exporter": "lines", "log": "gate", "delivered": 3, "dead": 0,
    }  # fmt: skip
    assert json.loads(run("--name", "lines", *config).stdout)["delivered"] == 0
    assert json.loads(run("--name", "lines", "--from", 2, *config).stdout)["delivered"] == 1
    lines = (deployment / "out.jsonl").read_text().splitlines()
    assert [line.partition("cn1=")[2][0] for line in lines] == ["0", "1", "2", "2"]
    cursor = json.loads((deployment / "state/export/gate/lines.json").read_text())
    assert cursor["next"] == 3


def test_a_peer_that_is_away_is_an_error_and_moves_nothing(
    deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portcullis.cli.audit_export._ATTEMPTS", 1)
    started = time.monotonic()
    problem = run("--name", "siem", "-c", deployment / "portcullis.yaml").exception
    assert isinstance(problem, Problem)
    assert problem.code == "PC6031"
    assert "refused" in problem.detail
    assert time.monotonic() - started < 5
    assert not (deployment / "state/export/gate/siem.json").exists()


def test_the_log_is_printed_in_every_shape_for_a_pipe(deployment: Path) -> None:
    folder = deployment / "state/log"
    config = ("-c", deployment / "portcullis.yaml")
    plain = [json.loads(line) for line in run(folder, "--format", "json").stdout.splitlines()]
    assert [one["index"] for one in plain] == [0, 1, 2]
    ocsf = [
        json.loads(x) for x in run("--format", "ocsf", *config, "--from", 1).stdout.splitlines()
    ]
    assert [one["metadata"]["sequence"] for one in ocsf] == [1, 2]
    assert run("--format", "cef", *config).stdout.count("CEF:0|Portcullis|") == 3


@pytest.mark.parametrize(
    "words", [(), ("--name", "lines", "--format", "cef"), ("--format", "leef"), ("--name", "no")]
)
def test_a_mistyped_export_says_so(deployment: Path, words: tuple[str, ...]) -> None:
    problem = run(*words, "-c", deployment / "portcullis.yaml").exception
    assert isinstance(problem, Problem)
    assert problem.code == "PC7004"


def test_authorities_that_are_not_there_are_named_before_anything_is_sent(
    deployment: Path,
) -> None:
    path = deployment / "portcullis.yaml"
    config = yaml.safe_load(path.read_text())
    config["audit"]["exporters"][1]["ca"] = "missing.pem"
    path.write_text(yaml.safe_dump(config))
    problem = run("--name", "lines", "-c", path).exception
    assert isinstance(problem, Problem)
    assert (problem.code, "siem: ca" in problem.detail) == ("PC7001", True)
