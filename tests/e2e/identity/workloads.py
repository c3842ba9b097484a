"""The Workload API with our own authority and stores behind it, and workloads that call it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import sysconfig
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import msgspec

from portcullis.config.identity import Identity
from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.core.lifecycle import State
from portcullis.core.ports import Entry, PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.gateway.records import new_id
from portcullis.identity.authority import Authority, open_authority
from portcullis.identity.records import IdentityRecords
from portcullis.identity.trust import Trust
from portcullis.identity.workload import Bounds, serving
from portcullis.store.directory import SqlDirectory
from portcullis.store.engine import open_sqlite
from portcullis.store.killfeed import LocalKillFeed
from portcullis.store.registrations import SqlRegistrations
from sealers import sealer_at

DOMAIN = "prod.example"
AGENT = "shop-1"
ID = f"spiffe://{DOMAIN}/agent/{AGENT}"
NOBODY = 65534
CLIENT = Path(__file__).with_name("spiffe_client.py")


class Clock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class Log:
    """A recorder that keeps events, in order; ``full`` is a log that takes none."""

    events: list[Event] = field(default_factory=list)
    full: bool = False
    failure: str = ""

    async def durable(self, event: Event) -> None:
        self.enqueue(event)

    def enqueue(self, event: Event) -> None:
        if self.full:
            raise Problem("PC6001", "the queue is full")
        self.events.append(event)

    def commitment(self, subject: str, value: bytes) -> str:
        return ""

    def of(self, method: str) -> list[Event]:
        return [event for event in self.events if event.method == method]


class Workload:
    """A process that runs ``spiffe_client.py``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def __call__(self, do: str, **arguments: Any) -> Any:
        """Have it do something; its answer, or AssertionError with the library's error."""
        answer = await self.tries(do, **arguments)
        assert not isinstance(answer, str) or not answer.startswith("error "), answer
        return answer

    async def tries(self, do: str, **arguments: Any) -> Any:
        """The same; an error of the library's is a text that begins with ``error``."""
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), 30)
        answer = json.loads(line)
        failed = isinstance(answer, dict) and "error" in answer
        return f"error {answer['error']}" if failed else answer


@dataclass
class Stage:
    path: Path
    authority: Authority
    trust: Trust
    registrations: SqlRegistrations
    directory: SqlDirectory
    feed: LocalKillFeed
    log: Log

    def register(
        self,
        *selectors: str,
        kind: PrincipalKind = PrincipalKind.AGENT,
        principal: str = AGENT,
        ttl: int = 0,
    ) -> str:
        """Make the principal, unless it is there, and an entry for it; the entry's id."""
        with contextlib.suppress(Problem):
            self.directory.create(
                PrincipalRecord(
                    kind=kind,
                    id=principal,
                    owner="ops",
                    state=State.ACTIVE,
                    roles=(),
                    created_at=time.time(),
                )
            )
        entry = Entry(
            id=new_id(),
            kind=kind,
            principal=principal,
            selectors=selectors,
            ttl_seconds=ttl,
            created_at=time.time(),
        )
        self.registrations.add(entry)
        return entry.id

    async def change(self, kind: PrincipalKind = PrincipalKind.AGENT, **fields: Any) -> None:
        """Write the agent's record anew, as the control plane does."""
        record = self.directory.get(kind, AGENT)
        await self.feed.put(msgspec.structs.replace(record, **fields))

    @contextlib.asynccontextmanager
    async def workload(
        self,
        *,
        uid: int | None = None,
        socket: Path | None = None,
        python: Path | str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Workload]:
        arguments = [str(socket or self.path)] + ([str(uid)] if uid is not None else [])
        process = await asyncio.create_subprocess_exec(
            python,
            CLIENT,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        try:
            assert json.loads(await process.stdout.readline()) == process.pid
            yield Workload(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def staged(
    folder: Path, *, path: Path | None = None, bounds: Bounds | None = None, **settings: Any
) -> AsyncIterator[Stage]:
    """``settings`` are those of the section ``identity``."""
    clock, identity, log = Clock(), Identity(**settings), Log()
    authority = open_authority(
        folder / "ca",
        trust_domain=DOMAIN,
        settings=identity,
        sealer=sealer_at(folder),
        clock=clock,
        new_id=new_id,
    )
    trust = Trust(authority.bundle)
    engine = open_sqlite(folder / "portcullis.db")
    directory = SqlDirectory(engine)
    feed = LocalKillFeed(engine, directory, clock)
    registrations = SqlRegistrations(engine)
    # the socket may be for other users: pytest's own folder is not
    place = path or Path(tempfile.gettempdir(), f"workload-{secrets.token_hex(8)}", "api.sock")
    try:
        async with serving(
            place,
            authority=authority,
            trust=trust,
            registrations=registrations,
            directory=directory,
            feed=feed,
            records=IdentityRecords(f"{DOMAIN}/gate", log, clock, new_id),
            clock=clock,
            settings=identity,
            skew=5,
            bounds=bounds or Bounds(),
        ):
            yield Stage(place, authority, trust, registrations, directory, feed, log)
    finally:
        engine.dispose()
        if path is None and place.parent.exists():
            place.parent.rmdir()


def copied_python(folder: Path) -> tuple[Path, dict[str, str]]:
    """Our interpreter at another place and with another hash, and the environment it needs."""
    copy = folder / "python"
    copy.write_bytes(Path(sys.executable).resolve().read_bytes() + b"\0")
    copy.chmod(0o755)
    library = sysconfig.get_config_var("LIBDIR") or ""
    return copy, {
        "PYTHONHOME": sys.base_prefix,
        "PYTHONPATH": str(Path(grpc.__file__).parents[1]),
        "LD_LIBRARY_PATH": library,
    }
