"""What one core carries: calls and streams a second, and what calls, agents and sessions take.

Gates with their defaults in front of an upstream stub. How many calls a core carries is the inverse
of the processor time of one, so a busy machine does not look like a slow program; memory is what
the kernel counts for the process, with and without what is asked about.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from portcullis.bench import cpu, gate
from portcullis.bench.capacity_servers import LIMITS, Counted, asked, counting, storing
from portcullis.bench.load import Outcome, Plan
from portcullis.bench.measure import driven
from portcullis.bench.report import Report, machine, report
from portcullis.bench.subjects import JSON, SSE, Shape, end, free_ports, ready, spawn
from portcullis.bench.workers import until_all_serve
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind

CONNECTIONS: Final = 32
APPLICATION: Final = "bench-application"
_PATH: Final = "/openai/v1/chat/completions"
_SETTLED_SECONDS: Final = 1.5
"""So long the log is given to write what it holds."""
_AT_ONCE: Final = 16
_WORKERS: Final = 2
_MILLION: Final = 1e6
_MB: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``seconds`` for each kind of call; so many ``agents`` and ``sessions`` are added.

    ``redis`` is as in ``bench limits``.
    """

    seconds: float = 3.0
    agents: int = 10_000
    sessions: int = 1000
    redis: str = "auto"
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class _Gate:
    """A gate that runs: where it listens, its process, its state and two tokens."""

    port: int
    pid: int
    folder: Path
    agent: str
    application: str

    def driven(self, shape: Shape, seconds: float, token: str = "") -> Outcome:
        """A closed loop of one kind of call, under a session's token or the agent's."""
        plan = Plan(
            port=self.port,
            path=_PATH,
            token=token or self.agent,
            body=shape.body,
            tail=shape.tail,
            connections=CONNECTIONS,
            seconds=seconds,
            session=self.pid,
            seed=1,
        )
        return driven(plan, shape.name)

    def log_bytes(self) -> int:
        """How much the log takes on the disk."""
        time.sleep(_SETTLED_SECONDS)
        files = (self.folder / "portcullis-state" / "log").rglob("*")
        return sum(one.stat().st_size for one in files if one.is_file())

    def memory_mb(self) -> float:
        """What the process holds in memory."""
        return cpu.resident_mb(self.pid)


def measure_capacity(settings: Settings, say: Callable[[str], object] = lambda _: None) -> Report:
    """Measure, one after the other.

    Raises Problem PC7007 when a process does not answer, or a call is not answered rightly.
    """
    at = machine()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=settings.folder) as name:
        say("a gate with 100 agents")
        with _running(Path(name) / "few", 0) as few:
            figures["memory_mb"] = before = few.memory_mb()
            say("calls")
            few.driven(JSON, settings.seconds)  # the first are slower
            bytes_before = few.log_bytes()
            for shape in (JSON, SSE):
                done = few.driven(shape, settings.seconds)
                grown = few.log_bytes() - bytes_before
                bytes_before += grown
                figures[f"{shape.name}_cpu_us"] = done.cpu_us
                figures[f"{shape.name}_per_core_s"] = _MILLION / done.cpu_us
                figures[f"{shape.name}_log_bytes"] = grown / done.calls
            say(f"{settings.sessions} sessions")
            loaded = few.memory_mb()
            asyncio.run(_opened(few, settings.sessions))
            figures["memory_after_calls_mb"] = loaded
            figures["memory_1000_sessions_mb"] = _per_1000(
                few.memory_mb() - loaded, settings.sessions
            )
        say(f"a gate with {settings.agents} agents more")
        with _running(Path(name) / "many", settings.agents) as many:
            grown_mb = many.memory_mb() - before
            figures["memory_1000_agents_mb"] = _per_1000(grown_mb, settings.agents)
        with counting(Path(name), settings.redis) as server:
            figures |= _asked("redis_commands", server, settings, Path(name), say)
        with storing() as database:
            figures |= _asked("store_transactions", database, settings, Path(name), say)
    return report("bench capacity", at, figures, {})


