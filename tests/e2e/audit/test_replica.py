"""A log survives elsewhere: shipped by the gate, locked in S3, mirrored, and verified there."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from audit_logs import Log, event, shipper_to
from objectstores import S3Server, s3_server
from portcullis.audit.cosignature import Cosigner
from portcullis.audit.note import parse_note
from portcullis.audit.query import records
from portcullis.audit.replica.source import download, folder
from portcullis.audit.verify import load_verifier, own_verifier, verify
from portcullis.cli import exit_code
from portcullis.cli.audit import app
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.demo.serve import serving
from portcullis.demo.stage import _operator
from portcullis.store.objects import StoreSettings, open_objects
from standins import eventually, staged
from tsa import authority

SHIPPER = str(Path(__file__).with_name("shipper.py"))


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def portcullis(*arguments: object, s3: S3Server | None = None) -> tuple[int, list[dict]]:
    """Run a command in this process: its exit code, and the JSON lines it printed."""
    environ = {}
    if s3 is not None:
        environ = {
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
            "AWS_ENDPOINT_URL": s3.url,
            "AWS_REGION": "us-east-1",
        }
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], env=environ)
    code = exit_code(done.exception) if isinstance(done.exception, Problem) else done.exit_code
    return code, [json.loads(line) for line in done.stdout.splitlines()]


def replica(settings: StoreSettings, folder: Path, **more: object) -> dict[str, object]:
    """The section of the configuration that ships to a bucket."""
    (folder / "s3.key").write_text(settings.access_key)
    (folder / "s3.secret").write_text(settings.secret_key)
    for name in ("s3.key", "s3.secret"):
        (folder / name).chmod(0o600)
    return {
        "name": "far",
        "store": settings.url,
        "region": settings.region,
        "endpoint": settings.endpoint,
        "access_key": f"file:{folder}/s3.key",
        "secret_key": f"file:{folder}/s3.secret",
        "every_seconds": 0.1,
        **more,
    }


async def viewer(stage) -> str:
    """A token for /metrics."""
    principals, who = stage.gate.services.principals("demo"), (PrincipalKind.OPERATOR, "vic")
    await principals.create(_operator(), *who, owner="vic", roles=("viewer",))
    return (await principals.mint(_operator(), *who)).token


async def figures(stage, token: str) -> dict[str, float]:
    """What /metrics says of the replica and the timestamps."""
    headers = {"authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers) as client:
        text = (await client.get(f"{stage.gate.control_url}/metrics")).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("portcullis_a")]
    return {name: float(value) for name, value in lines}


LAG = "audit.replica.lag"


def stamped(directory: Path) -> int:
    """How many entries there is a token over."""
    return max((int(path.name[:19]) for path in directory.glob("timestamps/*.tsr")), default=0)


async def level(stage, token: str, seconds: float = 10) -> None:
    """Wait until all that was published is there."""
    for _ in range(round(seconds / 0.05)):
        found = await figures(stage, token)
        if found['portcullis_audit_replica_lag_entries{replica="far"}'] == 0:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(found)


@pytest.mark.anyio
async def test_a_gate_ships_its_log_and_timestamps_locked_and_anyone_verifies_them(
    s3: S3Server, tmp_path: Path
) -> None:
    settings = s3.bucket("gate", "logs")
    with authority(tmp_path / "tsa") as tsa:
        audit = {
            "checkpoint_seconds": 0.05,
            "replicate": [replica(settings, tmp_path, retention_days=30)],
            "timestamps": {
                "every_minutes": 0.01,
                "authorities": [{"name": "near", "url": tsa.url, "certificates": str(tsa.roots)}],
            },
        }
        async with staged(tmp_path / "gate", settings={"audit": audit}) as stage:
            token = await viewer(stage)
            directory = stage.gate.audit_directory
            for number in range(300):
                stage.gate.services.recorder.enqueue(event(f"{number}"))
            await eventually(stage, lambda e: e.id == "299")
            for _ in range(600):
                if stamped(directory) >= 300:
                    break
                await asyncio.sleep(0.05)
            await level(stage, token)
            found = await figures(stage, token)
        assert found['portcullis_audit_replica_lag_seconds{replica="far"}'] == 0
        assert found['portcullis_audit_replica_differs{replica="far"}'] == 0
        assert found['portcullis_audit_timestamp_age_seconds{authority="near"}'] < 5
        for key in ("logs/tile/entries/000", "logs/tile/0/000"):
            mode, until = s3.locked_until("gate", key)
            assert mode == "COMPLIANCE"
            assert (until - datetime.now(UTC)).total_seconds() == pytest.approx(30 * 86_400, abs=60)
        version = s3.client.head_object(Bucket="gate", Key="logs/tile/entries/000")["VersionId"]
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.client.delete_object(Bucket="gate", Key="logs/tile/entries/000", VersionId=version)
        key = directory / "log.vkey"
        code, (report,) = portcullis(
            "verify", settings.url, "--key", key, "--tsa", tsa.roots, s3=s3
        )
        assert code == 0, report
        assert report["size"] >= 300
        assert report["existed"]["size"] >= 300
        assert all(not one["reason"] for one in report["timestamps"])
        s3.client.put_object(Bucket="gate", Key="logs/tile/entries/000", Body=b"another")
        code, (report,) = portcullis("verify", settings.url, "--key", key, s3=s3)
        assert code == 5
        assert report["integrity"] == "failed"
        to, state = tmp_path / "mirror", tmp_path / "mirror-state"
        code, said = portcullis(
            *("mirror", "--from", settings.url, "--to", to, "--key", key, "--state", state),
            *("--name", "mirror.example", "--once"),
            s3=s3,
        )
        assert code == 5
        assert said[-1]["code"] == "PC6005"
        assert not (to / "checkpoint").exists()


@pytest.mark.anyio
async def test_a_store_that_is_away_is_told_in_the_log_and_caught_up_with(tmp_path: Path) -> None:
    far, gone = tmp_path / "far", tmp_path / "gone"
    section = {"name": "far", "store": far.as_uri(), "every_seconds": 0.1, "lag_seconds": 0.5}
    audit = {"checkpoint_seconds": 0.05, "replicate": [section]}
    async with staged(tmp_path / "gate", settings={"audit": audit}) as stage:
        token = await viewer(stage)
        await level(stage, token)
        far.rename(gone)
        far.write_text("no folder")
        await stage.register(PrincipalKind.AGENT, "late-one")
        raised = await eventually(stage, lambda e: e.method == LAG and e.verdict == "error")
        assert raised.parameters["replica"] == "far"
        found = await figures(stage, token)
        assert found['portcullis_audit_replica_lag_entries{replica="far"}'] > 0
        assert found['portcullis_audit_replica_lag_seconds{replica="far"}'] > 0.5
        assert found['portcullis_audit_replica_failures{replica="far"}'] > 0
        far.unlink()
        gone.rename(far)
        over = await eventually(stage, lambda e: e.method == LAG and e.verdict == "allow")
        assert over.parameters["state"] == "cleared"
        await level(stage, token)
        directory = stage.gate.audit_directory
    report = verify(far, own_verifier(directory))
    assert report.ok, report.reasons
    ids = {record.event.id for record in records(far, own_verifier(directory))}
    assert {raised.id, over.id} <= ids


@pytest.mark.anyio
async def test_another_object_in_a_replica_is_told_in_the_log_and_stays(tmp_path: Path) -> None:
    far = tmp_path / "far"
    section = {"name": "far", "store": far.as_uri(), "every_seconds": 0.1}
    (far / "tile" / "entries").mkdir(parents=True)
    (far / "tile" / "entries" / "000").write_bytes(b"forged")
    audit = {"checkpoint_seconds": 0.05, "replicate": [section]}
    async with staged(tmp_path / "gate", settings={"audit": audit}) as stage:
        token = await viewer(stage)
        for number in range(300):
            stage.gate.services.recorder.enqueue(event(f"{number}"))
        told = await eventually(stage, lambda e: e.method == "audit.replica.differs")
        found = await figures(stage, token)
    assert told.code == "PC6020"
    assert "tile/entries/000" in told.parameters["reason"]
    assert found['portcullis_audit_replica_differs{replica="far"}'] == 1
    assert (far / "tile" / "entries" / "000").read_bytes() == b"forged"


def test_kills_while_shipping_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    root, far = tmp_path / "near", tmp_path / "far"
    root.mkdir()
    log = Log(root)
    environ = {**os.environ, "PYTHONPATH": str(Path(SHIPPER).parents[2])}
    for turn in range(3):
        writer = subprocess.Popen(
            [sys.executable, SHIPPER, str(root), str(far), str(1 + turn * 100_000)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
        )
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(random.uniform(0.05, 0.3))
        writer.kill()
        rest, errors = writer.communicate(timeout=20)
        assert writer.returncode == -signal.SIGKILL, errors
        assert not errors
        said = first + rest
        acknowledged |= {line.decode() for line in said[: said.rfind(b"\n") + 1].split()}
        if (far / "checkpoint").exists():
            report = verify(far, log.verifier)
            assert report.ok, report.reasons
    log.open().close()
    shipper_to(far, log, print).step()
    assert len(acknowledged) > 5
    assert acknowledged <= {record.event.id for record in records(far, log.verifier)}


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_a_mirror_on_the_command_line_follows_growth_and_refuses_the_way_back(
    log: Log, tmp_path: Path
) -> None:
    to, state = tmp_path / "mirror", tmp_path / "mirror-state"
    log.grow(300)
    shutil.copytree(log.directory, tmp_path / "earlier")
    arguments = (
        *("mirror", "--to", to, "--key", log.directory / "log.vkey", "--state", state),
        *("--name", "mirror.example", "--once", "--from"),
    )
    code, (who, done) = portcullis(*arguments, log.directory)
    assert code == 0
    assert (done["ok"], done["size"], done["added"]) == (True, 300, 300)
    log.grow(30, "b")
    code, (_, done) = portcullis(*arguments, log.directory.as_uri())
    assert (code, done["size"], done["added"]) == (0, 330, 30)
    note = (to / "checkpoint").read_bytes()
    assert Cosigner.parse(who["vkey"]).cosigned(parse_note(note)) == done["cosigned_at"]
    assert verify(to, log.verifier).ok
    code, said = portcullis(*arguments, tmp_path / "earlier")
    assert code == 5
    assert said[-1]["ok"] is False
    log.begin_anew()
    log.grow(500, "another history")
    code, said = portcullis(*arguments, log.directory)
    assert (code, said[-1]["code"]) == (5, "PC6005")
    assert (to / "checkpoint").read_bytes() == note
    assert verify(to, log.verifier).size == 330


def test_a_mirror_runs_on_until_its_source_goes_back(log: Log, tmp_path: Path) -> None:
    log.grow(10)
    key, parked = (log.directory / "log.vkey").read_text().strip(), tmp_path / "parked"
    shutil.copytree(log.directory, tmp_path / "earlier")
    (log.directory / "checkpoint").rename(parked)
    command = ["mirror", "--from", log.directory, "--to", tmp_path / "to", "--key", key]
    command += ["--state", tmp_path / "state", "--name", "m.example", "--every", "0.1", "--json"]
    program = "from portcullis.cli import main; main()"
    running = subprocess.Popen(
        [sys.executable, "-c", program, "audit", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    lines = map(json.loads, running.stdout)
    try:
        assert next(lines)["vkey"].startswith("m.example+")
        waiting = next(lines)
        assert (waiting["ok"], waiting["code"]) == (False, "PC7005")
        parked.rename(log.directory / "checkpoint")
        assert next(line for line in lines if line["ok"])["size"] == 10
        log.grow(10, "b")
        assert next(line for line in lines if line.get("added"))["size"] == 20
        shutil.rmtree(log.directory)
        (tmp_path / "earlier").rename(log.directory)
        assert next(line for line in lines if line.get("code") == "PC6005")["ok"] is False
        assert running.wait(10) == 5
    finally:
        running.kill()
        running.communicate()
    assert verify(tmp_path / "to", load_verifier(key)).size == 20


@pytest.mark.anyio
async def test_a_mirror_and_a_verifier_read_a_log_over_http(log: Log, tmp_path: Path) -> None:
    log.grow(600)
    key = log.directory / "log.vkey"
    async with serving(files(log.directory)) as url:
        run = asyncio.to_thread
        code, (_, done) = await run(
            portcullis,
            *("mirror", "--from", url, "--to", tmp_path / "to", "--key", key),
            *("--state", tmp_path / "state", "--name", "mirror.example", "--once"),
        )
        assert code == 0
        assert done["size"] == 600
        code, (report,) = await run(portcullis, "verify", url, "--key", key)
        assert (code, report["integrity"], report["size"]) == (0, "passed", 600)
        (log.directory / "tile" / "entries" / "001").unlink()
        code, (report,) = await run(portcullis, "verify", url, "--key", key)
        assert code == 5
    assert verify(tmp_path / "to", log.verifier).ok


def test_a_mirror_with_temporary_keys_locks_what_it_stores(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.grow(300)
    command = ("mirror", "--from", log.directory, "--to", "s3://far/logs", "--once")
    command += ("--key", log.directory / "log.vkey", "--state", tmp_path / "state")
    command += ("--name", "mirror.example", "--retention-days", 7)
    with s3_server() as s3:
        _, keys = s3.guarded(s3.bucket("far", "logs"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_key)
        monkeypatch.setenv("AWS_ENDPOINT_URL", keys.endpoint)
        monkeypatch.setenv("AWS_REGION", keys.region)
        assert portcullis(*command)[1][-1]["code"] == "PC6021"
        monkeypatch.setenv("AWS_SESSION_TOKEN", keys.session_token)
        code, (_, done) = portcullis(*command)
        assert (code, done["size"]) == (0, 300)
        found = open_objects(keys).head("tile/entries/000")
        assert found is not None
        assert found.retention is not None
        assert found.retention.mode == "compliance"


def disk(folder: Path) -> int:
    """How many bytes of the disk the files of a folder take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def test_a_log_that_is_elsewhere_cannot_fill_the_disk_of_who_verifies_it(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.grow(2_000)
    url, room = log.directory.as_uri(), tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    command = ["verify", url, "--key", str(log.directory / "log.vkey"), "--json"]
    for most in (1, 4096, 100_000):
        asked = CliRunner().invoke(app, [*command, "--max-bytes", str(most)])
        assert isinstance(asked.exception, Problem)
        assert asked.exception.code == "PC6023"
        assert str(most) in asked.exception.detail
        assert "--max-bytes" in asked.exception.hint
        assert not asked.stdout
        assert list(room.iterdir()) == []
    code, (report,) = portcullis(*command[:-1], "--max-bytes", 10**6)
    assert (code, report["size"]) == (0, 2_000)
    usage = shutil.disk_usage(room)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=200_000))
    asked = CliRunner().invoke(app, command)
    assert "PC6023" in str(asked.exception)
    assert "100000 bytes" in str(asked.exception)


def test_a_copy_takes_no_more_of_the_disk_than_it_may(log: Log, tmp_path: Path) -> None:
    log.grow(2_000)
    to = tmp_path / "copy"
    to.mkdir()
    with pytest.raises(Problem, match="PC6023"):
        download(folder(log.directory), log.verifier, to, most=100_000)
    assert 50_000 < disk(to) <= 100_000


def files(directory: Path):
    """An ASGI application that serves a folder."""

    async def app(scope, receive, send) -> None:
        place = directory / scope["path"].lstrip("/")
        status, body = (200, place.read_bytes()) if place.is_file() else (404, b"")
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app
