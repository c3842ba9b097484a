"""The example policies: their own tests are complete, and a gate does what they say."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import openai
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
    known: set[str]
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

    async def become(self, agent: str) -> None:
        """Go on as an agent, in a new session."""
        if agent not in self.known:
            await self.stage.register(PrincipalKind.AGENT, agent)
        self.known.add(agent)
        self.clients.clear()
        self.session, self.token = await self.stage.open_session(
            self.application, agent, subject={}
        )

    async def shown(self, server: str) -> set[str]:
        """The tools that the agent is shown of a server."""
        return {tool.name for tool in (await (await self.client(server)).list_tools()).tools}


def _refusal(error: BaseException) -> MCPError:
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, MCPError), error
    return error


@contextlib.asynccontextmanager
async def shop(
    folder: Path,
    example: str,
    agent: str,
    changed: Mapping[str, str] | None = None,
    **subject: str,
) -> AsyncIterator[Shop]:
    stages: list[standins.Stage] = []
    done: list[Any] = []
    served = company(stages, done).streamable_http_app()
    policy = (EXAMPLES / example / "policy.yaml").read_text(encoding="utf-8")
    for was, now in (changed or {}).items():
        assert was in policy
        policy = policy.replace(was, now)
    async with served.router.lifespan_context(served), serving(served) as url:
        settings = {"mcp": {name: {"url": f"{url}/mcp"} for name in SERVERS}}
        async with (
            standins.staged(folder, policy=policy, settings=settings) as stage,
            contextlib.AsyncExitStack() as stack,
        ):
            stages.append(stage)
            await stage.register(PrincipalKind.AGENT, agent)
            one = Shop(stage, await stage.register(PrincipalKind.APPLICATION, "helpdesk"))
            one.done, one.clients, one.known, one.stack = done, {}, {agent}, stack
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


async def asks(one: Shop, characters: int, most: int) -> str:
    """Ask a model something so long, for at most so many tokens; the code of a refusal."""
    said = [{"role": "user", "content": "word " * (characters // 5)}]
    async with standins.openai_client(one.stage, one.token) as client:
        try:
            await client.chat.completions.create(
                model="gpt-standin:say", messages=said, max_tokens=most
            )
        except openai.APIStatusError as error:
            return str(error.code)
    return ""


async def test_infrastructure_sees_its_namespaces_no_secrets_and_a_session_has_calls_and_tokens(
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
        for agent, tokens in (("infra-agent-1", 100_000), ("data-agent-1", 50_000)):
            await one.become(agent)
            assert await asks(one, 100, tokens + 1) == "PC3078"
            much = tokens * 8 // 10, tokens * 3 // 10  # seven tenths of them at most, four in fact
            assert await asks(one, *much) == ""
            assert await asks(one, *much) == "PC3071"
            assert await asks(one, 100, 100) == "", "what is left is left"
        for _ in range(98):
            assert await one.call("sql.sql_read") == {"result": "done"}
        assert await one.call("sql.sql_read") == "PC3071", "its models' calls are two of a hundred"
        assert await asks(one, 100, 100) == "PC3071"
        assert len(one.done) == 50 + 98


async def test_a_session_has_its_seconds_and_then_nothing_goes_on(tmp_path: Path) -> None:
    """The example's own limits, but of two seconds."""
    changed = {"seconds: 300}": "seconds: 2}", "seconds: 120}": "seconds: 2}"}
    async with shop(tmp_path, "infrastructure", "infra-agent-1", changed) as one:
        for agent, tool in (
            ("infra-agent-1", "ansible.ansible_check"),
            ("data-agent-1", "web.api_get"),
        ):
            await one.become(agent)
            said = await one.call(tool)
            assert said in ({"result": "done"}, "PC3075"), "a slow machine may be late"
            async with asyncio.timeout(60):
                while said != "PC3075":
                    await asyncio.sleep(0.2)
                    said = await one.call(tool)
            assert await asks(one, 100, 100) == "PC3075"
            assert one.stage.events()[-1].reason.endswith("2 seconds since the session was opened")


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