def _asked(
    what: str,
    server: tuple[Mapping[str, Any], Counted] | None,
    settings: Settings,
    place: Path,
    say: Callable[[str], object],
) -> dict[str, float]:
    """How much calls within a session ask of a server that gateways share, where there is one."""
    if server is None:
        return {}
    sections, count = server
    say(f"a gate with a server: {what}")
    with _running(place / what, 0, sections) as found:
        token = asyncio.run(_opened(found, 1))
        found.driven(JSON, settings.seconds, token)

        def calls() -> int:
            return found.driven(JSON, settings.seconds, token).calls

        idle, each = asked(count, calls, settings.seconds)
    return {f"{what}_idle_per_s": idle, f"{what}_per_call": each}


def _per_1000(grown: float, count: int) -> float:
    return grown * 1000 / count


@contextmanager
def _running(
    folder: Path, agents: int, sections: Mapping[str, Any] | None = None
) -> Iterator[_Gate]:
    """The stub, and a gate whose policy has so many agents more than usual.

    ``sections`` are further ones of its configuration; with any, it counts calls for limits and has
    workers, which share what they know.
    """
    stub, port, control = free_ports(3)
    folder.mkdir()
    with ExitStack() as stack:

        def start(name: str, argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
            child = spawn(argv, stack.enter_context((folder / f"{name}.output").open("w+b")))
            stack.callback(end, child)
            return child

        start("stub", (sys.executable, "-m", "portcullis.bench.stub", str(stub)))
        upstream = f"http://127.0.0.1:{stub}"
        config = gate.configuration(folder, gate=port, control=control, upstream=upstream)
        policy = folder / "policy" / "main.yaml"
        rules = _with(agents, gate.policy()) | (dict(LIMITS) if sections else {})
        policy.write_text(yaml.safe_dump(rules), encoding="utf-8")
        with config.open("a", encoding="utf-8") as file:
            file.write(yaml.safe_dump(dict(sections)) if sections else "")
        agent = gate.agent_token(config)
        application = gate.agent_token(config, PrincipalKind.APPLICATION, APPLICATION)
        several = ("--workers", str(_WORKERS)) if sections else ()
        child = start("gate", (*gate.command(config), *several))
        try:
            ready("gate", child, control, "/readyz")
        except Problem as problem:
            said = gate.last_line((folder / "gate.output").read_bytes())
            raise Problem(problem.code, f"{problem.detail}; its last line: {said}") from None
        if sections:
            until_all_serve(config, _WORKERS)
        yield _Gate(port, child.pid, folder, agent, application)


def _with(agents: int, policy: dict[str, Any]) -> dict[str, Any]:
    more = {f"more-{n:05}": {"role": f"role_{n % 10}", "owner": "bench"} for n in range(agents)}
    return policy | {"agents": policy["agents"] | more}


async def _opened(found: _Gate, sessions: int) -> str:
    """Open so many sessions, which stay; a token of one. Problem PC7007 when one is refused."""
    asked = {"agent": gate.AGENT, "user": "ada", "prompt": "Where is my order?", "subject": {}}
    numbers = iter(range(sessions))
    headers = {"authorization": f"Bearer {found.application}"}
    url = f"http://127.0.0.1:{found.port}/v1/sessions"
    tokens: list[str] = []
    async with aiohttp.ClientSession(headers=headers) as http:

        async def some() -> None:
            for number in numbers:
                body = asked | {"subject": {"customer_id": f"C-{number}"}}
                async with http.post(url, json=body) as answer:
                    if answer.status != HTTPStatus.CREATED:
                        said = f"a session was refused with status {answer.status}"
                        raise Problem("PC7007", said)
                    tokens.append((await answer.json())["token"])

        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
    return tokens[-1]
