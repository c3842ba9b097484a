"""The one configuration file, ``portcullis.yaml``, typed.

Every key has a default except the trust domain and the upstreams. An unknown key, a wrong type
or a secret given by value is a Problem PC7001 that names the file, the line and the key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from portcullis.core.errors import Problem

NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME)]
SECRET = r"^(env|file):.+$"  # noqa: S105 - the form of a reference, not a secret


def _reaches(url: str) -> str:
    """An address that can be connected to and holds no secret; else ValueError."""
    parts = urlsplit(url)
    try:
        complete = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # its message repeats what stands where a port belongs
        complete = False
    if not complete:
        msg = "expected http:// or https://, a host and perhaps a port"
        raise ValueError(msg)
    if "@" in parts.netloc or parts.fragment:
        msg = "a URL holds no credential and no fragment; use `credential`"
        raise ValueError(msg)
    return url


def _before_v1(url: str) -> str:
    if url.rstrip("/").endswith("/v1"):
        msg = "the url ends before /v1, which the gate adds"
        raise ValueError(msg)
    return url


Url = Annotated[str, AfterValidator(_reaches)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(_Section):
    """Where to listen: ``host:port``. Plain HTTP is for loopback only."""

    gate: str = "127.0.0.1:7300"
    control: str = "127.0.0.1:7301"

    @field_validator("gate", "control")
    @classmethod
    def _loopback(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if host not in {"127.0.0.1", "[::1]", "localhost"}:
            msg = "plain HTTP is served on loopback only (127.0.0.1, [::1], localhost)"
            raise ValueError(msg)
        if not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the range of a port
            msg = "expected host:port"
            raise ValueError(msg)
        return value


class ModelUpstream(_Section):
    """A model endpoint. ``url`` ends before ``/v1``; ``serves`` are globs of model names."""

    shape: Literal["openai", "anthropic"]
    url: Annotated[Url, AfterValidator(_before_v1)]
    credential: str | None = Field(default=None, pattern=SECRET)
    serves: tuple[str, ...] = ("*",)


class McpUpstream(_Section):
    """An MCP server: either ``url`` (streamable HTTP) or ``command`` (stdio)."""

    url: Url | None = None
    credential: str | None = Field(default=None, pattern=SECRET)
    command: tuple[str, ...] | None = None
    cwd: Path | None = None
    env: dict[str, str] = Field(default_factory=dict)
    """For ``command``: the whole environment beyond PATH, HOME and LANG; values may be
    secret references."""

    def model_post_init(self, context: Any, /) -> None:
        """Exactly one of url and command."""
        del context
        if (self.url is None) == (self.command is None):
            msg = "give exactly one of url and command"
            raise ValueError(msg)
        if self.command is not None and (self.credential or not self.command):
            msg = "command must not be empty and takes its secrets through env, not credential"
            raise ValueError(msg)


class Limits(_Section):
    """Bounds on every request; sizes in bytes, times in seconds."""

    body_bytes: int = Field(default=4 * 2**20, ge=1024)
    result_bytes: int = Field(default=16 * 2**20, ge=1024)
    held_bytes: int = Field(default=2**20, ge=1024)
    """How much of a stream may be held back while a tool call is incomplete."""
    receive_seconds: float = Field(default=15, gt=0)
    connect_seconds: float = Field(default=5, gt=0)
    request_seconds: float = Field(default=120, gt=0)
    idle_seconds: float = Field(default=60, gt=0)
    """The longest silence within a stream."""
    stream_seconds: float = Field(default=900, gt=0)
    session_idle_seconds: float = Field(default=1800, gt=0)
    """After this silence a legacy MCP session (and its server process) is ended."""
    calls_in_flight: int = Field(default=512, ge=1)
    calls_per_agent: int = Field(default=256, ge=1)
    """The share of ``calls_in_flight`` that one agent can take."""
    mcp_sessions: int = Field(default=256, ge=1)
    processes: int = Field(default=32, ge=1)
    audit_queue: int = Field(default=8192, ge=1)
    drain_seconds: float = Field(default=10, ge=0)


class Tokens(_Section):
    """Lifetimes in seconds."""

    ttl_seconds: int = Field(default=3600, ge=10, le=43200)
    session_ttl_seconds: int = Field(default=3600, ge=10, le=43200)
    renew_until_seconds: int = Field(default=43200, ge=10, le=259200)
    """A chain of renewals ends this long after the first token."""


class Audit(_Section):
    """How often a checkpoint is signed, in seconds."""

    checkpoint_seconds: float = Field(default=0.5, gt=0, le=60)


class Config(_Section):
    """The whole file."""

    trust_domain: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,254}$")
    state: Path = Path("portcullis-state")
    policy: Path = Path("policy")
    listen: Listen = Listen()
    models: dict[Name, ModelUpstream] = Field(default_factory=dict)
    mcp: dict[Name, McpUpstream] = Field(default_factory=dict)
    limits: Limits = Limits()
    tokens: Tokens = Tokens()
    audit: Audit = Audit()


_WORDS = {"extra_forbidden": "unknown key", "missing": "this key is required"}


def load(path: Path) -> Config:
    """Read and validate a configuration file; relative paths in it are relative to the file.

    That holds for ``state``, ``policy``, ``cwd`` and ``file:`` references alike.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(
            "PC7001", f"cannot read {path}: {error}", hint="Run `portcullis init`."
        ) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_duplicates(path, root)
        data = yaml.safe_load(text)
    except RecursionError:
        raise Problem("PC7001", f"{path}: an alias refers to itself") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = 1 if mark is None else mark.line + 1
        raise Problem("PC7001", f"{path}:{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise Problem("PC7001", f"{path}: {error}") from None
    if not isinstance(data, dict):
        raise Problem("PC7001", f"{path}:1: expected a mapping")
    try:
        config = Config.model_validate(_anchored(data, path.resolve().parent))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "[key]")
        line = _line(root, first["loc"])
        said = _WORDS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
        raise Problem("PC7001", f"{path}:{line}: {place}: {said}") from None
    return config


