"""Two gateways of others in front of the same upstream, each in an environment of its own.

``make bench-fleet-peers`` makes these from locks with hashes. Both run as one worker with logs,
telemetry, databases of spending and look-ups at their makers off, where that can be: they are to
show what they cost, not what they report. Nothing of theirs is imported here.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import yaml

from portcullis.bench.fleet_stub import TOOL
from portcullis.bench.gate import last_line
from portcullis.bench.stub import MODEL
from portcullis.bench.subjects import end, ends_with_us, free_ports, ready
from portcullis.core.errors import Problem

_OK: Final = 200
_READY: Final = 120.0
_CATEGORIES: Final = ("data_exfiltration", "jailbreak", "malicious_code", "sql", "system_prompt")
_PATTERNS: Final = (
    "import json; from litellm.proxy.guardrails.guardrail_hooks.litellm_content_filter.patterns"
    " import get_all_pattern_names as names; print(json.dumps(list(names())))"
)
_CARD: Final = "Charge it to 4111 1111 1111 1111."
_ADMIN: Final = "admin@example.com"


class Peer(Protocol):
    """A gateway of another. ``kinds`` are the kinds of calls it takes."""

    @property
    def name(self) -> str: ...  # noqa: D102 - see above

    @property
    def kinds(self) -> frozenset[str]: ...  # noqa: D102 - see above

    @property
    def tool(self) -> str:
        """What it calls the tool."""
        ...

    @property
    def tools_path(self) -> str: ...  # noqa: D102 - of its MCP endpoint

    def running(
        self, folder: Path, upstream: str
    ) -> contextlib.AbstractContextManager[tuple[int, str, int]]:
        """Start it: its port, the token that it takes, and its process session.

        It has shown by then that it refuses what it is there to refuse. Problem PC7007 otherwise.
        """
        ...


@dataclass(frozen=True, slots=True)
class LiteLlm:
    """LiteLLM's proxy: every prebuilt pattern and its categories against prompt injection.

    On the way in and back; an authentication hook of ours; no database.
    """

    python: Path
    name: str = "litellm"
    kinds: frozenset[str] = frozenset({"json", "sse"})
    tool: str = ""
    tools_path: str = "/"

    @contextlib.contextmanager
    def running(self, folder: Path, upstream: str) -> Iterator[tuple[int, str, int]]:
        """See Peer."""
        place = folder / self.name
        place.mkdir()
        patterns = msgspec.json.decode(_said(self.python, _PATTERNS), type=list[str])
        config = place / "config.yaml"
        config.write_text(yaml.safe_dump(_filtering(patterns, upstream)), encoding="utf-8")
        shutil.copyfile(Path(__file__).with_name("fleet_auth.py"), place / "fleet_auth.py")
        (port,), key = free_ports(1), secrets.token_hex(16)
        variables = {
            "BENCH_KEY": key,
            "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(16)}",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_TELEMETRY": "False",
            "NO_DOCS": "True",
        }
        words = ("--config", str(config), "--host", "127.0.0.1", "--port", str(port))
        argv = (str(self.python.with_name("litellm")), *words, "--num_workers", "1")
        with _child(self.name, argv, place, variables) as child:
            _until_ready(self.name, child, port, "/health/liveliness", place)
            self._proven(port, key)
            yield port, key, child.pid

    def _proven(self, port: int, key: str) -> None:
        """It answers, refuses a stranger's key, and blocks a credit card's number."""
        path = "/v1/chat/completions"

        def ask(token: str, text: str) -> int:
            said = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
            return _posted(port, path, token, said)[0]

        seen = ask(key, "Hello"), ask("other", "Hello"), ask(key, _CARD)
        if seen[0] != _OK or _OK in seen[1:]:
            raise Problem("PC7007", f"{self.name}: a call, a stranger's and a card gave {seen}")


@dataclass(frozen=True, slots=True)
class ContextForge:
    """IBM's gateway for MCP: SQLite, JSON answers, no sessions, tokens (JWT) required."""

    python: Path
    name: str = "contextforge"
    kinds: frozenset[str] = frozenset({"tools"})
    tool: str = f"bench-{TOOL.replace('_', '-')}"
    tools_path: str = "/mcp/"

    @contextlib.contextmanager
    def running(self, folder: Path, upstream: str) -> Iterator[tuple[int, str, int]]:
        """See Peer."""
        place = folder / self.name
        place.mkdir()
        (port,), secret = free_ports(1), secrets.token_hex(32)
        variables = {
            "AUTH_ENCRYPTION_SECRET": secrets.token_hex(32),
            "BASIC_AUTH_PASSWORD": f"Aa1-{secrets.token_hex(16)}",
            "CACHE_TYPE": "memory",
            "DATABASE_URL": f"sqlite:///{place / 'gateway.db'}",
            "DEFAULT_USER_PASSWORD": f"Aa1-{secrets.token_hex(16)}",
            "DISABLE_ACCESS_LOG": "true",
            "ENVIRONMENT": "development",
            "JSON_RESPONSE_ENABLED": "true",
            "JWT_SECRET_KEY": secret,
            "LLMCHAT_ENABLED": "false",
            "LOG_LEVEL": "ERROR",
            "MCPGATEWAY_A2A_ENABLED": "false",
            "MCPGATEWAY_ADMIN_API_ENABLED": "false",
            "MCPGATEWAY_CATALOG_ENABLED": "false",
            "MCPGATEWAY_UI_ENABLED": "false",
            "OBSERVABILITY_ENABLED": "false",
            "OTEL_ENABLE_OBSERVABILITY": "false",
            "PLATFORM_ADMIN_EMAIL": _ADMIN,
            "PLATFORM_ADMIN_PASSWORD": f"Aa1-{secrets.token_hex(16)}",
            "PLUGINS_ENABLED": "false",
            "RATE_LIMITING_ENABLED": "false",
            "SSRF_ALLOW_LOCALHOST": "true",
            "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
            "TOOL_RATE_LIMIT": "1000000000",
            "USE_STATEFUL_SESSIONS": "false",
        }
        words = ("--host", "127.0.0.1", "--port", str(port))
        argv = (str(self.python.with_name("mcpgateway")), *words)
        with _child(self.name, argv, place, variables) as child:
            _until_ready(self.name, child, port, "/health", place)
            token = self._token(place, variables)
            about = {"name": "bench", "url": f"{upstream}/mcp", "transport": "STREAMABLEHTTP"}
            status, said = _posted(port, "/v1/gateways", token, about)
            if status not in range(200, 300):
                raise Problem("PC7007", f"{self.name}: HTTP {status}: {said[:200]!r}")
            self._proven(port, token)
            yield port, token, child.pid

    def _token(self, place: Path, variables: Mapping[str, str]) -> str:
        words = ("-m", "mcpgateway.utils.create_jwt_token", "--username", _ADMIN, "--exp", "600")
        secret = ("--secret", variables["JWT_SECRET_KEY"])
        return _ran((str(self.python), *words, *secret), place, variables).split()[-1]

    def _proven(self, port: int, token: str) -> None:
        """It passes a call of the tool on, and refuses a stranger's."""
        arguments = {"name": self.tool, "arguments": {"query": "late", "limit": 1}}
        said = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": arguments}
        status, answer = _posted(port, self.tools_path, token, said)
        stranger = _posted(port, self.tools_path, "other", said)[0]
        if status != _OK or b"warehouse" not in answer or stranger == _OK:
            detail = f"{self.name}: a call and a stranger's gave {status}, {stranger}"
            raise Problem("PC7007", f"{detail}: {answer[:200]!r}")


