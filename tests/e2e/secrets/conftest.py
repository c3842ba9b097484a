"""A gate whose upstreams take credentials in every place, from every source."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs

import boto3
import pytest

import bao
import commands
import standins
from objectstores import s3_server
from portcullis.core.principal import PrincipalKind
from portcullis.demo.serve import Receive, Scope, Send, read_body, serving

AGENT, THIEF = "broker-agent", "thief-agent"
SERVER = """
import hashlib, os
from mcp.server.mcpserver import MCPServer

server = MCPServer("db")


@server.tool()
def check() -> str:
    return hashlib.sha256(os.environ["DATABASE_URL"].encode()).hexdigest()


@server.tool()
def spill() -> str:
    return os.environ["DATABASE_URL"]


server.run("stdio")
"""


class Api:
    """A model endpoint that takes keys in ``good`` and answers all else with 401.

    What arrived is in ``seen``; the model ``probe-echo`` is told what it sent.
    """

    def __init__(self) -> None:
        self.good: set[str] = set()
        self.seen: list[tuple[dict[str, str], dict[str, list[str]], dict[str, Any]]] = []
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        body = json.loads(await read_body(receive))
        status, told = 200, "hello"
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.good:
            self.refused += 1
            status, answer = 401, {"error": {"message": "who are you?", "type": "auth"}}
        else:
            self.seen.append((headers, parse_qs(scope["query_string"].decode()), body))
            if body["model"] == "probe-echo":
                told = f"{headers} {scope['query_string']!r} {body}"
            message = {"role": "assistant", "content": told}
            answer = {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        content = json.dumps(answer).encode()
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": content})


@dataclass
class Place:
    """The stage, what lies behind it, and the values that nobody else may ever see."""

    stage: standins.Stage
    api: Api
    bao: bao.Bao
    tokens: dict[str, str]
    planted: dict[str, str]
    said: list[str] = field(default_factory=list)

    async def ask(self, model: str = "probe-a", words: str = "hello", agent: str = AGENT) -> str:
        """What a call came to: the answer, or the code of its refusal. All of it is kept."""
        import openai  # noqa: PLC0415 - it loads slowly

        async with standins.openai_client(self.stage, self.tokens[agent]) as client:
            try:
                made = await client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": words}]
                )
            except openai.APIStatusError as error:
                self.said.append(f"{error} {error.body} {error.response.headers}")
                return str(error.code)
        self.said.append(made.model_dump_json())
        return made.choices[0].message.content or ""

    async def command(self, *words: str) -> Any:
        """A command of ``portcullis secret``; what it printed, decoded."""
        config = str(self.stage.config)
        done = await asyncio.to_thread(commands.run, "secret", *words, "--json", "-c", config)
        self.said += [done.stdout, done.stderr]
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def policy() -> str:
    text = standins.support_policy()
    text = text.replace("models: [gpt-*,", "models: [probe*, gpt-*,")
    text = text.replace("allowed_tools: [", "allowed_tools: [db.check, db.spill, ", 1)
    agents = "".join(f"\n  {name}: {{role: support_agent}}" for name in (AGENT, THIEF))
    text = text.replace("\nroles:", f"{agents}\n\nroles:\n", 1)
    return text + "  db.check: {risk: read}\n  db.spill: {risk: read}\n"


async def siem(scope: Scope, receive: Receive, send: Send) -> None:
    """What an exporter delivers to."""
    await read_body(receive)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def settings(url: str, server: bao.Bao, aws: str, program: Path, siem_url: str) -> dict[str, Any]:
    connection = "postgresql://{user|url}:{password|url}@db.example:5432/app"
    creds = "openbao:database/creds/reader"
    return {
        "models": {
            "probe": {
                "shape": "openai",
                "url": url,
                "serves": ["probe*"],
                "credential": "openbao:kv/app/model#key",
                "inject": [
                    {"header": "X-Tenant", "secret": "file:secrets/tenant", "only": ["probe-b*"]},
                    {"query": "sig", "secret": "env:PROBE_SIGNATURE"},
                    {"body": "metadata.key", "secret": "aws-sm:app/body#key", "only": ["probe-c"]},
                ],
            }
        },
        "mcp": {
            "db": {
                "command": [sys.executable, str(program)],
                "sandbox": "none",
                "inject": [
                    {
                        "env": "DATABASE_URL",
                        "template": connection,
                        "secrets": {"user": f"{creds}#username", "password": f"{creds}#password"},
                    }
                ],
            }
        },
        "audit": {
            "exporters": [
                {"name": "siem", "kind": "webhook", "url": siem_url, "secret": "env:SIEM_KEY"}
            ]
        },
        "secrets": {
            "openbao": {
                "url": server.url,
                "auth": {
                    "kind": "approle",
                    "role_id": server.role_id,
                    "secret_id": "env:BAO_SECRET_ID",
                },
            },
            "aws": {"region": "eu-west-1", "endpoint": aws},
            "known": [
                {"reference": "env:HONEYTOKEN", "honeytoken": True},
                {"reference": f"{creds}#password", "rotate_every_hours": 24},
            ],
        },
    }


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def place(tmp_path_factory, anyio_backend) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("secrets")
    planted = {
        name: f"{name}-{secrets.token_urlsafe(24)}"
        for name in ("model", "tenant", "signature", "body", "honey")
    }
    program = tmp_path_factory.mktemp("program") / "server.py"
    program.write_text(SERVER)
    api = Api()
    api.good.add(planted["model"])
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(bao.serving())
        planted["secret-id"] = server.secret_id
        planted["siem"] = base64.b64encode(secrets.token_bytes(24)).decode()
        aws = stack.enter_context(s3_server())
        variables = {
            "PROBE_SIGNATURE": planted["signature"],
            "BAO_SECRET_ID": server.secret_id,
            "HONEYTOKEN": planted["honey"],
            "SIEM_KEY": f"whsec_{planted['siem']}",
            "AWS_ACCESS_KEY_ID": aws.access_key,
            "AWS_SECRET_ACCESS_KEY": aws.secret_key,
        }
        stack.enter_context(mock.patch.dict(os.environ, variables))
        planted["aws-key"] = aws.secret_key
        client = boto3.client("secretsmanager", region_name="eu-west-1", endpoint_url=aws.url)
        client.create_secret(Name="app/body", SecretString=json.dumps({"key": planted["body"]}))
        server.put("app/model", key=planted["model"])
        async with serving(api) as url, serving(siem) as siem_url:
            options = settings(url, server, aws.url, program, siem_url)
            (folder / "secrets").mkdir(mode=0o700)
            made = folder / "secrets" / "tenant"
            made.touch(mode=0o600)
            made.write_text(planted["tenant"])
            before = {"trust_domain": "demo.portcullis.example"}
            await asyncio.to_thread(_sealed, folder, before, made)
            async with standins.staged(folder, policy=policy(), settings=options) as stage:
                application = await stage.register(PrincipalKind.APPLICATION, "broker")
                tokens = {}
                for name in (AGENT, THIEF):
                    await stage.register(PrincipalKind.AGENT, name)
                    _, tokens[name] = await stage.open_session(
                        application, name, subject=standins.SUBJECT
                    )
                yield Place(stage, api, server, tokens, planted)


def _sealed(folder: Path, settings: dict[str, Any], path: Path) -> None:
    """Seal a secret's file as the command does, before the gate runs."""
    config = folder / "portcullis.yaml"
    config.write_text(json.dumps(settings | {"state": "state"}))
    done = commands.run("secret", "seal", path, "-c", config)
    assert done.returncode == 0, done.stderr


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
