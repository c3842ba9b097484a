"""The stage: stand-in model, tool servers and a gate between them and the agent, on loopback."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp
import yaml

from portcullis import bootstrap
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.config import Config, load
from portcullis.core.call import Context
from portcullis.core.event import Event
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.demo.model import StandinModel
from portcullis.demo.serve import serving
from portcullis.demo.tools import Records, tool_servers

TRUST_DOMAIN: Final = "demo.portcullis.example"
_BRIEFLY: Final = 60.0

Running: TypeAlias = Callable[[Config], contextlib.AbstractAsyncContextManager[bootstrap.Gate]]
"""Runs a gate with a configuration."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs. ``gate`` is the gate, ``config`` the file that it was started with."""

    gate: bootstrap.Gate
    config: Path
    model: StandinModel
    records: Records
    upstream_credentials: tuple[str, ...]

    async def create(self, kind: PrincipalKind, name: str, *, owner: str = "demo") -> None:
        """Register a principal as an operator of this machine would."""
        principals = self.gate.services.principals("demo")
        await principals.create(_operator(), kind, name, owner=owner, purpose="the demonstration")

    async def register(self, kind: PrincipalKind, name: str, *, owner: str = "demo") -> str:
        """Register a principal; returns a token of it (for ``tokens.bearer: loopback``)."""
        await self.create(kind, name, owner=owner)
        principals = self.gate.services.principals("demo")
        return (await principals.mint(_operator(), kind, name)).token

    async def join_token(self, kind: PrincipalKind, name: str) -> str:
        """A one-time join token of a registered principal."""
        return (await self.gate.services.entries("demo").join(_operator(), kind, name)).token

    async def revoke(self, kind: PrincipalKind, name: str) -> None:
        """Cut a principal off at once and for ever."""
        principals = self.gate.services.principals("demo")
        await principals.change(_operator(), kind, name, Verb.REVOKE)

    async def approve(self, approval: str, reason: str) -> None:
        """Let a held call through, as an operator of this machine would."""
        await self.gate.services.approvals("demo").approve(_operator(), approval, reason)

    async def open_session(
        self,
        application: str,
        agent: str,
        *,
        subject: Mapping[str, Any],
        user: str = "ada",
        prompt: str = "Where is my order O-5001?",
        tools: Sequence[str] | None = None,
        output_schema: Mapping[str, Any] | None = None,
        budget: Mapping[str, int] | None = None,
    ) -> tuple[str, str]:
        """Open a session over HTTP with an application's token; returns its id and its token.

        Raises RuntimeError with the gate's problem when it refuses.
        """
        asked = {"agent": agent, "user": user, "prompt": prompt, "subject": dict(subject)}
        if tools is not None:
            asked["tools"] = list(tools)
        if output_schema is not None:
            asked["output_schema"] = dict(output_schema)
        if budget is not None:
            asked["budget"] = dict(budget)
        headers = {"authorization": f"Bearer {application}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(f"{self.gate.gate_url}/v1/sessions", json=asked) as answer,
        ):
            given = await answer.json(content_type=None)
        if answer.status != HTTPStatus.CREATED:
            raise RuntimeError(f"{given.get('code')}: {given.get('detail')}")
        return given["session"], given["token"]

    def events(self) -> list[Event]:
        """What the audit log holds on disk now, in order."""
        directory = self.gate.audit_directory
        return [record.event for record in records(directory, own_verifier(directory))]


def _operator() -> Context:
    now = time.time()
    return Context(
        principal=Principal(
            kind=PrincipalKind.OPERATOR,
            id="local-demo",
            credential="local",
            expires_at=now + _BRIEFLY,
            roles=("admin",),
        ),
        session=None,
        source="local",
        trace_id=secrets.token_hex(16),
        received_at=now,
    )


def support_policy() -> str:
    """The text of the demonstration's policy."""
    return resources.files("portcullis.demo").joinpath("policy/support.yaml").read_text("utf-8")


@contextlib.asynccontextmanager
async def staged(
    folder: Path,
    *,
    policy: str | None = None,
    settings: Mapping[str, Any] | None = None,
    on_write: Callable[[str], None] = lambda _: None,
    running: Running = bootstrap.running_gate,
) -> AsyncIterator[Stage]:
    """Start everything with its state below ``folder`` (which must hold no earlier stage).

    ``policy`` is the text of the policy file, by default the demonstration's. ``settings`` are
    top-level sections of the configuration that replace or, for ``mcp`` and ``models``, join
    what the stage writes. ``on_write`` is called before a tool changes anything. ``running`` runs
    the gate, by default all of it in this process.
    """
    model_key, tools_key = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    keys = _write_secrets(folder / "secrets", model=model_key, tools=tools_key)
    async with contextlib.AsyncExitStack() as stack:
        records = stack.enter_context(Records(folder / "company.db"))
        model = StandinModel(credential=model_key)
        model_url = await stack.enter_async_context(serving(model))
        tools = await stack.enter_async_context(
            tool_servers(records, credential=tools_key, on_write=on_write)
        )
        model_upstream = {"url": model_url, "credential": keys["model"]}
        upstreams: dict[str, dict[str, Any]] = {
            "models": {
                "gpt": model_upstream
                | {"shape": "openai", "serves": ["gpt-*", "text-embedding-*"]},
                "claude": model_upstream | {"shape": "anthropic", "serves": ["claude-*"]},
            },
            "mcp": {name: {"url": url, "credential": keys["tools"]} for name, url in tools.items()},
        }
        config = _write(folder, policy or support_policy(), upstreams, settings or {})
        gate = await stack.enter_async_context(running(load(config)))
        yield Stage(gate, config, model, records, (model_key, tools_key))


def _write(
    folder: Path,
    policy: str,
    upstreams: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> Path:
    sections: dict[str, Any] = {
        "trust_domain": TRUST_DOMAIN,
        "state": "state",
        "policy": "policy",
        "listen": {
            "gate": "127.0.0.1:0",
            "control": "127.0.0.1:0",
            "mtls": "127.0.0.1:0",
            "workload": None,
        },
        "tokens": {"bearer": "loopback", "ttl_seconds": 3600},
    }
    sections |= {name: value for name, value in settings.items() if name not in upstreams}
    for name, written in upstreams.items():
        sections[name] = dict(written) | dict(settings.get(name, {}))
    (folder / "policy").mkdir(exist_ok=True)
    (folder / "policy" / "support.yaml").write_text(policy, encoding="utf-8")
    config = folder / "portcullis.yaml"
    config.write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")
    return config


def _write_secrets(folder: Path, **values: str) -> dict[str, str]:
    """Write each value to a file that only we may read; returns name -> secret reference."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(value, encoding="utf-8")
    return {name: f"file:{(folder / name).resolve()}" for name in values}
