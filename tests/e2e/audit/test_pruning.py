"""Pruning a gate's log, as an operator and as the gate itself do it, and what a verifier sees."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from portcullis.bootstrap import local_operator, retention
from portcullis.cli.audit import app
from portcullis.cli.remote_call import call
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from standins import AGENT, Stage, agent_token, mcp_client, staged

pytestmark = pytest.mark.anyio

CALLS = 135
ALL = ("--before", "2999-01-01", "--reason", "a request")


def settings(**retention: Any) -> dict[str, Any]:
    return {
        "tokens": {"bearer": "loopback"},
        "audit": {"retention": retention},
        "evidence": {"frameworks": []},
    }


async def audit(stage: Stage, *arguments: str, config: bool = True) -> tuple[int, list[Any]]:
    def run() -> tuple[int, list[Any]]:
        words = [*arguments, *(("--config", str(stage.config)) if config else ()), "--json"]
        done = CliRunner().invoke(app, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]

    return await asyncio.to_thread(run)


async def gone(stage: Stage, *arguments: str) -> int:
    """Prune; how many entries went."""
    code, done = await audit(stage, "prune", *arguments)
    assert code == 0
    return sum(count for one in done for count in one["classes"].values())


async def verified(stage: Stage) -> Any:
    key = (stage.gate.audit_directory / "log.vkey").read_text().strip()
    directory = str(stage.gate.audit_directory)
    code, (report,) = await audit(stage, "verify", directory, "--key", key, config=False)
    assert code == (0 if report["ok"] else 5)
    return report


@contextlib.asynccontextmanager
async def busy(folder: Path, **limits: Any) -> AsyncIterator[Stage]:
    """A gate whose log holds a good deal of calls under its checkpoint."""
    async with staged(folder, settings=settings(**limits)) as stage:
        async with mcp_client(stage, "tickets", await agent_token(stage), mode="legacy") as client:
            for number in range(CALLS):
                words = {"subject": f"Parcel {number}", "body": "It lies at the depot"}
                await client.call_tool("create", {"customer_id": "C-1001", **words})
        for _ in range(1500):
            if stage.gate.services.recorder.size <= json_size(stage):
                break
            await asyncio.sleep(0.02)
        yield stage


def json_size(stage: Stage) -> int:
    return int((stage.gate.audit_directory / "checkpoint").read_text().split("\n")[1])


async def test_an_operator_prunes_what_policy_allows_and_a_verifier_sees_who_did(
    tmp_path: Path,
) -> None:
    async with busy(tmp_path) as stage:
        kept = len(list(stage.events()))
        _, found = await audit(stage, "query", "--type", "tool_call", "--limit", "1")
        first = found[0]["event"]["id"]
        dry = await gone(stage, *ALL, "--dry-run")
        assert len(list(stage.events())) == kept
        assert await gone(stage, *ALL, "--yes") == dry > 200
        assert len(list(stage.events())) == kept + 1 - dry

        report = await verified(stage)
        assert report["ok"] is True, report["reasons"]
        (act,) = [event for event in stage.events() if event.method == "audit.prune"]
        assert act.principal.startswith("local-")
        assert act.parameters["reason"] == "a request"
        (pruned,) = report["events"]["pruned"]
        assert (pruned["count"], pruned["events"]) == (dry, [act.id])
        with pytest.raises(Problem, match="PC6004"):
            await audit(stage, "query", "--event", first)
        assert await gone(stage, *ALL, "--dry-run") == 0
    assert await gone(stage, *ALL, "--dry-run") == 0  # by itself, without a gate


async def test_nothing_goes_before_its_least_time(tmp_path: Path) -> None:
    async with busy(tmp_path, classes={"tool_call": {"min_days": 30}}) as stage:
        _, done = await audit(stage, "prune", *ALL, "--dry-run")
        assert "tool_call" not in {name for one in done for name in one["classes"]}
        before = sum(event.type == "tool_result" for event in stage.events())
        await gone(stage, *ALL, "--yes")
        assert sum(event.type == "tool_result" for event in stage.events()) == before == CALLS


async def test_a_gate_prunes_by_itself_what_is_past_its_maximum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_SOON_SECONDS", 0.1)
    monkeypatch.setattr(retention, "_DAY_SECONDS", 0.2)
    async with busy(tmp_path, default={"max_days": 1e-6}) as stage:
        for _ in range(600):
            acts = [event for event in stage.events() if event.method == "audit.prune"]
            if acts and sum(event.type == "tool_call" for event in stage.events()) < CALLS // 2:
                break
            await asyncio.sleep(0.05)
        assert acts[0].gateway.endswith("/gate")
        assert (await verified(stage))["ok"] is True


async def test_a_legal_hold_keeps_what_it_covers_and_lets_it_go_after(tmp_path: Path) -> None:
    async with busy(tmp_path) as stage:
        assert await gone(stage, "--reason", "a look", "--dry-run") == 0  # there is no maximum
        about = ("--principal", f"agent:{AGENT}", "--reason", "case 7")
        _, (hold,) = await audit(stage, "hold", *about)
        _, done = await audit(stage, "prune", *ALL, "--dry-run")
        assert not {"tool_call", "llm_call"} & {name for one in done for name in one["classes"]}
        await audit(stage, "release", hold["id"], "--reason", "settled")
        assert await gone(stage, *ALL, "--dry-run") > 200


async def test_only_administrators_prune(tmp_path: Path) -> None:
    async with staged(tmp_path, settings=settings()) as stage:
        authority = stage.gate.services.authority
        for role in ("viewer", "approver", "investigator"):
            minted = authority.mint(PrincipalKind.OPERATOR, local_operator(), ttl=60, roles=(role,))
            body = {"dry_run": True, "reason": "a look"}
            with pytest.raises(Problem, match="PC2004"):
                await asyncio.to_thread(
                    call, stage.gate.control_url, "POST", "/api/v1/prunings", minted.token, body
                )


async def test_a_command_that_does_not_say_what_it_wants_prunes_nothing(tmp_path: Path) -> None:
    unclear = (
        ("--reason", "r"),
        ("--reason", "r", "--yes", "--dry-run"),
        ("--reason", "", "--yes"),
    )
    async with staged(tmp_path, settings=settings()) as stage:
        for words in unclear:
            with pytest.raises(Problem, match="PC7004"):
                await audit(stage, "prune", *words)
