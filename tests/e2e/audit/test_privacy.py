"""Erasure, holds and content on a running gate and beside one, as an operator uses them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from needles import contents
from portcullis import bootstrap
from portcullis.audit.proof import prove, verify_proof
from portcullis.audit.query import find
from portcullis.audit.subjects_erasure import Plan, Stores
from portcullis.audit.verify import own_verifier, read_head, verify
from portcullis.cli.audit import app
from portcullis.cli.remote_call import call
from portcullis.config import load
from portcullis.control.containment import by_itself
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from standins import AGENT, Stage, agent_token, mcp_client, staged

pytestmark = pytest.mark.anyio

erase = Stores.erase
WHO = "subject:customer_id=C-1001"
KEEP = {"tokens": {"bearer": "loopback"}, "audit": {"content": {"keep": "arguments+results"}}}


async def audit(stage: Stage, *arguments: str) -> list[Any]:
    def run() -> list[Any]:
        words = [*arguments, "--config", str(stage.config), "--json"]
        done = CliRunner().invoke(app, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return [done.exit_code, *map(json.loads, done.stdout.splitlines())]

    return await asyncio.to_thread(run)


async def ticketed(stage: Stage, token: str) -> str:
    """Open a ticket; the id of the decision's event, once its content is on disk."""
    async with mcp_client(stage, "tickets", token, mode="legacy") as client:
        words = {"subject": "A late parcel", "body": "It lies at the depot"}
        await client.call_tool("create", {"customer_id": "C-1001", **words})
    contents = stage.gate.services.privacy_parts.contents
    event = [event.id for event in stage.events() if event.type == "tool_call"][-1]
    for _ in range(1500):
        with contextlib.suppress(Problem):
            contents.read(event)
            return event
        await asyncio.sleep(0.02)
    raise AssertionError("its content was not kept")


async def published(stage: Stage, index: int) -> None:
    """Return when a signed head covers the entry."""
    directory = stage.gate.audit_directory
    for _ in range(1500):
        if read_head(directory, own_verifier(directory)).size > index:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it was not signed")


def events(stage: Stage, method: str) -> list[Any]:
    return [event for event in stage.events() if event.method == method]


def linked(stage: Stage) -> set[str]:
    """All commitments of tool calls in the log."""
    return {c for e in stage.events() if e.type == "tool_call" for c in e.commitments.values()}


async def test_what_is_erased_is_gone_for_good_while_every_proof_still_verifies(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path, settings=KEEP) as stage:
        token = await agent_token(stage)
        event = await ticketed(stage, token)
        directory = stage.gate.audit_directory
        verifier = own_verifier(directory)
        index = find(directory, verifier, event).index
        await published(stage, index)
        proof, before = prove(directory, verifier, index), linked(stage)

        assert (await audit(stage, "content", event, "--reason", "a complaint"))[0] == 0
        code, done = await audit(stage, "erase", "--subject", WHO, "--reason", "as asked")
        assert (code, done["keys"], done["fields"] >= 1) == (0, 1, True)

        (asked,) = events(stage, "audit.erase")
        (erased,) = events(stage, "audit.erased")
        assert asked.parameters["reason"] == "as asked"
        assert asked.principal.startswith("local-")
        assert asked.parameters["subject"] == erased.parameters["subject"] == done["subject"]
        assert "C-1001" not in str([asked, erased])

        with pytest.raises(Problem, match="PC6041"):
            await audit(stage, "content", event, "--reason", "again")
        with pytest.raises(Problem, match="PC6041"):
            await audit(stage, "erase", "--subject", WHO, "--reason", "again")
        assert verify_proof(proof, verifier).index == index
        assert verify(directory, verifier).integrity == "passed"

        again = await ticketed(stage, token)  # new data of the subject has a new key
        assert before & linked(stage) == before
        old, new = (find(directory, verifier, one).event.commitments for one in (event, again))
        changed = {name for name in old if name != "user" and old[name] == new[name]}
        assert changed == set()
        assert old["user"] == new["user"]  # under the user's own key


async def test_what_was_erased_is_not_in_the_state_directory_in_any_form(tmp_path: Path) -> None:
    async with staged(tmp_path, settings=KEEP) as stage:
        await ticketed(stage, await agent_token(stage))
        services = stage.gate.services
        subjects = services.recorder.subjects
        (handle,) = subjects.reach(subjects.tag(WHO)) - {subjects.tag(WHO)}
        path = load(stage.config).state / "keys" / "gate" / "subjects.db"
        with contextlib.closing(sqlite3.connect(path)) as file:
            (row,) = file.execute("SELECT key FROM subject WHERE handle = ?", (handle,))
        sealed = row[0][-48:]  # the encrypted key itself, and its tag
        assert sealed in everything(tmp_path)
        await audit(stage, "erase", "--subject", WHO, "--reason", "as asked")
        assert sealed not in everything(tmp_path)
        assert subjects.find(handle) is None


