"""A control plane and gateways of their own addresses, which count one budget together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Literal

import yaml

from portcullis.bench import gate
from portcullis.bench.limits_clients import DOLLAR, SystemTime
from portcullis.bench.stub import MODEL
from portcullis.bench.subjects import end, free_ports, ready, spawn
from portcullis.bootstrap import authority_of
from portcullis.bootstrap.limits import COUNTS
from portcullis.client.ask import ask
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.core.limit_ports import Counter
from portcullis.core.principal import PrincipalKind
from portcullis.store.counters_redis import RedisCounter
from portcullis.store.counters_sqlite import SharedCounter

Via = Literal["sqlite", "redis"]
"""What the gateways count in."""

LIMIT: Final = "budget"
_TOKEN_SECONDS: Final = 3600
_PATIENCE: Final = 30.0


class Stage:
    """The deployment as its clients reach it. ``urls`` are the gateways', ``tokens`` the agents'.

    ``counts`` is the URL of the server that counts, empty for a file.
    """

    def __init__(
        self,
        config: Path,
        upstream: str,
        urls: Sequence[str],
        tokens: Sequence[str],
        processes: Sequence[subprocess.Popen[bytes]],
        counts: str,
    ) -> None:
        self.config: Final = config
        self.upstream: Final = upstream
        self.urls: Final = tuple(urls)
        self.tokens: Final = tuple(tokens)
        self._processes = processes
        self._url = counts

    def kill(self, number: int) -> None:
        """End a gateway without warning (SIGKILL)."""
        os.kill(self._processes[number].pid, signal.SIGKILL)
        self._processes[number].wait()

    async def counted(self, ahead: float = 0.0) -> dict[str, int]:
        """What is counted now, or will be in so many seconds, by kind: ``amount``, ``slots``.

        Raises Problem PC3073 when that cannot be read.
        """
        config, clock = load(self.config), _Ahead(ahead)
        counter: Counter = SharedCounter(config.state / COUNTS, clock)
        if self._url:
            counter = RedisCounter(self._url, config.trust_domain, clock, seconds=5.0)
        try:
            found: dict[str, int] = {}
            for used in await counter.page(f"{LIMIT}|", 100):
                found[used.kind] = found.get(used.kind, 0) + used.value
            return found
        finally:
            await counter.close()


class _Ahead(SystemTime):
    """The machine's clock, so many seconds later."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        return super().now() + self._seconds


@contextlib.contextmanager
def staged(
    folder: Path, *, gateways: int, agents: Sequence[str], budget: int, places: int, counts: str
) -> Iterator[Stage]:
    """Start the provider, the control plane and the gateways; end them with the block.

    The agents share ``budget`` (millionths of a dollar, for a month) and ``places`` calls at once.
    ``counts`` is the URL of the server that counts, empty for a file. Raises Problem PC7007 when a
    process does not answer.
    """
    with contextlib.ExitStack() as stack:
        stub, control, *ports = free_ports(2 + gateways)
        upstream = f"http://127.0.0.1:{stub}"
        path = gate.configuration(folder, gate=ports[0], control=control, upstream=upstream)
        _add_limit(folder, agents, budget, places)
        _add(folder, path, counts)

        def started(name: str, argv: Sequence[str], port: int, where: str) -> Any:
            output: IO[bytes] = stack.enter_context((folder / f"{name}.output").open("w+b"))
            child = spawn(argv, output)
            stack.callback(end, child)
            return child, port, where

        python = (sys.executable, "-m", "portcullis.bench.limits_stub", str(stub))
        names = [f"gate-{number + 1}" for number in range(gateways)]
        first = started("control", gate.program("control", "-c", str(path)), control, "/readyz")
        ready("control", *first)
        waiting = {"provider": started("provider", python, stub, "/")}
        for name, port in zip(names, ports, strict=True):
            listen = ("--name", name, "--listen", f"gate=127.0.0.1:{port}")
            argv = gate.program("gateway", *listen, "-c", str(path))
            waiting[name] = started(name, argv, port, "/readyz")
        for name, one in waiting.items():
            ready(name, *one)
        tokens = asyncio.run(_tokens(path, control, agents))
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        processes = [waiting[name][0] for name in names]
        yield Stage(path, upstream, urls, tokens, processes, counts)


async def _tokens(path: Path, control: int, agents: Sequence[str]) -> list[str]:
    """Register the agents; their tokens."""
    operator = authority_of(load(path)).mint(
        PrincipalKind.OPERATOR, "local-bench", ttl=_TOKEN_SECONDS, roles=("admin",)
    )
    headers = {"authorization": f"Bearer {operator.token}"}
    url = f"http://127.0.0.1:{control}/api/v1/principals"
    found = []
    for name in agents:
        about = {"kind": "agent", "id": name, "owner": "bench", "purpose": "to be measured"}
        await ask("POST", url, context=None, json=about, headers=headers)
        said = {"ttl_seconds": _TOKEN_SECONDS}
        where = f"{url}/agent/{name}/tokens"
        minted = await ask("POST", where, context=None, json=said, headers=headers)
        found.append(str(minted["token"]))
    return found


def _add_limit(folder: Path, agents: Sequence[str], budget: int, places: int) -> None:
    policy = gate.policy()
    policy["agents"] |= {name: {"role": "role_1", "owner": "bench"} for name in agents}
    shared = {"cost": f"{budget / 1e6:.6f} USD/month", "concurrency": places}
    policy["limits"] = {LIMIT: {"per": "all", **shared}}
    text = yaml.safe_dump(policy, sort_keys=False)
    (folder / "policy" / "main.yaml").write_text(text, encoding="utf-8")


def _add(folder: Path, path: Path, counts: str) -> None:
    """What such a deployment needs beside what ``gate`` configures."""
    prices = {"version": 1, "models": [{"model": MODEL, "input": 0, "output": DOLLAR}]}
    (folder / "prices.yaml").write_text(yaml.safe_dump(prices), encoding="utf-8")
    off: Mapping[str, Any] = {"enabled": False}
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config |= {"prices": "prices.yaml", "breakers": {"agent": off, "upstream": off}}
    config |= {"evidence": {"frameworks": []}, "counters": {"via": "sqlite"}}
    if counts:
        secret = folder / "counts.url"
        secret.touch(mode=0o600)
        secret.write_text(counts, encoding="utf-8")
        config["counters"] = {"via": "redis", "url": f"file:{secret}"}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


@contextlib.contextmanager
def counting_server(folder: Path, wanted: str) -> Iterator[str]:
    """The URL of a server of counts; empty where there is none."""
    if wanted != "auto":
        yield "" if wanted == "none" else wanted
        return
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        yield ""
        return
    socket = folder / "counts.sock"
    argv = [program, "--port", "0", "--unixsocket", str(socket), "--save", ""]
    with subprocess.Popen(  # noqa: S603 - the server that was found
        [*argv, "--dir", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            until = time.monotonic() + _PATIENCE
            while not socket.exists():
                if server.poll() is not None or time.monotonic() > until:
                    raise Problem("PC7007", "the server of counts does not start")
                time.sleep(0.01)
            yield f"unix://{socket}"
        finally:
            server.kill()
