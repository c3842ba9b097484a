"""Who talks to whom in a deployment: its parts, and the boundaries at which trust changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from portcullis.config.boxed import NONE
from portcullis.review.threats_scene import Scene
from portcullis.review.threats_where import listeners, many

Side = Literal["callers", "gate", "stores", "beyond"]
"""Where a zone stands: before the gate, in it, in its machine's files, or behind it."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One part. ``about`` are the subjects of threats that are about it; ``group`` joins many."""

    name: str
    detail: str
    about: tuple[str, ...] = ()
    group: str = ""


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """Parts within one trust boundary; ``trust`` says what of them is trusted."""

    title: str
    trust: str
    side: Side
    nodes: tuple[Node, ...]


def zones(scene: Scene) -> tuple[Zone, ...]:
    """All zones of a deployment that have anybody in them."""
    boxed, loose = _programs(scene)
    found = (
        ("People", "authenticated, each with a role", "callers", _people(scene)),
        ("Who asks for decisions", "authenticated; acts by itself", "callers", _askers(scene)),
        ("Agents", "not trusted", "callers", _agents(scene)),
        ("The gate", "trusted", "gate", _gate(scene)),
        ("Its files", "as trusted as this machine", "stores", _files(scene)),
        ("In boxes of this machine", "not trusted, held", "beyond", boxed),
        ("On this machine, in no box", "held by nothing", "beyond", loose),
        ("Functions in agents' programs", "the agent's word", "beyond", _toolsets(scene)),
        ("Model endpoints", "not trusted", "beyond", _models(scene)),
        ("MCP servers elsewhere", "not trusted", "beyond", _servers(scene)),
        ("Hosts of the network", "not trusted", "beyond", _hosts(scene)),
        ("Other decision points", "may only narrow", "beyond", _opinions(scene)),
        ("Who gets the log", "for keeping and vouching", "beyond", _readers(scene)),
    )
    return tuple(
        Zone(title=title, trust=trust, side=side, nodes=nodes)  # type: ignore[arg-type]
        for title, trust, side, each in found
        if (nodes := tuple(each))
    )


def _people(scene: Scene) -> Iterator[Node]:
    console = scene.config.console
    yield Node(name="operators", detail=f"passkeys {console.passkeys}", about=("approvals",))


def _askers(scene: Scene) -> Iterator[Node]:
    found = scene.config.decisions
    for kind, each in (("application", found.askers), ("peer", found.peers)):
        for name in sorted(each):
            yield Node(name=name, detail=kind, about=(f"{kind} {name}",))


def _agents(scene: Scene) -> Iterator[Node]:
    for one in scene.agents:
        role, tools = one.reach.role, len(one.reach.tools)
        detail = f"{role}: {many(tools, 'tool')}, up to {scene.worst(one)}"
        yield Node(name=one.name, detail=detail, about=(f"agent {one.name}",), group=f"role {role}")


def _gate(scene: Scene) -> Iterator[Node]:
    about = [f"listener {name}" for name, _ in listeners(scene.config)]
    yield Node(
        name=f"Portcullis, {scene.config.environment}",
        detail=scene.config.trust_domain,
        about=("tokens", "inspection", *about),
    )


def _files(scene: Scene) -> Iterator[Node]:
    count = len(scene.policy.agents)
    detail = f"{many(count, 'agent')}, {many(len(scene.policy.roles), 'role')}"
    yield Node(name="policy", detail=detail, about=("policy",))
    yield Node(name="log", detail="what was decided and done", about=("log",))
    yield Node(
        name="state directory",
        detail=f"keys: {scene.config.keys.kind}",
        about=("state directory",),
    )


def _used_by(scene: Scene, server: str) -> str:
    count = sum(server in scene.servers(one) for one in scene.agents)
    return many(count, "agent")


def _programs(scene: Scene) -> tuple[list[Node], list[Node]]:
    """What the gate starts, by server: in boxes, and in none."""
    boxed: list[Node] = []
    loose: list[Node] = []
    by_server: dict[str, list[tuple[str, str]]] = {}
    for name, box in scene.processes.items():
        by_server.setdefault(name.split(".")[1], []).append((name, box))
    for server, found in by_server.items():
        boxes = sorted({box for _, box in found})
        node = Node(
            name=server,
            detail=f"{', '.join(boxes)}; {_used_by(scene, server)}",
            about=(f"server {server}", *(f"process {name}" for name, _ in found)),
            group="servers",
        )
        (loose if NONE in boxes else boxed).append(node)
    return boxed, loose


def _toolsets(scene: Scene) -> Iterator[Node]:
    for name in sorted(scene.config.guard):
        yield Node(name=name, detail=_used_by(scene, name), about=(f"toolset {name}",))


def _models(scene: Scene) -> Iterator[Node]:
    for name, one in sorted(scene.config.models.items()):
        yield Node(name=name, detail=_address(one.url), about=(f"upstream {name}",))


def _servers(scene: Scene) -> Iterator[Node]:
    for name, one in sorted(scene.config.mcp.items()):
        if one.url is not None:
            detail = f"{_address(one.url)}; {_used_by(scene, name)}"
            yield Node(name=name, detail=detail, about=(f"server {name}", f"upstream {name}"))


def _hosts(scene: Scene) -> Iterator[Node]:
    found: dict[str, list[str]] = {}
    for one in scene.agents:
        for rule in one.role.egress:
            found.setdefault(rule.host.value, []).append(one.name)
    for host, agents in sorted(found.items()):
        yield Node(name=host, detail=many(len(set(agents)), "agent"))


def _opinions(scene: Scene) -> Iterator[Node]:
    for name, one in sorted(scene.config.decisions.opinions.items()):
        yield Node(name=name, detail=_address(one.opa or one.authzen or ""))


def _readers(scene: Scene) -> Iterator[Node]:
    audit = scene.config.audit
    if audit.witnesses is not None:
        yield Node(name="witnesses", detail=audit.witnesses.name)
    for replica in audit.replicate:
        yield Node(name=replica.name, detail=f"replica, {urlsplit(replica.store).scheme}")
    for authority in audit.timestamps.authorities:
        yield Node(name=authority.name, detail="time stamps")
    for exporter in audit.exporters:
        yield Node(name=exporter.name, detail=f"exporter, {exporter.kind}")
    traces = scene.config.telemetry.traces
    if traces is not None:
        yield Node(name="traces", detail=_address(traces.endpoint))


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