async def test_what_is_left_of_an_ended_session_goes_with_an_erasure(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await agent_token(stage)
        database = load(stage.config).state / "portcullis.db"
        with contextlib.closing(sqlite3.connect(database)) as file:
            ((session, document),) = file.execute("SELECT id, document FROM sessions")
        sealed = document[-60:]  # of it, the user's prompt among the rest
        await stage.gate.services.sessions.close(session)
        await audit(stage, "erase", "--subject", WHO, "--reason", "as asked")
        assert sealed not in everything(tmp_path)


async def test_a_hold_on_what_cannot_be_is_refused_and_the_others_stay_readable(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path) as stage:
        await agent_token(stage)
    targets = ["s" * 70_000, "s-1\n", "s\udcff"]  # the first is too large for an event
    holds = [("session", one) for one in targets]
    for kind, target in [*holds, ("principal", f"agent:{'a' * 70_000}")]:
        with pytest.raises(Problem, match="PC1020"):
            await audit(stage, "hold", f"--{kind}", target, "--reason", "case 7")
    assert await audit(stage, "hold") == [0]
    assert (await audit(stage, "erase", "--subject", WHO, "--reason", "x"))[1]["keys"] == 1


def everything(folder: Path) -> bytes:
    return b"\n".join(contents(folder).values())


async def test_reading_content_is_on_record_before_anybody_sees_it(tmp_path: Path) -> None:
    async with staged(tmp_path, settings=KEEP) as stage:
        event = await ticketed(stage, await agent_token(stage))
        code, *fields = await audit(stage, "content", event, "--reason", "a complaint")
        assert code == 0
        assert all(field["committed"] for field in fields)
        assert "It lies at the depot" in str(fields)
        (read,) = events(stage, "content.read")
        assert read.parameters["event"] == event
        assert read.parameters["reason"] == "a complaint"
        assert read.principal.startswith("local-")
        (result,) = (e for e in stage.events() if e.decision == event)
        (code, answer) = await audit(stage, "content", result.id, "--reason", "a complaint")
        assert (code, answer["field"], answer["committed"]) == (0, "result", True)


async def test_under_a_hold_nothing_is_erased_until_it_is_released(tmp_path: Path) -> None:
    async with staged(tmp_path, settings=KEEP) as stage:
        token = await agent_token(stage)
        await ticketed(stage, token)
        for kind, target in (("subject", WHO), ("session", "s-1"), ("principal", f"agent:{AGENT}")):
            _, hold = await audit(stage, "hold", f"--{kind}", target, "--reason", "case 7")
            assert [one["id"] for one in (await audit(stage, "hold"))[1:]] == [hold["id"]]
            with pytest.raises(Problem, match=f"PC6040.*{hold['id']}"):
                await audit(stage, "erase", "--subject", WHO, "--reason", "as asked")
            await audit(stage, "release", hold["id"], "--reason", "settled")
        for kind, target in (("subject", "session:s-1"), ("subject", "ada"), ("principal", "x")):
            with pytest.raises(Problem, match="PC1020"):  # it would hold nothing
                await audit(stage, "hold", f"--{kind}", target, "--reason", "case 8")
        assert len(events(stage, "audit.hold")) == len(events(stage, "audit.release")) == 3
        with pytest.raises(Problem, match="PC6042"):
            await audit(stage, "release", hold["id"], "--reason", "settled")
        (refused, *_) = [e for e in stage.events() if e.code == "PC6040"]
        assert refused.verdict == "deny"
        assert (await audit(stage, "erase", "--subject", WHO, "--reason", "x"))[1]["keys"] == 1


async def test_an_erasure_that_a_crash_cut_short_can_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path) as stage:
        await agent_token(stage)
        privacy, context = stage.gate.services.privacy("control"), by_itself(time.time())
        with monkeypatch.context() as patch:
            patch.setattr(Stores, "erase", destroyed_and_died)
            with pytest.raises(RuntimeError, match="died"):
                await privacy.erase(context, WHO, "as asked")
        assert not events(stage, "audit.erased")
        done = await stage.gate.services.privacy("control").erase(context, WHO, "as asked")
        assert done.keys == 0
        assert len(events(stage, "audit.erased")) == 1
        with pytest.raises(Problem, match="PC6041"):
            await privacy.erase(context, WHO, "as asked")


def destroyed_and_died(stores: Stores, plan: Plan) -> tuple[int, int]:
    erase(stores, plan)
    raise RuntimeError("died")


async def test_an_erasure_works_while_no_gate_runs_and_its_key_is_not_back_after_a_start(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path, settings=KEEP) as stage:
        event = await ticketed(stage, await agent_token(stage))
    assert (await audit(stage, "erase", "--subject", WHO, "--reason", "as asked"))[1]["keys"] == 1
    with pytest.raises(Problem, match="PC6041"):
        await audit(stage, "content", event, "--reason", "again")
    assert (await audit(stage, "verify"))[1]["integrity"] == "passed"
    async with bootstrap.running_gate(load(stage.config)):
        with pytest.raises(Problem, match="PC6041"):
            await audit(stage, "erase", "--subject", WHO, "--reason", "again")


async def test_only_investigators_and_administrators_read_content(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        body = {"event": "0" * 32, "reason": "curious"}

        async def asked(role: str) -> str:
            minted = stage.gate.services.authority.mint(
                PrincipalKind.OPERATOR, "eve", ttl=60, roles=(role,)
            )
            url = stage.gate.control_url
            with pytest.raises(Problem) as caught:
                await asyncio.to_thread(call, url, "POST", "/api/v1/content", minted.token, body)
            return caught.value.code

        refused = [await asked(role) for role in ("viewer", "approver", "responder")]
        assert refused == ["PC2004"] * 3
        assert [await asked(role) for role in ("investigator", "admin")] == ["PC6041"] * 2
        assert not events(stage, "content.read")
        assert not (load(stage.config).state / "content").exists()  # off, by default
