"""The gate under test: a configuration, a policy of 30 rules and 100 agents, a child process.

The child is ``portcullis up``, as a user starts it: every check, validation and the durable log
are on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from portcullis.bench.stub import MODEL
from portcullis.bootstrap import SystemClock, founded, local_operator, own_log
from portcullis.config import load
from portcullis.core.call import Context
from portcullis.core.principal import Principal, PrincipalKind

AGENT: Final = "bench-agent"
_AGENTS: Final = 100
_ROLES: Final = 10
_TOOLS_PER_ROLE: Final = 3
_TOKEN_SECONDS: Final = 600
_CREDENTIAL: Final = "PORTCULLIS_BENCH_CREDENTIAL"
_CLI: Final = (sys.executable, "-c", "from portcullis.cli import main; main()")


def policy() -> dict[str, Any]:
    """100 agents in 10 roles with 3 permissions each (30 rules) on 30 tools, and a model."""
    agents = {
        f"agent-{n:03}": {"role": f"role_{n % _ROLES}", "owner": "bench"}
        for n in range(_AGENTS - 1)
    }
    agents[AGENT] = {"role": "role_0", "owner": "bench"}
    roles, tools = {}, {}
    for role in range(_ROLES):
        resources = [f"records_{role}_{number}" for number in range(_TOOLS_PER_ROLE)]
        roles[f"role_{role}"] = {
            "permissions": [{"read": resource} for resource in resources],
            "models": [MODEL, "gpt-*"],
        }
        for resource in resources:
            tools[f"desk.search_{resource}"] = {
                "resource": resource,
                "verb": "read",
                "risk": "read",
                "arguments": {"limit": {"maximum": 100}},
            }
    return {"version": 1, "agents": agents, "roles": roles, "tools": tools}


def configuration(
    folder: Path, *, gate: int, control: int, upstream: str, mtls: int | None = None
) -> Path:
    """Write ``portcullis.yaml`` and the policy below ``folder``; returns the former's path.

    ``gate``, ``control`` and ``mtls`` are ports of 127.0.0.1.
    """
    (folder / "policy").mkdir()
    (folder / "policy" / "main.yaml").write_text(yaml.safe_dump(policy(), sort_keys=False))
    path = folder / "portcullis.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "trust_domain": "bench.local",
                "listen": {
                    "gate": f"127.0.0.1:{gate}",
                    "control": f"127.0.0.1:{control}",
                    "mtls": mtls and f"127.0.0.1:{mtls}",
                    "workload": None,
                },
                "tokens": {"bearer": "loopback", "ttl_seconds": 3600},
                "models": {
                    "bench": {
                        "shape": "openai",
                        "url": upstream,
                        "credential": f"env:{_CREDENTIAL}",
                        "serves": [MODEL],
                    }
                },
            }
        )
    )
    return path


def agent_token(config: Path, kind: PrincipalKind = PrincipalKind.AGENT, name: str = AGENT) -> str:
    """Register the agent that makes the calls; its token. The gate must not run yet.

    Or another principal that is to have one.
    """
    settings, now = load(config), SystemClock().now()
    me = Principal(
        kind=PrincipalKind.OPERATOR,
        id=local_operator(),
        credential="issuer-key",
        expires_at=now + _TOKEN_SECONDS,
        roles=("admin",),
    )
    context = Context(
        principal=me, session=None, source="cli", trace_id=secrets.token_hex(16), received_at=now
    )
    with contextlib.ExitStack() as stack:
        principals = founded(stack, settings, own_log(settings)).principals("cli")

        async def made() -> str:
            purpose = "makes the calls that are measured"
            await principals.create(context, kind, name, owner="bench", purpose=purpose)
            return (await principals.bearer(context, kind, name)).token

        return asyncio.run(made())


def command(config: Path) -> tuple[str, ...]:
    """The command that runs the gate."""
    return (*_CLI, "up", "-c", str(config))


def program(*words: str) -> tuple[str, ...]:
    """A command of this program's."""
    return (*_CLI, *words)


def environment() -> dict[str, str]:
    """The gate's environment: ours and a fresh upstream credential."""
    return {**os.environ, _CREDENTIAL: secrets.token_hex(16)}


def last_line(output: bytes) -> str:
    """The last line that a child printed, for an error message."""
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return json.dumps(lines[-1][:200]) if lines else "it printed nothing"
