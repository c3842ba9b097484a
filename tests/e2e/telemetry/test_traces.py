"""A collector gets the tree of what the gate did, and nothing of what was said.

If these fail, traces tell content to whoever reads them, an agent decides what is traced, or a
collector that hangs holds up calls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client import CollectorRegistry

from e2e.decisions.conftest import SIDECAR, Asking, request
from e2e.egress.rules import READ
from e2e.egress.stage import staged_egress
from portcullis.core.event import Event
from portcullis.core.principal import PrincipalKind
from receivers import HttpReceiver, http_receiver
from standins import Stage, agent_token, eventually, mcp_client, openai_client, staged

pytestmark = pytest.mark.anyio

CANARY = "quokka-7731-in-no-trace"
THEIRS, THEIR_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HOSTILE = {"traceparent": f"00-{THEIRS}-{THEIR_SPAN}-01", "tracestate": CANARY, "baggage": CANARY}
ASKED = [{"role": "user", "content": f"Say {CANARY}."}]
REQUEST = (
    "contain", "isolate", "agent-breaker", "restore", "validate", "authorize", "provenance",
    "answered", "inspect", "unusual", "upstream-breaker", "limit", "oblige",
)  # fmt: skip
RESULT = (
    "oblige", "limit", "inspect", "answered", "overheard", "memory", "provenance", "authorize",
    "validate", "isolate", "contain",
)  # fmt: skip


def tree(asked: tuple[str, ...], *between: str) -> list[str]:
    """The names of a request's parts, in the order in which they begin."""
    before = [f"{name} request" for name in asked]
    return [*before, *between, *(f"{name} result" for name in RESULT)] if between else before


def traced(url: str, **changes: Any) -> dict[str, Any]:
    return {"telemetry": {"traces": {"endpoint": url, "ratio": 1, **changes}}}


def spans(receiver: HttpReceiver) -> list[Span]:
    found = [ExportTraceServiceRequest.FromString(body) for _, body in receiver.taken]
    scopes = [scope for one in found for part in one.resource_spans for scope in part.scope_spans]
    return [span for scope in scopes for span in scope.spans]


def said(span: Span) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


async def until(wanted: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := wanted()):
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.02)
    return found


async def of_event(receiver: HttpReceiver, event: str) -> list[Span]:
    """The trace of the request whose decision is on record as ``event``, its root first."""

    def whole() -> list[Span]:
        known = spans(receiver)
        roots = [one for one in known if said(one).get("portcullis.event.id") == event]
        return [one for one in known if roots and one.trace_id == roots[0].trace_id]

    return await until(whole)


def figure(registry: CollectorRegistry, fate: str) -> float:
    return registry.get_sample_value("portcullis_spans_total", {"fate": fate}) or 0.0


