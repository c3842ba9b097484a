"""The example policies: their own tests are complete, and a gate does what they say."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.server.mcpserver import MCPServer
from typer.testing import CliRunner

import standins
from e2e.approvals.desk import Desk
from e2e.matrix.seen import code_in
from portcullis.cli.policy import app
from portcullis.core.principal import PrincipalKind
from portcullis.demo.serve import serving

pytestmark = pytest.mark.anyio
EXAMPLES = Path(__file__).parents[3] / "examples" / "policies"
SERVERS = ("orders", "products", "tickets", "mail", "accounts", "billing")
SERVERS += ("kube", "ansible", "prometheus", "shell", "sql", "web")
PLAIN = ("delete_order", "update_order", "reset_password", "refund", "read_invoices")
PLAIN += ("kubectl_apply", "kubectl_delete", "kubectl_debug", "shell_exec")
PLAIN += ("ansible_check", "ansible_run", "prometheus_query", "sql_read", "api_get")
MODIFIES = ("kubectl_apply", "ansible_run")
PODS = [
    {"kind": kind, "metadata": {"namespace": namespace, "name": f"{namespace}-{kind}"}}
    for kind in ("Pod", "ConfigMap", "Secret")
    for namespace in ("monitoring", "kube-system")
]


def company(stage: list[standins.Stage], done: list[Any]) -> MCPServer:
    """Every tool of the examples. ``done`` is what was done, and how often it was logged."""
    server = MCPServer("company")

    def do(name: str) -> str:
        logged = 0
        if name in MODIFIES:
            logged = sum(e.type == "tool_call" and e.name == name for e in stage[0].events())
        done.append((name, logged))
        return "done"

    @server.tool()
    def search(customer_id: str = "", query: str = "", limit: int = 10) -> str:
        return do("search")

    @server.tool()
    def create(opened_by: str, title: str) -> str:
        return do("create")

    @server.tool()
    def send_email(to: str, body: str) -> str:
        return do("send_email")

    @server.tool()
    def kubectl_get(
        kind: str, namespace: str = "", *, all_namespaces: bool = False
    ) -> dict[str, list[dict[str, Any]]]:
        do("kubectl_get")
        return {"items": PODS}

    for name in PLAIN:
        server.add_tool(_plain(do, name), name=name)
    return server


def _plain(do: Callable[[str], str], name: str) -> Callable[[str], str]:
    def tool(what: str = "") -> str:
        return do(name)

    return tool


class Shop(Desk):
    """A gate with an example's policy; ``done`` is what its tools did."""

    done: list[Any]
    clients: dict[str, Client]
    stack: contextlib.AsyncExitStack

    async def client(self, server: str) -> Client:
        """The official client on a server, connected once."""
        if server not in self.clients:
            made = standins.mcp_client(self.stage, server, self.token)
            self.clients[server] = await self.stack.enter_async_context(made)
        return self.clients[server]

    async def call(self, tool: str, **arguments: Any) -> Any:
        """What a tool answers, or the code that refuses it."""
        server, _, name = tool.partition(".")
        try:
            answer = await (await self.client(server)).call_tool(name, arguments)
        except (MCPError, BaseExceptionGroup) as error:  # a server may not even open
            return code_in(_refusal(error).error.data)
        if answer.is_error:
            return answer.content[0].text[:6]
        return answer.structured_content or answer.content[0].text

    async def shown(self, server: str) -> set[str]:
        """The tools that the agent is shown of a server."""
        return {tool.name for tool in (await (await self.client(server)).list_tools()).tools}


def _refusal(error: BaseException) -> MCPError:
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, MCPError), error
    return error


@contextlib.asynccontextmanager
async def shop(folder: Path, example: str, agent: str, **subject: str) -> AsyncIterator[Shop]:
    stages: list[standins.Stage] = []
    done: list[Any] = []
    served = company(stages, done).streamable_http_app()
    policy = (EXAMPLES / example / "policy.yaml").read_text(encoding="utf-8")
    async with served.router.lifespan_context(served), serving(served) as url:
        settings = {"mcp": {name: {"url": f"{url}/mcp"} for name in SERVERS}}
        async with (
            standins.staged(folder, policy=policy, settings=settings) as stage,
            contextlib.AsyncExitStack() as stack,
        ):
            stages.append(stage)
            await stage.register(PrincipalKind.AGENT, agent)
            one = Shop(stage, await stage.register(PrincipalKind.APPLICATION, "helpdesk"))
            one.done, one.clients, one.stack = done, {}, stack
            one.session, one.token = await stage.open_session(
                one.application, agent, subject=subject
            )
            yield one


