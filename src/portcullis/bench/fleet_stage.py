"""A fleet to measure: a control plane and its gateways, a bare proxy, and the peers beside them."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import yaml

from portcullis.bench import gate
from portcullis.bench.fleet_load import NUMBER, Kind
from portcullis.bench.fleet_peers import Peer
from portcullis.bench.fleet_stub import TOOL
from portcullis.bench.identity_stage import allow
from portcullis.bench.stub import MODEL
from portcullis.bench.subjects import end, free_ports, ready, spawn
from portcullis.bootstrap import authority_of
from portcullis.client.ask import ask
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.wire.mcp import CAPABILITIES_KEY, MODERN_VERSIONS, VERSION_KEY

SERVER: Final = "desk"
MODEL_PATH: Final = "/v1/chat/completions"
AGENTS: Final = tuple(f"agent-{number:03}" for number in range(0, 80, 10))
"""Eight of the hundred of the policy, all of the role that may use the tool and the model."""
_TOKEN_SECONDS: Final = 3600
_FILES: Final = 8192
_IN_FLIGHT: Final = 2048
_LEASE: Final = 10
"""Seconds: the load leaves the control plane little of the two processors."""

_PROSE: Final = b"Where is my order 0000000000? It should have come on Monday. " * 13
_CHAT: Final = (
    b'{"model":"%s","messages":[{"role":"system","content":"You help customers."},'
    b'{"role":"user","content":"%s"}],"max_tokens":200%%s}' % (MODEL.encode(), _PROSE)
)
_STREAMED: Final = b',"stream":true,"stream_options":{"include_usage":true}'
_META: Final = f'{{"{VERSION_KEY}":"{MODERN_VERSIONS[-1]}","{CAPABILITIES_KEY}":{{}}}}'
_CALL: Final = (
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%s","arguments":'
    '{"query":"orders of customer %s that are late","limit":10},"_meta":%s}}'
)
MODERN_HEADERS: Final = (
    ("MCP-Protocol-Version", MODERN_VERSIONS[-1]),
    ("Mcp-Method", "tools/call"),
    ("Mcp-Name", TOOL),
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What calls are sent to: its ports, its kinds of calls, whose processor time counts."""

    name: str
    ports: tuple[int, ...]
    kinds: dict[str, Kind]
    sessions: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Stage:
    """All subjects, in the order in which they take turns.

    ``without`` are peers that did not start, and why. ``upstream`` and ``control`` are ports.
    ``restart`` begins a child anew that has ended, and
    waits until it is ready.
    """

    subjects: tuple[Subject, ...]
    config: Path
    upstream: int
    control: int
    children: dict[str, subprocess.Popen[bytes]]
    restart: Callable[[str], None]
    without: Mapping[str, str]

    def subject(self, name: str) -> Subject:
        """The subject of this name."""
        return next(one for one in self.subjects if one.name == name)


@contextlib.contextmanager
def staged(
    folder: Path, *, gateways: int, bare: bool = True, peers: Sequence[Peer] = ()
) -> Iterator[Stage]:
    """Start all of it; it ends with the block. Problem PC7007 when something of ours fails."""
    allow(_FILES)
    with contextlib.ExitStack() as stack:
        stub, control, passing, *ports = free_ports(3 + gateways)
        upstream = f"http://127.0.0.1:{stub}"
        path = gate.configuration(folder, gate=ports[0], control=control, upstream=upstream)
        _configure(path, upstream)
        names = [f"gate-{number + 1}" for number in range(gateways)]
        python = (sys.executable, "-m")
        commands = {
            "upstream": ((*python, "portcullis.bench.fleet_stub", str(stub)), stub, "/"),
            "control": (gate.program("control", "-c", str(path)), control, "/readyz"),
        }
        for name, port in zip(names, ports, strict=True):
            listen = ("--name", name, "--listen", f"gate=127.0.0.1:{port}")
            commands[name] = (gate.program("gateway", *listen, "-c", str(path)), port, "/readyz")
        if bare:
            words = (*python, "portcullis.bench.passthrough", str(passing), upstream)
            commands["bare"] = (words, passing, MODEL_PATH)
        children: dict[str, subprocess.Popen[bytes]] = {}

        def begin(name: str) -> None:
            output: IO[bytes] = stack.enter_context((folder / f"{name}.output").open("ab"))
            child = children[name] = spawn(commands[name][0], output)
            stack.callback(end, child)

        for name in commands:
            begin(name)
            if name == "control":
                ready(name, children[name], *commands[name][1:])
        for name in commands:
            ready(name, children[name], *commands[name][1:])

        def restart(name: str) -> None:
            begin(name)
            ready(name, children[name], *commands[name][1:])

        tokens = asyncio.run(minted(path, control, register=True))
        found = [_gates(names, ports, children, tokens)]
        if bare:
            kinds = _kinds(("none",), model=MODEL_PATH, tools="/mcp")
            found.insert(0, Subject("bare", (passing,), kinds, {"bare": (children["bare"].pid,)}))
        without = _others(stack, folder, upstream, peers, found)
        yield Stage(tuple(found), path, stub, control, children, restart, without)


