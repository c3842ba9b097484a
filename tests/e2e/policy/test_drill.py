"""Least privilege, end to end in the terminal: if this fails, an agent that may too much stays so,
or is brought down to what it needs at the price of what it does."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import standins
from e2e.policy.test_observe import activated, tried
from portcullis.cli.policy import app
from portcullis.core.alert import Wanted
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio

NAME = standins.AGENT
CUSTOMERS = ("C-1001", "C-1002", "C-1002", "C-1002")
"""An order of the first has a note that gives orders to whoever reads it."""


@pytest.fixture
def anyio_backend():
    return "asyncio"


def generous():
    """The demonstration's policy, in which the agent may more than it will ever need."""
    told = yaml.safe_load(standins.support_policy())
    role = told["roles"]["support_agent"]
    role["denied_tools"] = []
    role["permissions"].append({"delete": "customer_records"})
    for tool in told["tools"].values():
        tool.get("arguments", {}).get("customer_id", {}).pop("equals", None)
    return yaml.safe_dump(told, sort_keys=False)


def run(*words, exits=0):
    """What a command of `portcullis policy` prints."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == exits, (done.output, done.exception)
    return done.stdout


async def told(*words, exits=0):
    """The same as objects, beside the running gate."""
    text = await asyncio.to_thread(run, *words, "--json", exits=exits)
    return [json.loads(line) for line in text.splitlines()]


async def worked(stage):
    """An ordinary week: orders are looked up, each customer's own, and tickets are opened."""
    application = await stage.register(PrincipalKind.APPLICATION, "helpdesk")
    await stage.register(PrincipalKind.AGENT, NAME)
    token = ""
    for customer in CUSTOMERS:
        subject = {"customer_id": customer}
        _, token = await stage.open_session(application, NAME, subject=subject)
        for limit in (5, 10):
            asked = {"customer_id": customer, "limit": limit}
            assert await tried(stage, token, "orders.search", asked) == ""
        text = {"customer_id": customer, "subject": "late", "body": "Where is it?"}
        assert await tried(stage, token, "tickets.create", text) == ""
    return token


