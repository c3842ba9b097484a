"""A gate that runs while the reference is made: its APIs' descriptions and its figures."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from prometheus_client import CollectorRegistry

from portcullis import bootstrap
from portcullis.bootstrap.figures import missing_gauge
from portcullis.bootstrap.hosts_logs import age_gauge
from portcullis.cli import logs
from portcullis.config import load
from portcullis.control import agents_api, authzen_api, runs_api
from portcullis.core.principal import PrincipalKind

_NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True)
class Described:
    """``control`` and ``agents`` are OpenAPI descriptions; ``registry`` holds every figure."""

    control: dict[str, Any]
    agents: dict[str, Any]
    registry: CollectorRegistry


class _Nobody:
    """Decides nothing: the routes are described, not asked."""

    async def decide(self, *_: object) -> Any:
        raise AssertionError

    def refused(self, *_: object) -> Any:
        raise AssertionError


def described() -> Described:
    """Run a gate with one of everything that has figures, for as long as it takes to ask it."""
    logs.configure("error")
    with tempfile.TemporaryDirectory(prefix="portcullis-docs-") as folder:
        return asyncio.run(_described(Path(folder)))


async def _described(folder: Path) -> Described:
    (folder / "policy").mkdir()
    (folder / "policy/main.yaml").write_text("version: 1\n", encoding="utf-8")
    file = folder / "portcullis.yaml"
    file.write_text(yaml.safe_dump(_settings(folder)), encoding="utf-8")
    async with bootstrap.running_gate(load(file)) as gate:
        age_gauge(gate.registry)  # where the store is PostgreSQL
        missing_gauge(gate.registry)  # where gateways are processes of their own
        issued = gate.services.authority.mint(
            PrincipalKind.OPERATOR, "docs", ttl=60, roles=("viewer",)
        )
        agents = agents_api.create_app(
            gate.services,
            trust=gate.domain.trust,
            usable=lambda *_: True,
            names=(),
            routers=lambda edge: (
                *gate.domain.agents_routers(edge),
                runs_api.router(edge, runs_api.of(gate.services)),
                authzen_api.router(
                    *(edge, _Nobody(), ()),
                    *(gate.services.authority.stands_for, gate.services.new_id),
                ),
                authzen_api.metadata(edge),
            ),
        )
        url, headers = gate.control_url, {"authorization": f"Bearer {issued.token}"}
        async with (
            aiohttp.ClientSession(url, headers=headers) as http,
            http.get("/api/v1/openapi.json") as answer,
        ):
            return Described(
                control=await answer.json(), agents=agents.openapi(), registry=gate.registry
            )


def _settings(folder: Path) -> dict[str, Any]:
    closed = {"mtls": None, "workload": None}
    return {
        "trust_domain": "docs.example",
        "listen": {"gate": "127.0.0.1:0", "control": "127.0.0.1:0", **closed},
        "notifications": {
            "mail": {
                "kind": "email",
                "server": _NOWHERE.removeprefix("http://"),
                "tls": "none",
                "from": "gate@docs.example",
                "to": ["ops@docs.example"],
            }
        },
        "telemetry": {"traces": {"endpoint": _NOWHERE, "ratio": 0}},
        "audit": {
            "exporters": [{"name": "siem", "kind": "otlp", "url": _NOWHERE}],
            "replicate": [{"name": "copy", "store": f"file://{folder / 'copy'}"}],
        },
    }