def _others(
    stack: contextlib.ExitStack,
    folder: Path,
    upstream: str,
    peers: Sequence[Peer],
    found: list[Subject],
) -> dict[str, str]:
    """Start the peers, and add them to what was found; those that fail, and why."""
    without: dict[str, str] = {}
    for peer in peers:
        try:
            port, token, session = stack.enter_context(peer.running(folder, upstream))
        except Problem as problem:
            without[peer.name] = problem.detail
            continue
        found.append(Subject(peer.name, (port,), _of(peer, token), {peer.name: (session,)}))
    return without


def _gates(
    names: Sequence[str],
    ports: Sequence[int],
    children: dict[str, subprocess.Popen[bytes]],
    tokens: tuple[str, ...],
) -> Subject:
    kinds = _kinds(tokens, model=f"/openai{MODEL_PATH}", tools=f"/mcp/{SERVER}")
    sessions = {
        "gate": tuple(children[name].pid for name in names),
        "control": (children["control"].pid,),
    }
    return Subject("gate", tuple(ports), kinds, sessions)


def _kinds(tokens: tuple[str, ...], *, model: str, tools: str) -> dict[str, Kind]:
    """The kinds of calls, of which a mix has four JSON answers and two streams to four of tools."""
    number = NUMBER.decode()
    chat, streamed = (_CHAT % more for more in (b"", _STREAMED))
    call = (_CALL % (TOOL, number, _META)).encode()
    return {
        "json": Kind(name="json", path=model, body=chat, tail=b"}", tokens=tokens, share=4),
        "sse": Kind(
            name="sse",
            path=model,
            body=streamed,
            tail=b"data: [DONE]\n\n",
            tokens=tokens,
            share=2,
        ),
        "tools": Kind(
            name="tools",
            path=tools,
            body=call,
            tail=b"}",
            tokens=tokens,
            headers=MODERN_HEADERS,
            share=4,
        ),
    }


def _of(peer: Peer, token: str) -> dict[str, Kind]:
    """What a peer can be asked; of its tools an earlier revision of MCP, if it knows no later."""
    kinds = _kinds((token,), model=MODEL_PATH, tools=peer.tools_path)
    if peer.tool:
        body = (_CALL % (peer.tool, NUMBER.decode(), "{}")).encode()
        kinds["tools"] = Kind(
            name="tools", path=peer.tools_path, body=body, tail=b"}", tokens=(token,)
        )
    return {name: kind for name, kind in kinds.items() if name in peer.kinds}


async def minted(path: Path, control: int, *, register: bool = False) -> tuple[str, ...]:
    """A token of each agent, which is registered before where that is asked for."""
    operator = authority_of(load(path)).mint(
        PrincipalKind.OPERATOR, "local-bench", ttl=_TOKEN_SECONDS, roles=("admin",)
    )
    headers = {"authorization": f"Bearer {operator.token}"}
    url = f"http://127.0.0.1:{control}/api/v1/principals"
    found = []
    for name in AGENTS:
        if register:
            about = {"kind": "agent", "id": name, "owner": "bench", "purpose": "to be measured"}
            await ask("POST", url, context=None, json=about, headers=headers)
        said = {"ttl_seconds": _TOKEN_SECONDS}
        where = f"{url}/agent/{name}/tokens"
        answer = await ask("POST", where, context=None, json=said, headers=headers)
        found.append(str(answer["token"]))
    return tuple(found)


def _configure(path: Path, upstream: str) -> None:
    """What the fleet has beside what ``gate`` configures; all checks are on by default."""
    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["mcp"] = {SERVER: {"url": f"{upstream}/mcp"}}
    config["limits"] = {"calls_in_flight": _IN_FLIGHT, "calls_per_agent": _IN_FLIGHT // 4}
    config["feed"] = {"lease_seconds": _LEASE}
    config["evidence"] = {"frameworks": []}  # several gateways, several logs
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