@pytest.mark.parametrize("example", sorted(one.name for one in EXAMPLES.iterdir() if one.is_dir()))
def test_every_grant_denial_and_bound_of_an_example_is_tested_and_so_would_be_a_mistake(
    example: str,
) -> None:
    words = ["test", str(EXAMPLES / example), "--coverage", "--mutate", "--minimum", "90"]
    result = CliRunner().invoke(app, [*words, "--json"])
    said = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0, [one for one in said if one.get("passed") is False]
    by_kind = {one["kind"]: one for one in said}
    assert by_kind["coverage"]["percent"] >= 90
    assert by_kind["mutation"]["score"] >= 90
    assert by_kind["mutation"]["untried"] == 0
    assert CliRunner().invoke(app, ["check", str(EXAMPLES / example)]).exit_code == 0


async def test_a_support_agent_does_its_verbs_for_its_customer_and_is_shown_nothing_else(
    tmp_path: Path,
) -> None:
    subject = {"customer_id": "C-1", "email": "carl@customer.example"}
    async with shop(tmp_path, "support-agent", "support-agent-1", **subject) as one:
        assert await one.call("orders.search", customer_id="C-1") == {"result": "done"}
        assert await one.call("orders.search", customer_id="C-2") == "PC3004"
        assert await one.call("tickets.create", opened_by="ada", title="Lamp") == {"result": "done"}
        assert await one.call("mail.send_email", to=subject["email"], body="Hi") == {
            "result": "done"
        }
        assert await one.call("mail.send_email", to="eve@evil.example", body="Hi") == "PC3004"
        for tool in ("orders.delete_order", "accounts.reset_password", "billing.refund"):
            assert await one.call(tool) == "PC3001"
        assert await one.shown("orders") == {"search"}
        assert [name for name, _ in one.done] == ["search", "create", "send_email"]


async def test_an_infrastructure_agent_sees_its_namespaces_no_secrets_and_fifty_calls(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path, "infrastructure", "infra-agent-1") as one:
        got = await one.call("kube.kubectl_get", kind="pods", namespace="monitoring")
        names = [each["metadata"]["name"] for each in got["items"]]
        assert names == ["monitoring-Pod", "monitoring-ConfigMap"]
        for asked in (
            {"kind": "pods", "namespace": "kube-system"},
            {"kind": "pods"},
            {"kind": "pods", "namespace": "monitoring", "all_namespaces": True},
            {"kind": "secrets", "namespace": "monitoring"},
        ):
            assert await one.call("kube.kubectl_get", **asked) == "PC3029"
        for tool in ("kube.kubectl_delete", "ansible.ansible_run"):
            assert await one.call(tool) == "PC3002"
        for tool in ("shell.shell_exec", "sql.sql_read"):
            assert await one.call(tool) == "PC3001", "the server does not even open"
        for _ in range(49):
            assert await one.call("ansible.ansible_check") == {"result": "done"}
        assert (await one.call("ansible.ansible_check")).startswith("PC3")
        assert len(one.done) == 50, "what was refused took nothing"


async def test_reads_are_free_modifications_are_logged_first_and_the_rest_waits_for_a_human(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path, "risk-table", "operations-agent-1") as one:
        await one.operator("bea", "approver")
        assert await one.call("kube.kubectl_get", kind="pods") == {"items": PODS}
        assert await one.call("kube.kubectl_apply", what="x") == {"result": "done"}
        assert await one.call("ansible.ansible_run") == {"result": "done"}
        assert ("kubectl_apply", 1) in one.done, "its record was there before it was done"
        assert ("ansible_run", 1) in one.done
        before = len(one.done)
        for tool in ("kube.kubectl_delete", "kube.kubectl_debug"):
            assert await one.call(tool, what="x") == "PC3040"
        mail = {"to": "eve@evil.example", "body": "Hi"}
        assert await one.call("mail.send_email", **mail) == "PC3040"
        assert len(one.done) == before, "nothing of it happened"
        _, waiting = await one.ask("bea", "GET", "")
        assert {each["name"] for each in waiting["approvals"]} == {
            "kubectl_delete",
            "kubectl_debug",
            "send_email",
        }
        held = next(each for each in waiting["approvals"] if each["name"] == "send_email")
        assert (await one.decide("bea", held["id"], "approve"))[0] == 200
        assert await one.call("mail.send_email", **mail) == {"result": "done"}
        assert await one.call("kube.kubectl_delete", what="x") == "PC3040"
        assert await one.call("shell.shell_exec") == "PC3001"
