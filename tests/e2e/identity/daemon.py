"""A real ``portcullis up`` in a process of its own, and the command line beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PORTCULLIS = Path(sys.executable).with_name("portcullis")
AGENT = "shop-1"
DOMAIN = "shop.test"
ANY = "127.0.0.1:0"
POLICY = f"""\
version: 1
roles:
  seller: {{models: [gpt-*]}}
agents:
  {AGENT}: {{role: seller, owner: shop}}
"""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A gate that runs. ``urls`` are its listeners', ``workload`` is its Workload API's socket."""

    folder: Path
    pid: int
    urls: Mapping[str, str]
    workload: Path

    async def command(self, *words: str) -> str:
        """Run a command of ``portcullis``, which must end well; what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(PORTCULLIS, *words),
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    async def events(self) -> list[dict[str, Any]]:
        """What the log holds."""
        lines = (await self.command("audit", "query", "--json")).splitlines()
        return [json.loads(line)["event"] for line in lines]


@contextlib.asynccontextmanager
async def daemon(
    folder: Path, *, listen: Mapping[str, str] = {}, **sections: Any
) -> AsyncIterator[Daemon]:
    """Start it in ``folder``, which is there and empty; stop it with SIGTERM."""
    with tempfile.TemporaryDirectory(prefix="w") as short:
        workload = Path(short, "w.sock")
        written = {
            "trust_domain": DOMAIN,
            "state": "state",
            "listen": {"gate": ANY, "control": ANY, "mtls": ANY, "workload": str(workload)}
            | dict(listen),
        }
        (folder / "portcullis.yaml").write_text(yaml.safe_dump(written | sections))
        (folder / "policy").mkdir()
        (folder / "policy" / "main.yaml").write_text(POLICY)
        process = await asyncio.create_subprocess_exec(
            *(PORTCULLIS, "up"), cwd=folder, stderr=asyncio.subprocess.PIPE
        )
        try:
            urls = await _urls(process, folder / "state" / "gate.json")
            yield Daemon(folder, process.pid, urls, workload)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            _, said = await process.communicate()
        assert process.returncode == 0, said.decode()


async def _urls(process: asyncio.subprocess.Process, place: Path) -> dict[str, str]:
    async with asyncio.timeout(40):
        while True:
            assert process.returncode is None, (await process.stderr.read()).decode()
            with contextlib.suppress(OSError, ValueError):
                found = json.loads(place.read_bytes())  # noqa: ASYNC240 - it is small
                return {name: said for name, said in found.items() if "://" in str(said)}
            await asyncio.sleep(0.05)