@dataclass
class Drill:
    """One agent that may too much, in a gate that runs."""

    stage: standins.Stage
    folder: Path
    token: str

    @property
    def policy(self):
        return self.folder / "policy"

    @property
    def draft(self):
        return self.folder / "draft/policy"

    @property
    def config(self):
        return "-c", self.stage.config

    async def mined(self):
        """What it was seen to need, and nothing that it was told by what it read."""
        (report,) = await told("mine", "--agent", NAME, "-o", self.folder / "draft", *self.config)
        assert (report["lost"], report["weaker"]) == ([], [])
        counts = report["evidence"]
        assert (counts["learned"], counts["suspect"], counts["failed"]) == (9, 3, 0), counts
        whens = {one["name"]: one["terms"].get("when", "") for one in report["entries"]}
        assert set(whens) == {"orders.search", "tickets.create"}
        assert whens["orders.search"] == (
            "arguments.customer_id == session.subject.customer_id and arguments.limit in [10, 5]"
        )
        assert "late" not in report["patch"]
        printed = await asyncio.to_thread(run, "mine", "--agent", NAME, *self.config)
        assert printed == (self.folder / "draft/mined.patch").read_text()

    async def sealed(self):
        """The same with sealed content: each reading is an event, and no one's words are told."""
        words = ("mine", "--agent", NAME, "--content", "least privilege", *self.config)
        (report,) = await told(*words)
        read = [one for one in self.stage.events() if one.method == "content.read"]
        assert len(read) == 4  # each ticket once; of the orders, all stands in the log
        assert {one.parameters["reason"] for one in read} == {"least privilege"}
        (ticket,) = [one for one in report["entries"] if one["name"] == "tickets.create"]
        assert "body: 1 different values: not bound" in ticket["notes"]
        assert "Where is it?" not in json.dumps(report)

    async def compared(self):
        """No decision of the past would be another, but what nobody can tell."""
        *_, summary = await told("diff", self.policy, self.draft, *self.config)
        assert (summary["kind"], summary["changed"]) == ("summary", 0)
        assert summary["decisions"] >= 12
        text = await asyncio.to_thread(run, "diff", self.policy, self.draft, *self.config)
        assert f"{summary['decisions']} decisions replayed: 0 changed" in text

    async def applied(self):
        """The owner reads the patch, which is all that there is to change, and applies it."""
        patched = self.folder / "patched"
        shutil.copytree(self.policy, patched)
        done = await asyncio.to_thread(
            subprocess.run,
            ["git", "apply", "--unsafe-paths", "--directory", patched,
             self.folder / "draft/mined.patch"],
            cwd="/", capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        for file in self.draft.iterdir():
            assert (patched / file.name).read_text() == file.read_text()
            shutil.copy(file, self.policy)
        await activated(self.stage, (self.draft / "support.yaml").read_text())

    async def enforced(self):
        """What it needs goes on, and what it never used is gone."""
        tries = {
            ("orders.search", CUSTOMERS[-1]): "",
            ("orders.search", CUSTOMERS[0]): "PC3001",
            ("tickets.list", CUSTOMERS[-1]): "PC3001",
            ("crm.delete_customer", CUSTOMERS[0]): "PC3001",
        }
        for (tool, customer), code in tries.items():
            limit = {"limit": 5} if tool == "orders.search" else {}
            asked = {"customer_id": customer} | limit
            assert await tried(self.stage, self.token, tool, asked) == code, tool
        found = await told("diff", "1", self.policy, "--agent", NAME, *self.config)
        groups = [one for one in found if one["kind"] == "group"]
        lost = [one for one in groups if one["outcome"] == "changed"]
        assert ("tickets.list", ["allow read"], ["deny PC3001"]) in [
            (one["target"], one["old"], one["new"]) for one in lost
        ]

    async def confirmed(self):
        """Its owner confirms what it may now, and is asked no more about that."""
        why = ("--reason", "read the patch and the replay")
        await asyncio.to_thread(run, "certify", "confirm", NAME, *why, *self.config)
        assert not [one for one in self.stage.events() if one.method == "policy.drift"]

    async def widened(self):
        """Somebody widens it by hand: who asks is told before it happens."""
        wider = self.folder / "wider"
        shutil.copytree(self.policy, wider)
        mined = wider / f"mined-{NAME}.yaml"
        more = "allowed_tools:\n      - crm.delete_customer"
        mined.write_text(mined.read_text().replace("allowed_tools:", more, 1))
        words = ("diff", self.policy, wider, "--fail-on", "new", *self.config)
        found = await told(*words, exits=5)
        (new,) = [one for one in found if one["kind"] == "new"]
        assert (new["agent"], new["tools"]) == (NAME, ["crm.delete_customer"])
        decisions = [one for one in found if one["kind"] == "decision"]
        changed = [one for one in decisions if one["outcome"] == "changed"]
        assert {one["target"].partition(".")[0] for one in changed} == {"crm"}
        assert {tuple(one["old"]) for one in changed} == {("deny PC3001",)}
        shutil.copy(mined, self.policy)
        await activated(self.stage, (self.policy / "support.yaml").read_text())

    async def alarmed(self):
        """And who does not ask is told when it has."""
        drift = await standins.eventually(
            self.stage, lambda one: one.method == "policy.drift", seconds=60
        )
        assert drift.parameters["agent"] == NAME
        assert any("crm.delete_customer" in one for one in drift.parameters["widened"])
        store = self.stage.gate.services.alert_parts.store
        for _ in range(600):
            raised = await asyncio.to_thread(store.page, Wanted(), "", 50)
            if "policy-drift" in {one.rule for one in raised}:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(raised)


async def test_what_an_agent_needs_is_mined_compared_read_and_put_in_force(tmp_path):
    kept = {"audit": {"content": {"keep": "arguments"}}}
    async with standins.staged(tmp_path, policy=generous(), settings=kept) as stage:
        drill = Drill(stage, tmp_path, await worked(stage))
        await drill.mined()
        await drill.sealed()
        await drill.compared()
        await drill.applied()
        await drill.enforced()
        await drill.confirmed()
        await drill.widened()
        await drill.alarmed()
