"""The rules and the dashboard that are delivered, judged by Prometheus' own tool.

If these fail, somebody on duty is not woken, is woken for nothing, or looks at an empty panel.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from needs import needs_prometheus, needs_promtool
from portcullis.core.principal import PrincipalKind
from portcullis.demo.stage import _operator
from ports import free_port
from standins import (
    Stage,
    agent_token,
    mcp_client,
    openai_client,
    staged,
    support_policy,
)

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy/prometheus/rules.yaml"
DASHBOARD = ROOT / "deploy/grafana/portcullis.json"
OURS = re.compile(r"\bportcullis_[a-z_]+")
DERIVED = re.compile(r"_(bucket|count|sum)$")
LIMITS = "\nlimits: {few: {for: {model: gpt-*}, calls: 4/hour}}\n"
CASES = Path(__file__).with_name("rules.yaml")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found = json.loads(DASHBOARD.read_text())["panels"]
    return [one for one in found if one["type"] != "row"]


def queries() -> list[list[str]]:
    """What each panel asks, as Grafana asks it for all gateways."""
    return [
        [
            target["expr"].replace("$gateway", ".*").replace("$__rate_interval", "5m")
            for target in one["targets"]
        ]
        for one in panels()
    ]


def known() -> set[str]:
    """The figures of a running gate, and those that it has where witnesses are configured."""
    page = (ROOT / "docs/reference/metrics.md").read_text()
    witnesses = (ROOT / "src/portcullis/bootstrap/witnesses.py").read_text()
    return set(OURS.findall(page)) | set(re.findall(r'"(portcullis_[a-z_]+)"', witnesses))


def promtool(folder: Path, tests: dict[str, Any]) -> None:
    file = folder / "cases.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], **tests}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def fired(expected: list[str]) -> dict[str, Any]:
    samples = [
        {"labels": f'{{alertname="{name}", severity="{severity}"}}', "value": 1}
        for name, severity in (one.split() for one in expected)
    ]
    return {
        "expr": 'group by (alertname, severity) (ALERTS{alertstate="firing"})',
        "exp_samples": samples,
    }


def case(name: str, found: dict[str, Any], always: dict[str, str]) -> dict[str, Any]:
    series = ({} if found.get("alone") else always) | found.get("series", {})
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": one, "values": text} for one, text in series.items()],
        "promql_expr_test": [
            {"eval_time": at, **fired(expected)} for at, expected in found["fires"].items()
        ],
    }


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    written = yaml.safe_load(CASES.read_text())["cases"].values()
    fires = {name for one in written for each in one["fires"].values() for name in each}
    alerts = {f"{one['alert']} {one['labels']['severity']}" for one in rules() if "alert" in one}
    assert fires == alerts


@needs_promtool
@pytest.mark.parametrize(("every", "minutes"), [("1m", 120), ("20m", 4400)], ids=["soon", "days"])
def test_alerts_fire_when_they_should_and_no_others_do(
    tmp_path: Path, every: str, minutes: int
) -> None:
    written = yaml.safe_load(CASES.read_text())
    always = {one: text.replace("N", str(minutes)) for one, text in written["always"].items()}
    found = [
        case(name, one, always)
        for name, one in written["cases"].items()
        if one.get("days", False) is (every == "20m")
    ]
    promtool(tmp_path, {"evaluation_interval": every, "tests": found})


def test_rules_and_panels_ask_for_figures_that_there_are() -> None:
    said = [rule["expr"] for rule in rules()] + [one for each in queries() for one in each]
    wanted = {DERIVED.sub("", name) for text in said for name in OURS.findall(text)}
    assert wanted <= known()
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = {one for text in said for one in re.findall(r"portcullis:[a-z0-9_:]+", text)}
    assert asked <= recorded


def test_every_alert_says_what_to_do() -> None:
    page = (ROOT / "docs/runbooks.md").read_text()
    headings = re.findall(r"^#+ (.+)$", page, flags=re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings}
    for rule in rules():
        if "alert" in rule:
            place, _, anchor = rule["annotations"]["runbook"].partition("#")
            assert place == "docs/runbooks.md"
            assert anchor in anchors, rule["alert"]


def test_the_dashboard_is_for_any_data_source() -> None:
    text = DASHBOARD.read_text()
    assert set(re.findall(r'"uid": "([^"]*)"', text)) == {"${datasource}", "portcullis"}
    ids = [one["id"] for one in json.loads(text)["panels"]]
    assert len(ids) == len(set(ids))


async def page(stage: Stage, path: str = "/metrics") -> str:
    principals, who = stage.gate.services.principals("demo"), (PrincipalKind.OPERATOR, "vic")
    await principals.create(_operator(), *who, owner="vic", roles=("viewer",))
    token = (await principals.mint(_operator(), *who)).token
    headers = {"authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.get(f"{stage.gate.control_url}{path}") as answer,
    ):
        assert answer.status == 200
        return await answer.text()


def series(text: str) -> list[dict[str, str]]:
    """A page's samples, as if they had been scraped each minute and had grown since."""
    found = []
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            labels = ", ".join(f"{key}={json.dumps(value)}" for key, value in one.labels.items())
            step = "+1" if family.type in {"counter", "histogram"} else "+0"
            values = f"{one.value:g}{step}x20"
            found.append({"series": f"{one.name}{{{labels}}}", "values": values})
    return found


