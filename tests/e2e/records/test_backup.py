"""If these fail, a backup is not whole, or putting it back lets in whom somebody had put out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from click.testing import CliRunner as ClickRunner
from sqlalchemy import make_url
from typer.testing import CliRunner

from portcullis import bootstrap
from portcullis.audit.query import records as recorded
from portcullis.audit.recipients import make_identity
from portcullis.audit.verify import own_verifier, read_head, verify
from portcullis.bootstrap import founded, own_log
from portcullis.bootstrap.backup import _staged
from portcullis.bootstrap.fence import unused_epoch
from portcullis.cli import command
from portcullis.cli.backup import _await_head, app
from portcullis.cli.operate import operations
from portcullis.config import Config, load
from portcullis.config.places import GATE, audit_directory, logs_of
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State, Verb
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from postgres_servers import needs_postgresql
from standins import AGENT, SUBJECT, Stage, agent_token, mcp_client, staged

pytestmark = pytest.mark.anyio

WHO = "subject:customer_id=C-1001"
CUT = "cut-off-later"
REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def said(*words: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refused(*words: object) -> str:
    with pytest.raises(Problem) as caught:
        said(*words)
    return caught.value.code


def keyed(folder: Path, name: str = "reader") -> Path:
    """An identity; beside it the file of its public key."""
    (folder / f"{name}.pub").write_text(make_identity(folder / f"{name}.pem"))
    return folder / f"{name}.pem"


def created(config: Path, target: Path, *more: object) -> dict[str, Any]:
    public = config.parent / "reader.pub"
    words = ("--to", target, "--encrypt-to", public, "--reason", "nightly", "--config", config)
    return said("create", *words, *more)


def elsewhere(config: Path, folder: Path, **sections: Any) -> Path:
    """The same configuration for another machine: its state is below ``folder``."""
    folder.mkdir()
    text = yaml.safe_load(config.read_text()) | {"state": "state"} | sections
    text["policy"] = str(load(config).policy)
    (folder / "portcullis.yaml").write_text(yaml.safe_dump(text))
    return folder / "portcullis.yaml"


def done_in(config: Config, log: str) -> list[str]:
    place = audit_directory(config, log)
    return [one.event.method for one in recorded(place, own_verifier(place))]


async def test_a_backup_of_a_running_gate_brings_back_nobody_who_was_put_out_since(
    tmp_path: Path,
) -> None:
    identity, file = keyed(tmp_path), tmp_path / "the.backup"
    async with staged(tmp_path) as stage:
        token = await agent_token(stage)
        await stage.register(PrincipalKind.AGENT, CUT)
        async with mcp_client(stage, "orders", token) as orders:
            called = {"customer_id": "C-1001"}
            assert not (await orders.call_tool("search", called)).is_error
        made = await asyncio.to_thread(created, stage.config, file, "--with-root-key")
        assert made["bytes"] == file.stat().st_size
        log = stage.gate.audit_directory
        found = await asyncio.to_thread(
            said, "verify", file, "--identity", identity, "--key", log / "log.vkey"
        )
        assert (found["id"], found["logs"].keys()) == (made["id"], {"gate"})
        methods = [one.method for one in stage.events() if one.method.startswith("backup.")]
        assert methods == ["backup.create", "backup.created"]
        await asyncio.to_thread(put_out, load(stage.config))

        # What then burns is put back on two other machines, one of which has a replica.
        await asyncio.to_thread(_await_head, log, stage.gate.services.recorder.size)
        shutil.copytree(log, tmp_path / "replica")
        with_replica = elsewhere(stage.config, tmp_path / "one")
        words = ("restore", file, "--identity", identity, "--config", with_replica)
        told = await asyncio.to_thread(said, *words, "--newer-log", tmp_path / "replica")
        assert told["done_again"] == {
            "kills.kill": 1,
            "audit.erase": 1,
            "principals.revoke": 1,
        }
        without = elsewhere(stage.config, tmp_path / "two")
        words = ("restore", file, "--identity", identity, "--config", without)
        assert await asyncio.to_thread(refused, *words) == "PC7004"
        blind = await asyncio.to_thread(said, *words, "--without-newer-log", "--memories-too")
        assert (blind["done_again"], blind["memories"]) == ({}, None)
        assert told["memories"] == "public", "nothing else was on record"
        assert await asyncio.to_thread(refused, *words, "--without-newer-log") == "PC6034"
        assert erased(load(with_replica)), "its keys came back"
        assert not erased(load(without)), "nobody could know: then the newer log is of no use"
        await nobody_gets_in_until_an_operator_says_so(stage, load(with_replica), token)
    config = load(with_replica)
    assert all(verify(place, own_verifier(place)).ok for place in logs_of(config).values())
    kept = [one for one in done_in(config, GATE) if one != "alert.raised"]  # one rule: by night
    assert kept[-1] == "backup.create", "the old log stays as it was"
    assert done_in(config, own_log(config))[:2] == ["log.begin", "backup.restored"]


def put_out(config: Config) -> None:
    """What happens after the backup."""
    with operations(config) as work:
        work.kill("agent", CUT, "leaked")
        work.erase(WHO, "request 7")
        work.change(PrincipalKind.APPLICATION, "helpdesk", Verb.REVOKE)


def erased(config: Config) -> bool:
    """Whether no key is left under which the subject could be found."""
    with contextlib.ExitStack() as stack:
        services = founded(stack, config, own_log(config))
        assert services.privacy_parts is not None
        plan = services.privacy_parts.stores.plan(WHO, services.privacy_parts.book)
        return not plan.keys  # type: ignore[union-attr]


async def nobody_gets_in_until_an_operator_says_so(
    stage: Stage, config: Config, token: str
) -> None:
    async with bootstrap.running_gate(config) as gate:
        restored = Stage(gate, stage.config, stage.model, stage.records, ())
        with pytest.raises(Problem, match="PC4001"):
            await restored.register(PrincipalKind.APPLICATION, "another-desk")
        assert await called(restored, token) in REFUSED
        words = ("--all", "--undo", "--reason", "looked at", "--config")
        place = config.state.parent / "portcullis.yaml"
        done = await asyncio.to_thread(ClickRunner().invoke, command("kill"), [*words, str(place)])
        assert done.exit_code == 0, done.output
        assert await called(restored, token) in REFUSED, "it is from before"
        desk = await restored.register(PrincipalKind.APPLICATION, "one-more-desk")
        _, fresh = await restored.open_session(desk, AGENT, subject=SUBJECT)
        async with mcp_client(restored, "orders", fresh) as orders:
            asked = {"customer_id": "C-1001"}
            assert not (await orders.call_tool("search", asked)).is_error
        with pytest.raises(RuntimeError, match=r"PC2|PC4"):
            await restored.open_session(desk, CUT, subject=SUBJECT)
        kept = {one.id: one.state for one in gate.services.directory.list()}
        assert kept["helpdesk"] is State.REVOKED


async def called(stage: Stage, token: str) -> int:
    """The status of a tool call's answer."""
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    asked |= {"params": {"name": "search", "arguments": {"customer_id": "C-1001"}}}
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{stage.gate.gate_url}/mcp/orders", json=asked) as answer,
    ):
        return answer.status