def _refuse_duplicates(path: Path, node: yaml.Node | None) -> None:
    """A key that stands twice would lose one of its values in silence."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise Problem("PC7001", f"{path}:{line}: {key.value} stands twice")
            seen.add(key.value)
            _refuse_duplicates(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(path, item)


def _anchored(data: dict[str, Any], base: Path) -> dict[str, Any]:
    """The same document with every relative path below ``base``, and without empty sections."""
    given = {key: value for key, value in data.items() if value is not None}
    found = {"state": "portcullis-state", "policy": "policy"} | given
    for key in ("state", "policy"):
        if isinstance(found[key], str):
            found[key] = str(base / found[key])
    for section in ("models", "mcp"):
        if isinstance(found.get(section), dict):
            found[section] = {
                name: _anchored_upstream(upstream, base) if isinstance(upstream, dict) else upstream
                for name, upstream in found[section].items()
            }
    return found


def _anchored_upstream(upstream: dict[str, Any], base: Path) -> dict[str, Any]:
    found = dict(upstream)
    if isinstance(found.get("credential"), str):
        found["credential"] = _anchored_reference(found["credential"], base)
    if isinstance(found.get("cwd"), str):
        found["cwd"] = str(base / found["cwd"])
    if isinstance(found.get("env"), dict):
        found["env"] = {
            name: _anchored_reference(value, base) if isinstance(value, str) else value
            for name, value in found["env"].items()
        }
    return found


def _anchored_reference(reference: str, base: Path) -> str:
    scheme, _, place = reference.partition(":")
    return f"file:{base / place}" if scheme == "file" and place else reference


def _line(node: yaml.Node | None, where: tuple[int | str, ...]) -> int:
    """The line (from 1) of the deepest node on the way to ``where``."""
    line = 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(part)]
            if not found:
                return line
            key, node = found[0]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line
