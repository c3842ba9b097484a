"""A running gate with its mutual TLS listener, in front of a slow upstream, and its operator."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from portcullis.bench import gate
from portcullis.bench.subjects import end, free_ports, ready, spawn
from portcullis.bootstrap import authority_of
from portcullis.client import enrolled
from portcullis.client.ask import ask
from portcullis.client.svid import Svid
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind

_TOKEN_SECONDS: Final = 600
_OK: Final = 200
_PRINCIPALS: Final = "/api/v1/principals"


class Stage:
    """The gate as its operator and its agents reach it. ``mtls`` is the port for agents.

    ``output`` is the file with what the gate logs.
    """

    def __init__(self, config: Path, *, gate: int, control: int, mtls: int, output: Path) -> None:
        self.mtls: Final = mtls
        self._gate = gate
        self._control = control
        self._output = output
        self._seen = 0
        operator = authority_of(load(config)).mint(
            PrincipalKind.OPERATOR, "local-bench", ttl=_TOKEN_SECONDS, roles=("admin",)
        )
        self._headers: Final = {"authorization": f"Bearer {operator.token}"}

    def enrol(self, name: str) -> Svid:
        """Register an agent, and get it an SVID by a join token."""
        return asyncio.run(self._enrol(name))

    async def _enrol(self, name: str) -> Svid:
        about = {"kind": "agent", "id": name, "owner": "bench", "purpose": "to be measured"}
        url = f"http://127.0.0.1:{self._control}{_PRINCIPALS}"
        await ask("POST", url, context=None, json=about, headers=self._headers)
        joined = await ask(
            "POST",
            f"{url}/agent/{name}/join",
            context=None,
            json={"ttl_seconds": 60},
            headers=self._headers,
        )
        return await enrolled(
            f"http://127.0.0.1:{self._gate}",
            gate=f"https://127.0.0.1:{self.mtls}",
            join_token=joined["join_token"],
        ).begin()

    def revoke(self, name: str) -> tuple[float, float]:
        """Revoke an agent: when the request was sent and when it was answered (monotonic)."""
        link = http.client.HTTPConnection("127.0.0.1", self._control, timeout=30)
        try:
            link.connect()
            sent = time.monotonic()
            link.request("POST", f"{_PRINCIPALS}/agent/{name}/revoke", headers=self._headers)
            answer = link.getresponse()
            answered = time.monotonic()
            answer.read()
        finally:
            link.close()
        if answer.status != _OK:
            raise Problem("PC7007", f"revoke: HTTP {answer.status}")
        return sent, answered

    def cut_ms(self, connections: int) -> float:
        """From the feed's change to the last of so many idle connections aborted.

        As the gate has measured it since the last look at its log. Problem PC7007 if it has not.
        """
        with self._output.open("rb") as log:
            log.seek(self._seen)
            lines = log.readlines()
            self._seen = log.tell()
        for line in lines:
            if b'"connections_cut"' in line:
                entry = msgspec.json.decode(line)
                if entry["count"] >= connections:
                    return float(entry["milliseconds"])
        raise Problem("PC7007", "the gate does not say how long the cut took")


@contextlib.contextmanager
def staged(folder: Path, *, files: int) -> Iterator[Stage]:
    """Start the upstream and the gate; end them with the block.

    The gate gets a processor of its own if there are two: else what it is measured by would run
    in its stead. ``files`` is how many files each process may need. Raises Problem PC7007 when it
    may not have as many, or when a process does not answer.
    """
    allow(files)
    with contextlib.ExitStack() as stack:
        own, others = _divided(stack)
        stub, plain, control, mtls = free_ports(4)
        config = gate.configuration(
            folder, gate=plain, control=control, upstream=f"http://127.0.0.1:{stub}", mtls=mtls
        )
        python = (sys.executable, "-m", "portcullis.bench.identity_stub", str(stub))
        for name, argv, port, path in (
            ("upstream", python, stub, "/"),
            ("gate", gate.command(config), control, "/readyz"),
        ):
            output = stack.enter_context((folder / f"{name}.output").open("w+b"))
            child = spawn(argv, output)
            stack.callback(end, child)
            os.sched_setaffinity(child.pid, own if name == "gate" else others)
            ready(name, child, port, path)
        yield Stage(config, gate=plain, control=control, mtls=mtls, output=folder / "gate.output")


def _divided(stack: contextlib.ExitStack) -> tuple[set[int], set[int]]:
    """The gate's processor and the others, on which this process runs until the stack ends."""
    every = os.sched_getaffinity(0)
    own = {min(every)}
    others = every - own or every
    os.sched_setaffinity(0, others)
    stack.callback(os.sched_setaffinity, 0, every)
    return own, others


def allow(files: int) -> None:
    """Raise the limit on open files, which children inherit, to ``files``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in {-1, resource.RLIM_INFINITY} and hard < files:
        raise Problem("PC7007", f"{files} open files are needed, and the limit is {hard}")
    if soft not in {-1, resource.RLIM_INFINITY} and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