async def refused(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        await client.chat.completions.create(model=f"o-{CANARY}", messages=ASKED)


async def use(stage: Stage) -> None:
    """What real clients do: a call, a stream under a hostile trace, a tool, and what is denied."""
    token = await agent_token(stage)
    async with openai_client(stage, token) as client:
        await client.chat.completions.create(model="gpt-standin", messages=ASKED)
        stream = await client.chat.completions.create(
            model="gpt-standin", messages=ASKED, stream=True, extra_headers=HOSTILE
        )
        assert [piece async for piece in stream]
        await refused(client)
    async with mcp_client(stage, "orders", token) as tools:
        found = await tools.call_tool("search", {"customer_id": "C-1001"})
        assert not found.is_error


async def test_a_collector_gets_one_span_a_check_and_no_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLECTOR_KEY", "a key of the collector's")
    async with http_receiver() as receiver:
        settings = traced(receiver.url, propagate=True, headers={"x-api-key": "env:COLLECTOR_KEY"})
        async with staged(tmp_path, settings=settings) as stage:
            await use(stage)
            stream = await eventually(stage, lambda one: one.route == "llm-stream")
            denied = await eventually(stage, lambda one: one.verdict == "deny")
            model = await eventually(stage, lambda one: one.type == "llm_call")
            tool = await eventually(stage, lambda one: one.type == "tool_call")

            found = await of_event(receiver, model.id)
            root, parts = found[0], found[1:]
            assert root.name == "POST /openai"
            assert root.kind == Span.SPAN_KIND_SERVER
            assert root.trace_id.hex() == model.trace_id  # the log's events join the trace
            assert not root.parent_span_id
            assert [one.name for one in parts] == tree(REQUEST, "record", "chat")
            assert {one.parent_span_id for one in parts} == {root.span_id}
            begun = [one.start_time_unix_nano for one in found]
            assert begun == sorted(begun)
            assert all(one.start_time_unix_nano <= one.end_time_unix_nano for one in found)
            assert root.end_time_unix_nano >= max(one.end_time_unix_nano for one in parts)
            assert said(root)["portcullis.verdict"] == "allow"
            assert said(root)["gen_ai.agent.id"] == model.principal
            assert said(root)["gen_ai.usage.output_tokens"] > 0
            asking = parts[len(REQUEST) + 1]
            assert asking.kind == Span.SPAN_KIND_CLIENT
            assert said(asking)["gen_ai.provider.name"] == "gpt"
            told = stage.model.seen[0].headers
            assert told["traceparent"] == f"00-{root.trace_id.hex()}-{asking.span_id.hex()}-01"

            found = await of_event(receiver, stream.id)
            assert [one.name for one in found[1:]] == tree(REQUEST, "record", "chat")
            assert found[0].trace_id.hex() != THEIRS  # nobody adds spans to somebody else's trace
            (link,) = found[0].links
            assert (link.trace_id.hex(), link.span_id.hex()) == (THEIRS, THEIR_SPAN)
            assert stream.trace_id == THEIRS

            found = await of_event(receiver, denied.id)
            assert [one.name for one in found[1:]] == tree(REQUEST[:6])
            assert said(found[0])["portcullis.check"] == "authorize"
            last = said(found[-1])
            assert (last["portcullis.check"], last["error.type"]) == ("authorize", denied.code)
            assert {found[0].status.code, found[-1].status.code} == {2}

            found = await of_event(receiver, tool.id)
            assert [one.name for one in found[1:]] == tree(REQUEST, "tools/call search")
            assert said(found[len(REQUEST) + 1])["gen_ai.tool.name"] == "search"

            headers = [one for one, _ in receiver.taken]
            assert {one["x-api-key"] for one in headers} == {"a key of the collector's"}
            raw = b"".join(body for _, body in receiver.taken)
            for secret in (CANARY, "C-1001", "ada@customer.example", *stage.upstream_credentials):
                assert secret.encode() not in raw
            assert figure(stage.gate.registry, "sent") >= len(found)
            assert not figure(stage.gate.registry, "dropped")


async def test_questions_and_egress_are_traced_each_as_a_request_of_its_own(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        listen = dict.fromkeys(("gate", "control", "mtls", "egress", "decisions"), "127.0.0.1:0")
        sections = {
            **traced(receiver.url),
            "listen": {**listen, "workload": None},
            "decisions": {"askers": ["pep"], "peers": [SIDECAR]},
        }
        async with staged_egress(tmp_path, **sections) as stage:
            asking = Asking(stage.stage)
            asking.token = await stage.stage.register(PrincipalKind.APPLICATION, "pep")
            await asking.may("call", "tool", f"kb.{CANARY}", agent="coder")
            link = {"traceparent": HOSTILE["traceparent"]}
            asked = request(url=f"https://{CANARY}.test/x", agent="coder", **link)
            async with asking.channel() as check:
                assert (await check(asked, timeout=20)).status.code
            async with stage.http() as http:
                answer = await http.get(stage.url(READ), params={"q": CANARY}, headers=HOSTILE)
                assert answer.status_code == 200
            await stage.resolve(READ)

            def of(route: str, method: str = "") -> Callable[[Event], bool]:
                """Whether an event is the decision on a call of this kind."""
                kinds = {"decision", "tool_call"}
                return lambda one: (
                    one.route == route and one.type in kinds and method in ("", one.method)
                )

            one = await eventually(stage.stage, of("authzen"))
            found = await of_event(receiver, one.id)
            assert (found[0].name, said(found[0])["portcullis.verdict"]) == ("authzen", "deny")
            assert found[0].trace_id.hex() == one.trace_id
            assert "validate request" in [part.name for part in found]

            one = await eventually(stage.stage, of("ext-authz"))
            found = await of_event(receiver, one.id)
            assert (found[0].name, found[-1].name) == ("ext-authz", "authorize request")
            assert found[0].links[0].trace_id.hex() == THEIRS == one.trace_id
            assert found[0].trace_id.hex() != THEIRS

            one = await eventually(stage.stage, of("egress", "GET"))
            found = await of_event(receiver, one.id)
            parts = [part.name for part in found]
            assert parts[0] == "egress"
            assert parts.index("authorize request") < parts.index("record") < parts.index("forward")
            assert parts[-1] == "contain result"
            assert found[0].links[0].trace_id.hex() == THEIRS

            for method, last in (("CONNECT", "tunnel"), ("DNS", "resolve")):
                one = await eventually(stage.stage, of("egress", method))
                parts = [part.name for part in await of_event(receiver, one.id)]
                assert last in parts, parts
                assert "forward" not in parts, "each request has a trace of its own"
            assert CANARY.encode() not in b"".join(body for _, body in receiver.taken)


async def test_a_collector_that_hangs_costs_spans_and_nothing_else(tmp_path: Path) -> None:
    hung, release = asyncio.Event(), asyncio.Event()

    async def never(_: web.Request) -> web.Response:
        hung.set()
        await release.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", never)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
        async with staged(tmp_path, settings=traced(url, queue=256)) as stage:
            async with openai_client(stage, await agent_token(stage)) as client:
                await client.chat.completions.create(model="gpt-standin", messages=ASKED)
                await asyncio.wait_for(hung.wait(), 60)
                for _ in range(50):  # more spans than may wait
                    await refused(client)
            assert figure(stage.gate.registry, "dropped") > 0
            assert not figure(stage.gate.registry, "sent")
    finally:
        release.set()
        await runner.cleanup()
