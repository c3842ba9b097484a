"""A deployment of several gateways with agents to kill, in front of a slow upstream."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, Literal

import msgspec
import yaml

from portcullis.bench import gate
from portcullis.bench.identity_stage import allow
from portcullis.bench.subjects import end, free_ports, ready, spawn
from portcullis.bootstrap import authority_of
from portcullis.client import enrolled
from portcullis.client.ask import ask
from portcullis.client.svid import Svid
from portcullis.config import Config, load
from portcullis.config.places import gateway_files
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind

Via = Literal["unix", "redis"]
"""What the feed goes over."""

_TOKEN_SECONDS: Final = 1200
_OK: Final = 200
_AT_ONCE: Final = 8
_PATIENCE: Final = 60.0


def victim(number: int) -> str:
    """The name of an agent that will be killed."""
    return f"victim-{number:04}"


class Stage:
    """The deployment as its operator and its agents reach it. ``mtls`` is the port for agents."""

    def __init__(self, config: Config, *, plain: int, control: int, mtls: int) -> None:
        self.mtls: Final = mtls
        self._plain = plain
        self._control = control
        operator = authority_of(config).mint(
            PrincipalKind.OPERATOR, "local-bench", ttl=_TOKEN_SECONDS, roles=("admin",)
        )
        self._headers: Final = {"authorization": f"Bearer {operator.token}"}
        self._link = http.client.HTTPConnection("127.0.0.1", control, timeout=30)

    def enrol(self, names: Sequence[str]) -> tuple[Svid, ...]:
        """Register agents, and get them SVIDs by join tokens."""
        return asyncio.run(self._enrol(names))

    async def _enrol(self, names: Sequence[str]) -> tuple[Svid, ...]:
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(name: str) -> Svid:
            async with room:
                return await self._enrolled(name)

        return tuple(await asyncio.gather(*(one(name) for name in names)))

    async def _enrolled(self, name: str) -> Svid:
        about = {"kind": "agent", "id": name, "owner": "bench", "purpose": "to be measured"}
        url = f"http://127.0.0.1:{self._control}/api/v1/principals"
        await ask("POST", url, context=None, json=about, headers=self._headers)
        joined = await ask(
            "POST",
            f"{url}/agent/{name}/join",
            context=None,
            json={"ttl_seconds": 60},
            headers=self._headers,
        )
        return await enrolled(
            f"http://127.0.0.1:{self._plain}",
            gate=f"https://127.0.0.1:{self.mtls}",
            join_token=joined["join_token"],
        ).begin()

    def kill(self, name: str) -> tuple[float, dict[str, Any]]:
        """Kill an agent: when the request was sent (monotonic), and the answer."""
        body = msgspec.json.encode({"scope": "agent", "value": name, "reason": "to be measured"})
        headers = self._headers | {"content-type": "application/json"}
        self._link.connect()
        sent = time.monotonic()
        self._link.request("POST", "/api/v1/kills", body, headers)
        answer = self._link.getresponse()
        content = answer.read()
        self._link.close()
        if answer.status != _OK:
            raise Problem("PC7007", f"kill: HTTP {answer.status}: {content[:200]!r}")
        return sent, msgspec.json.decode(content)


@contextlib.contextmanager
def staged(
    folder: Path, *, gateways: int, victims: int, via: Via, files: int, store: str | None = None
) -> Iterator[Stage]:
    """Start the upstream, the server of the feed where there is one, and the deployment.

    All of it ends with the block. ``files`` is how many files each process may need, ``store`` a
    reference to the address of an empty database for the records. Raises
    Problem PC7007 when it may not have as many, or when a process does not answer, PC7005 without
    a server for ``redis``.
    """
    allow(files)
    with contextlib.ExitStack() as stack:
        stub, plain, control, mtls = free_ports(4)
        path = gate.configuration(
            folder, gate=plain, control=control, upstream=f"http://127.0.0.1:{stub}", mtls=mtls
        )
        _add_agents(folder, victims)
        _add(path, "evidence", {"frameworks": []})  # several gateways, several logs
        if store is not None:
            _add(path, "store", {"url": store})
        if via == "redis":
            _add(path, "feed", {"via": "redis", "url": _secret(folder, _redis(stack, folder))})

        def started(name: str, argv: Sequence[str], port: int, where: str) -> None:
            output: IO[bytes] = stack.enter_context((folder / f"{name}.output").open("w+b"))
            child = spawn(argv, output)
            stack.callback(end, child)
            ready(name, child, port, where)

        python = (sys.executable, "-m", "portcullis.bench.identity_stub", str(stub))
        started("upstream", python, stub, "/")
        command = (*gate.command(path), "--workers", str(gateways))
        started("deployment", command, control, "/readyz")
        config = load(path)
        _until_all_serve(config, gateways)
        yield Stage(config, plain=plain, control=control, mtls=mtls)


def _until_all_serve(config: Config, gateways: int) -> None:
    until = time.monotonic() + _PATIENCE
    while len(gateway_files(config)) < gateways:
        if time.monotonic() > until:
            raise Problem("PC7007", f"not all of {gateways} gateways serve")
        time.sleep(0.05)


def _add_agents(folder: Path, count: int) -> None:
    policy = gate.policy()
    agents = {victim(number): {"role": "role_1", "owner": "bench"} for number in range(count)}
    policy["agents"] |= agents
    text = yaml.safe_dump(policy, sort_keys=False)
    (folder / "policy" / "main.yaml").write_text(text, encoding="utf-8")


def _add(path: Path, section: str, said: dict[str, Any]) -> None:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config[section] = said
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


def _secret(folder: Path, value: str) -> str:
    """A reference to a file that holds it."""
    path = folder / "feed.url"
    path.touch(mode=0o600)
    path.write_text(value, encoding="utf-8")
    return f"file:{path}"


def _redis(stack: contextlib.ExitStack, folder: Path) -> str:
    """Start a server for the feed; its URL."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        raise Problem("PC7005", "there is no valkey-server and no redis-server here")
    (port,) = free_ports(1)
    settings = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder))
    output = stack.enter_context((folder / "redis.output").open("w+b"))
    child: subprocess.Popen[bytes] = spawn((program, *settings), output)
    stack.callback(end, child)
    until = time.monotonic() + _PATIENCE
    while b"Ready to accept" not in (folder / "redis.output").read_bytes():
        if child.poll() is not None or time.monotonic() > until:
            raise Problem("PC7007", f"{program} does not start")
        time.sleep(0.02)
    return f"redis://127.0.0.1:{port}"
