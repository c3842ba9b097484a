"""All tenants of a provider's folder as child processes: each a ``portcullis up`` of its own.

They share no environment, no descriptor and no memory. What one of them says comes out with its
name, whatever it writes. All run as the user that started them: see docs/tenants.md for what that
does not keep apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from portcullis.bootstrap.children import PORTCULLIS, Children, signalled
from portcullis.bootstrap.leaving import longest
from portcullis.config import Limits
from portcullis.config.tenants import Tenant
from portcullis.core.errors import Problem
from portcullis.identity.private import read_private

PASSED_ON: Final = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""Of the provider's environment; what else a tenant has is in its own file."""
_LINE: Final = 8192
"""Bytes of a line, more of which are a line of their own."""
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=([^\0]*)")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a process of a tenant's may have: bytes of memory of its own (RLIMIT_DATA), open files.

    They hold for each process that it starts, and not for all of them together: that is what
    control groups are for, such as those of the systemd unit.
    """

    memory: int
    files: int


class TenantsRunning(Children):
    """``told`` takes each line for people; SIGHUP has all of them look at their policies."""

    def __init__(
        self, tenants: Sequence[Tenant], bounds: Bounds, told: Callable[[str], None]
    ) -> None:
        super().__init__("tenant", [one.name for one in tenants])
        self._tenants = {one.name: one for one in tenants}
        self._bounds = bounds
        self._told = told
        self._heard: set[asyncio.Task[None]] = set()

    def signal(self, number: int) -> None:
        """Pass a signal on to all that run."""
        for child in self._children.values():
            signalled(child, number)

    async def run(self) -> None:
        """Keep all of them running; what they said last is told too."""
        try:
            await super().run()
        finally:
            if self._heard:
                await asyncio.wait(self._heard, timeout=1)

    async def _begin(self, name: str) -> asyncio.subprocess.Process:
        one = self._tenants[name]
        try:
            variables = environment(one, os.environ)
        except Problem as problem:
            raise OSError(0, str(problem)) from None
        child = await asyncio.create_subprocess_exec(
            *(*PORTCULLIS, "up", "--tied", "--config", str(one.file.resolve())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=one.folder,
            env=variables,
            start_new_session=True,  # what a terminal sends is for the parent
        )
        _bounded(child.pid, self._bounds)
        hearing = asyncio.create_task(self._hear(name, child))
        self._heard.add(hearing)
        hearing.add_done_callback(self._heard.discard)
        return child

    def _over(self, name: str) -> None:
        """What it says of itself in its folder is held against its process, and left."""

    def _seconds(self, name: str) -> float:
        try:
            return longest(self._tenants[name].config().limits)
        except Problem:  # what cannot be read says so itself, and runs no longer
            return longest(Limits())

    def _say(self, what: str, said: dict[str, Any]) -> None:
        rest = " ".join(f"{key} {value}" for key, value in said.items() if key != "tenant")
        self._tell(f"{said['tenant']}: {what} {rest}")

    def _tell(self, line: str) -> None:
        """They are kept running, and their pipes empty, also when nobody listens to us any more."""
        with contextlib.suppress(OSError):
            self._told(line)

    async def _hear(self, name: str, child: asyncio.subprocess.Process) -> None:
        """Tell all that it says, until it has ended."""
        reader = child.stderr
        if reader is None:
            return
        rest = b""
        while piece := await reader.read(_LINE):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._tell(labelled(name, line))
            if len(rest) > _LINE:
                self._tell(labelled(name, rest))
                rest = b""
        if rest:
            self._tell(labelled(name, rest))


def labelled(name: str, line: bytes) -> str:
    """A line with the name of whose it is: as ``tenant``, first, in an object, else before it.

    Whatever the line says of itself, it has no other name, and no character that a terminal obeys.
    """
    text = line.decode(errors="replace")
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    except RecursionError:
        said = None
    if isinstance(said, dict):
        said.pop("tenant", None)
        return json.dumps({"tenant": name, **said})
    return f"{name}: {''.join(one if one.isprintable() else '?' for one in text)}"


def environment(tenant: Tenant, ours: Mapping[str, str]) -> dict[str, str]:
    """The environment of a tenant's processes. Raises Problem PC7001 for a file that is not good.

    It is read as systemd reads an ``EnvironmentFile``, without quotes. It may belong to whom the
    tenant's folder belongs to: who looks at all of them may be another.
    """
    found = {name: ours[name] for name in PASSED_ON if name in ours}
    text = (read_private(tenant.environment, owner=_owner(tenant.folder)) or b"").decode(
        errors="replace"
    )
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _VARIABLE.fullmatch(line)
        if match is None:
            raise Problem("PC7001", f"{tenant.environment}:{number}: expected NAME=VALUE")
        found[match[1]] = match[2]
    return found


def _owner(folder: Path) -> int | None:
    try:
        return folder.stat().st_uid
    except OSError:
        return None


def _bounded(pid: int, bounds: Bounds) -> None:
    """Bound a process that has just begun."""
    wanted = ((resource.RLIMIT_DATA, bounds.memory), (resource.RLIMIT_NOFILE, bounds.files))
    try:
        for what, most in wanted:
            _, hard = resource.prlimit(pid, what)
            if hard != resource.RLIM_INFINITY:
                most = min(most, hard)  # noqa: PLW2901 - never more than we may have
            resource.prlimit(pid, what, (most, most))
    except ProcessLookupError:
        return  # it has ended already