def settings(folder: Path) -> dict[str, Any]:
    """One of everything that the dashboard shows."""
    mail = {"kind": "email", "server": "127.0.0.1:9", "tls": "none", "from": "gate@example.org"}
    return {
        "telemetry": {"traces": {"endpoint": "http://127.0.0.1:9/v1/traces", "ratio": 1}},
        "notifications": {"pager": {**mail, "to": ["ops@example.org"]}},
        "audit": {
            "exporters": [{"name": "lines", "kind": "file", "path": str(folder / "out.jsonl")}],
            "replicate": [{"name": "copy", "store": f"file://{folder / 'copy'}"}],
        },
    }


async def asked(client: openai.AsyncOpenAI, model: str, words: str) -> None:
    with contextlib.suppress(openai.APIError):
        await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": words}]
        )


async def traffic(stage: Stage) -> None:
    """Calls that are allowed, denied, refused, limited, masked, and fail at their upstream."""
    token = await agent_token(stage)
    async with openai_client(stage, token) as client:
        await asked(client, "gpt-standin", "Mail to ada@customer.example, please.")
        await asked(client, "gpt-standin:malformed", "Say something.")
        await asked(client, "other", "Say something.")
        for _ in range(3):
            await asked(client, "gpt-standin", "Say something.")
    async with openai_client(stage, "no token of ours") as client:
        await asked(client, "gpt-standin", "Say something.")
    async with mcp_client(stage, "orders", token) as tools:
        await tools.call_tool("search", {"customer_id": "C-1001"})


@needs_promtool
async def test_every_panel_shows_something_after_some_traffic(tmp_path: Path) -> None:
    policy = support_policy() + LIMITS
    async with staged(tmp_path, policy=policy, settings=settings(tmp_path)) as stage:
        await traffic(stage)
        text = await page(stage)
    tests = [
        {
            "expr": f"count({' or '.join(one)}) > bool 0",
            "eval_time": "10m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for one in queries()
    ]
    found = {"interval": "1m", "input_series": series(text), "promql_expr_test": tests}
    promtool(tmp_path, {"evaluation_interval": "1m", "tests": [found]})


@needs_prometheus
async def test_prometheus_reads_the_figures_with_a_credential_that_opens_nothing_else(
    tmp_path: Path,
) -> None:
    token = tmp_path / "scrape.token"
    token.write_text("0123456789abcdef0123456789abcdef\n")
    token.chmod(0o600)
    section = {"telemetry": {"metrics": {"token": f"file:{token}"}}}
    async with staged(tmp_path, settings=section) as stage:
        url = stage.gate.control_url
        async with scraped(tmp_path, url, token) as answers:
            assert await answers('up{job="portcullis"} == 1') == ["1"]
            assert await answers('count(portcullis_decisions_total{gateway!=""}) or vector(0)')
        headers = {"authorization": f"Bearer {token.read_text().strip()}"}
        async with aiohttp.ClientSession(url, headers=headers) as http:
            for method, path in await routes(stage):
                async with http.request(method, path) as answer:
                    assert answer.status == (200 if path == "/metrics" else 401), path
            async with aiohttp.ClientSession(stage.gate.gate_url, headers=headers) as agents:
                answer = await agents.post("/v1/sessions", json={})
                assert answer.status == 401
            token.write_text("another one, as long as the first")
            assert (await http.get("/metrics")).status == 401
            token.write_text("short")
            short = {"authorization": "Bearer short"}
            assert (await http.get("/metrics", headers=short)).status == 401


async def routes(stage: Stage) -> list[tuple[str, str]]:
    """What may be asked of the control plane with a credential."""
    described = json.loads(await page(stage, "/api/v1/openapi.json"))["paths"]
    found = [
        (verb.upper(), re.sub(r"\{[a-z_]+\}", "x", path))
        for path, verbs in described.items()
        for verb, said in verbs.items()
        if said.get("x-principal") == "operator"
    ]
    assert len(found) > 100
    return found


@contextlib.asynccontextmanager
async def scraped(
    folder: Path, url: str, token: Path
) -> AsyncIterator[Callable[[str], Awaitable[list[str]]]]:
    """Prometheus with the configuration that is delivered, at our addresses; what it answers."""
    settings = yaml.safe_load((RULES.parent / "prometheus.yaml").read_text())
    settings["global"]["scrape_interval"] = "1s"
    settings["rule_files"] = [str(RULES)]
    job = settings["scrape_configs"][0]
    job["scheme"], _, address = url.partition("://")
    job["static_configs"] = [{"targets": [address]}]
    job["authorization"]["credentials_file"] = str(token)
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    at = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={at}",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession(f"http://{at}") as http:

            async def values(query: str) -> list[str]:
                """What it knows, once it has scraped: each value."""
                for _ in range(300):
                    with contextlib.suppress(aiohttp.ClientError, KeyError):
                        async with http.get("/api/v1/query", params={"query": query}) as answer:
                            found = (await answer.json())["data"]["result"]
                        if found:
                            return [one["value"][1] for one in found]
                    await asyncio.sleep(0.2)
                raise AssertionError(query)

            yield values
    finally:
        process.kill()
        await asyncio.wait_for(process.wait(), 30)