def test_what_was_altered_cut_short_or_is_anothers_is_not_read(tmp_path: Path) -> None:
    config, identity, file = small(tmp_path), keyed(tmp_path), tmp_path / "the.backup"
    created(config, file)
    whole = file.read_bytes()
    assert b"example.test" not in whole, "it is sealed"
    ask = ("verify", file, "--identity", identity)
    assert said(*ask)["root_key"] is False
    for changed in (
        whole[: len(whole) // 2] + b"\1" + whole[len(whole) // 2 + 1 :],
        whole[:-1],
        whole[: -(len(whole) % 65_000)],
        whole + b"more",
        b"\0PCB2" + whole[5:],
    ):
        file.write_bytes(changed)
        assert refused(*ask) == "PC6033"
    file.write_bytes(whole)
    assert refused("verify", file, "--identity", keyed(tmp_path, "other")) == "PC6051"
    other = small(tmp_path / "another")
    strange = audit_directory(load(other)) / "log.vkey"
    assert refused(*ask, "--key", strange) == "PC6033"
    target = elsewhere(config, tmp_path / "new")
    words = ("restore", file, "--identity", identity, "--config", target, "--without-newer-log")
    assert refused(*words, "--key", strange) == "PC6033"
    assert refused(*words) == "PC7010", "what opens the keys was kept apart"
    assert refused(*words[:-1], "--newer-log", audit_directory(load(other))) == "PC7010"
    assert [*(tmp_path / "new/state").iterdir()] == []
    root = load(config).state / "keys/master.key"
    words = (*words[:-1], "--root-key", root, "--newer-log")
    assert refused(*words, audit_directory(load(other))) == "PC6035"
    assert said(*words, audit_directory(load(config)))["done_again"] == {}
    assert refused("create", "--to", file, "--encrypt-to", tmp_path / "reader.pub",
                   "--reason", "again", "--config", config) == "PC6034"  # fmt: skip


def test_one_backup_does_not_clear_away_another_that_is_being_made(tmp_path: Path) -> None:
    config, _, file = small(tmp_path), keyed(tmp_path), tmp_path / "the.backup"
    state = load(config).state
    with _staged(state) as stage:
        (stage / "half").touch()
        words = ("--to", file, "--encrypt-to", tmp_path / "reader.pub", "--config", config)
        assert refused("create", *words, "--reason", "nightly") == "PC6003"
        assert (stage / "half").exists()
    (state / ".backup-killed").mkdir()
    created(config, file)
    assert not [*state.glob(".backup-*")]


@needs_postgresql
def test_records_go_from_a_file_to_a_server_and_back(tmp_path: Path, postgres: Any) -> None:
    config, identity, file = small(tmp_path), keyed(tmp_path), tmp_path / "one.backup"
    root = ("--root-key", load(config).state / "keys/master.key", "--without-newer-log")
    created(config, file)
    with postgres.new() as url:
        (tmp_path / "url").write_text(url)
        (tmp_path / "url").chmod(0o600)
        server = elsewhere(config, tmp_path / "pg", store={"url": f"file:{tmp_path / 'url'}"})
        words = ("restore", file, "--identity", identity)
        said(*words, "--config", server, *root)
        assert not (tmp_path / "pg/state/portcullis.db").exists()
        again = tmp_path / "two.backup"
        shutil.copy(tmp_path / "reader.pub", tmp_path / "pg")
        created(server, again)
        full = elsewhere(config, tmp_path / "full", store={"url": f"file:{tmp_path / 'url'}"})
        assert refused(*words, "--config", full, *root) == "PC6034"
    back = elsewhere(config, tmp_path / "back")
    said("restore", again, "--identity", identity, "--config", back, *root)
    with contextlib.ExitStack() as stack:
        services = founded(stack, load(back), own_log(load(back)))
        (agent,) = services.directory.list()
        assert (agent.id, agent.rotated_at > 1e9) == ("shop", True)
    logs = sorted(logs_of(load(back)))
    assert (len(logs), logs[0]) == (3, "gate"), "one more with each restore"


@needs_postgresql
def test_a_database_that_was_put_back_is_refused_until_what_came_since_is_done_again(
    tmp_path: Path, postgres: Any
) -> None:
    with postgres.new() as url:
        (tmp_path / "url").touch(mode=0o600)
        (tmp_path / "url").write_text(url)
        file = small(tmp_path, store={"url": f"file:{tmp_path / 'url'}"})
        config, database = load(file), make_url(url).database

        def rule() -> int:
            with contextlib.ExitStack() as stack:
                services = founded(stack, config, GATE)
                assert services.rule is not None
                return services.rule.begin()

        before = rule()
        with operations(config) as work:
            work.kill("agent", "shop", "leaked")
        size = read_head(audit_directory(config, GATE), own_verifier(config.state / "log")).size
        postgres.sql("DELETE FROM cuts", database)  # what an hour earlier was not there
        postgres.sql("UPDATE versions SET value = value - 3600 WHERE name = 'mark'", database)
        with pytest.raises(Problem, match=r"PC6036.*36\d\d seconds before"):
            rule()
        hour = datetime.fromtimestamp(time.time() - 3600, UTC).isoformat()
        words = ("fence", "--database-from", hour, "--reason", "disk 3", "--config", file)
        assert refused(*words, "--without-newer-log") == "PC7004"
        told = said(*words)
        assert (told["done_again"], told["former"]) == ({"kills.kill": 1}, {})
        assert postgres.sql("SELECT scope, value FROM cuts", database) == [("agent", "shop")]
        assert rule() > before
    place = audit_directory(config, GATE)
    assert done_in(config, GATE)[-1] == "backup.restored"
    assert (own_log(config), verify(place, own_verifier(place)).ok) == (GATE, True), "it goes on"
    assert read_head(place, own_verifier(place)).size > size


def test_two_restores_within_a_second_begin_two_logs():
    first = unused_epoch(1e9, ["gate", "control"])
    assert first == "20010909-014640"
    assert unused_epoch(1e9, ["gate", f"gate.{first}", "edge.20010909-014641"]) == "20010909-014642"


def small(folder: Path, **sections: Any) -> Path:
    """A deployment that has never served anybody."""
    folder.mkdir(exist_ok=True)
    file = folder / "portcullis.yaml"
    file.write_text(yaml.safe_dump({"trust_domain": "example.test", "state": "state"} | sections))
    with contextlib.ExitStack() as stack:
        services = founded(stack, load(file), GATE)
        services.directory.create(
            PrincipalRecord(
                kind=PrincipalKind.AGENT,
                id="shop",
                owner="shop",
                state=State.ACTIVE,
                roles=(),
                created_at=1.0,
            )
        )
    return file