def _filtering(patterns: Sequence[str], upstream: str) -> dict[str, Any]:
    """LiteLLM's configuration: personal data is masked, cards and injections are blocked."""
    cards = {"amex", "credit_card", "discover", "mastercard", "visa"}
    found = [
        {
            "pattern_type": "prebuilt",
            "pattern_name": name,
            "action": "BLOCK" if name in cards else "MASK",
        }
        for name in patterns
    ]
    categories = [
        {"category": f"prompt_injection_{name}", "enabled": True, "action": "BLOCK"}
        for name in _CATEGORIES
    ]
    model = {"model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "none"}
    guardrail = {
        "guardrail": "litellm_content_filter",
        "mode": ["pre_call", "post_call"],
        "default_on": True,
        "patterns": found,
        "categories": categories,
    }
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": model}],
        "litellm_settings": {"num_retries": 0, "set_verbose": False, "telemetry": False},
        "general_settings": {
            "custom_auth": "fleet_auth.user_api_key_auth",
            "disable_spend_logs": True,
        },
        "guardrails": [{"guardrail_name": "filter", "litellm_params": guardrail}],
    }


def _said(python: Path, code: str) -> str:
    return _ran((str(python), "-c", code), None, {"LITELLM_LOCAL_MODEL_COST_MAP": "True"})


def _ran(argv: Sequence[str], place: Path | None, variables: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the user's own interpreter
            argv,
            capture_output=True,
            check=False,
            timeout=_READY,
            cwd=place,
            env={**os.environ, **variables},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem("PC7007", f"the peer's Python: {type(error).__name__}") from None
    if done.returncode:
        raise Problem("PC7007", f"{Path(argv[0]).name}: {last_line(done.stderr)}")
    return done.stdout.decode()


@contextlib.contextmanager
def _child(
    name: str, argv: Sequence[str], place: Path, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with (place / "output").open("w+b") as output:
        try:
            child = subprocess.Popen(  # noqa: S603 - the user's own environment
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=ends_with_us,  # noqa: PLW1509 - it only calls prctl(2)
                cwd=place,
                env={**os.environ, **variables},
            )
        except OSError as error:
            raise Problem("PC7007", f"{name}: {error.strerror}") from None
        try:
            yield child
        finally:
            end(child)


def _until_ready(
    name: str, child: subprocess.Popen[bytes], port: int, path: str, place: Path
) -> None:
    until = time.monotonic() + _READY
    while True:
        try:
            ready(name, child, port, path)
        except Problem:
            if child.poll() is None and time.monotonic() < until:
                continue
            said = last_line((place / "output").read_bytes())
            raise Problem("PC7007", f"{name}: no answer; its last line: {said}") from None
        return


def _posted(port: int, path: str, token: str, said: Any) -> tuple[int, bytes]:
    link = HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    try:
        link.request("POST", path, msgspec.json.encode(said), headers)
        answer = link.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        link.close()
