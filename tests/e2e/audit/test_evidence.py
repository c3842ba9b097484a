"""Evidence from a running gate: gaps as they open, and packages that others can check."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from mcp import MCPError
from trestle.oscal.assessment_results import AssessmentResults
from trestle.oscal.component import ComponentDefinition
from typer.testing import CliRunner, Result

import standins
from portcullis.cli.audit import app as audit_app
from portcullis.cli.evidence import app
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind
from portcullis.demo.stage import _operator

pytestmark = pytest.mark.anyio

FRAMEWORKS = ["soc2", "gdpr"]


def evidence(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


async def said(*arguments: object) -> list[dict[str, Any]]:
    result = await asyncio.to_thread(evidence, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


async def worked(stage: standins.Stage) -> None:
    """One call that is allowed, and one that reaches for another customer."""
    token = await standins.agent_token(stage)
    async with standins.mcp_client(stage, "orders", token) as client:
        assert not (await client.call_tool("search", {"customer_id": "C-1001"})).is_error
        with pytest.raises(MCPError, match="row scope"):
            await client.call_tool("search", {"customer_id": "C-1002"})


async def metric(stage: standins.Stage, token: str, line: str) -> float:
    """The figure of a metric as Prometheus would scrape it."""
    headers = {"authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.get(f"{stage.gate.control_url}/metrics") as answer,
    ):
        text = await answer.text()
    (found,) = [row for row in text.splitlines() if row.startswith(f"{line} ")]
    return float(found.split()[-1])


async def operator_token(stage: standins.Stage) -> str:
    principals = stage.gate.services.principals("demo")
    who = (PrincipalKind.OPERATOR, "vic")
    await principals.create(_operator(), *who, owner="vic", roles=("viewer",))
    return (await principals.mint(_operator(), *who)).token


def packages(folder: Path, framework: str) -> list[Path]:
    return sorted(folder.glob(f"{framework}-*"))


async def test_a_gap_shows_as_event_metric_command_and_package_and_closes_again(tmp_path):
    settings = {
        "evidence": {
            "frameworks": FRAMEWORKS,
            "seconds": 0.2,
            "packages": {"folder": "packages", "every_hours": 1, "pause_minutes": 0},
        },
        "audit": {"checkpoint_seconds": 0.05},
    }
    async with standins.staged(tmp_path, settings=settings) as stage:
        await worked(stage)
        viewer = await operator_token(stage)

        def gap(state: str) -> Any:
            return lambda event: (
                event.method == "evidence.gap"
                and event.name == "agent-without-owner"
                and event.parameters["state"] == state
            )

        state = 'portcullis_evidence_control_state{control="30",framework="gdpr"}'
        await standins.eventually(stage, lambda event: event.method == "evidence.package")
        assert await metric(stage, viewer, state) == 1
        before = await metric(stage, viewer, 'portcullis_evidence_gaps{framework="gdpr"}')
        await stage.create(PrincipalKind.AGENT, "stray", owner="")
        opened = await standins.eventually(stage, gap("opened"))
        assert opened.parameters["reason"] == "nobody is named as the owner of agent:stray"
        assert opened.parameters["controls"] == {"soc2": ["CC6.2"], "gdpr": ["30"]}
        assert await metric(stage, viewer, state) == -1
        assert await metric(stage, viewer, 'portcullis_evidence_gaps{framework="gdpr"}') == (
            before + 1
        )
        (found,) = await said("gaps", "--framework", "gdpr", "-c", stage.config)
        (row,) = [row for row in found["rows"] if row["control"] == "30"]
        assert row["state"] == "gap"
        assert [open_["condition"] for open_ in row["gaps"]] == ["agent-without-owner"]
        shown = await asyncio.to_thread(evidence, "gaps", "-c", stage.config)
        assert "agent-without-owner since" in shown.stdout

        principals = stage.gate.services.principals("demo")
        await principals.change(_operator(), PrincipalKind.AGENT, "stray", Verb.REVOKE)
        await standins.eventually(stage, gap("closed"))
        assert await metric(stage, viewer, state) == 1

        made = await standins.eventually(
            stage,
            lambda event: event.method == "evidence.package" and event.name == "gdpr",
        )
        folder = tmp_path / "packages"
        assert (folder / made.parameters["folder"]).is_dir()
        await asyncio.sleep(1)  # what changed last has settled
        assert len(packages(folder, "gdpr")) >= 2
        key = stage.gate.audit_directory / "evidence.vkey"
        for package in packages(folder, "gdpr"):
            checked = await asyncio.to_thread(evidence, "verify", package, "--key", key)
            assert checked.exit_code == 0, checked.output
        assert not list(folder.glob(".*"))


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def place(tmp_path_factory):
    """A deployment whose gate has worked and stopped."""
    folder = tmp_path_factory.mktemp("evidence")
    async with standins.staged(folder, settings={"evidence": {"frameworks": []}}) as stage:
        await worked(stage)
    return folder


async def test_a_package_holds_documents_that_oscals_own_reader_takes(place, tmp_path):
    for framework in ("fedramp-moderate", "owasp-agentic", "gdpr"):
        target = tmp_path / framework
        (report,) = await said(
            *("export", "--framework", framework, "-o", target),
            *("-c", place / "portcullis.yaml"),
        )
        assert sum(report["controls"].values()) > 5
        results = AssessmentResults.oscal_read(target / "assessment-results.json")
        components = ComponentDefinition.oscal_read(target / "component-definition.json")
        (result,) = results.results
        assert len(result.observations) == sum(report["controls"].values())
        assert len(result.findings) == report["controls"]["gap"]
        assert all(
            finding.target.status.state.value == "not-satisfied" for finding in result.findings
        )
        (implementation,) = components.components[0].control_implementations
        assert len(implementation.implemented_requirements) == len(result.observations)
        text = "".join(p.read_text() for p in target.iterdir() if p.suffix in {".html", ".json"})
        assert "compliant" not in text.lower()


async def test_every_event_that_a_report_names_is_proved_to_be_in_the_log(place, tmp_path):
    target, config = tmp_path / "soc2", place / "portcullis.yaml"
    (report,) = await said("export", "--framework", "soc2", "-o", target, "-c", config)
    log_key = place / "state/log/log.vkey"
    (checked,) = await said("verify", target, "--key", report["key"], "--log-key", log_key)
    assert checked["ok"] is True
    proofs = list((target / "proofs").iterdir())
    assert checked["proofs"] == len(proofs) > 5
    html = (target / "report.html").read_text()
    for proof in proofs:
        assert f'href="proofs/{proof.name}"' in html
        verified = CliRunner().invoke(
            audit_app, ["verify-proof", str(proof), "--key", str(log_key), "--json"]
        )
        assert json.loads(verified.stdout)["ok"] is True
    (denied,) = [
        seen
        for row in json.loads((target / "evidence.json").read_text())["rows"]
        if row["control"] == "CC6.3"
        for seen in row["evidence"]
        if seen["signal"] == "scope_denials"
    ]
    assert denied["count"] == 1
    proof = target / f"proofs/gate.{denied['first'][0]}.tlog-proof"
    event = CliRunner().invoke(
        audit_app, ["verify-proof", str(proof), "--json", "--key", str(log_key)]
    )
    assert json.loads(event.stdout)["event"]["code"] == "PC3004"


async def test_a_package_that_was_touched_does_not_verify(place, tmp_path):
    target, config = tmp_path / "hipaa", place / "portcullis.yaml"
    (report,) = await said("export", "--framework", "hipaa", "-o", target, "-c", config)
    path = target / "report.html"
    path.write_text(path.read_text().replace("gap", "evidenced"))
    failed = evidence("verify", target, "--key", report["key"])
    assert failed.exit_code == 5
    assert "report.html: changed" in failed.stdout
    again = evidence("export", "--framework", "hipaa", "-o", target, "-c", config)
    assert again.exception.code == "PC7004"


async def test_a_log_that_was_changed_is_no_evidence(place, tmp_path):
    copy, target = tmp_path / "copy", tmp_path / "gdpr"
    shutil.copytree(place, copy)
    bundles = (copy / "state/log/tile/entries").rglob("*.p/*")
    bundle = max(bundles, key=lambda path: int(path.name))
    bundle.write_bytes(bundle.read_bytes().replace(b"PC3004", b"PC3005"))
    config = copy / "portcullis.yaml"
    refused = evidence("export", "--framework", "gdpr", "-o", target, "-c", config)
    assert refused.exception.code == "PC6005"
    assert not target.exists()


async def test_a_framework_that_nobody_knows_is_a_usage_error(place, tmp_path):
    config = place / "portcullis.yaml"
    for command in (("gaps",), ("export", "-o", tmp_path / "x")):
        refused = evidence(*command, "--framework", "soc9", "-c", config)
        assert refused.exception.code == "PC7004"
