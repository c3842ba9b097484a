"""Gateways as child processes of a control plane: started, watched, started again, ended.

Each child has the reading end of a pipe as its standard input, whose writing end nobody else has:
however the parent ends, the child reads its end and drains. A signal (PR_SET_PDEATHSIG) would come
when the thread that forked ends, be missed by a child that is still starting, and leave no time to
drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from portcullis.bootstrap.leaving import longest
from portcullis.bootstrap.presence import present
from portcullis.config import Config
from portcullis.config.places import gateway_file
from portcullis.gateway.listener import bound

BACK_OFF: Final = (0.25, 30.0)
"""Seconds before a child is started again: at first, doubled each time, and at most."""
STEADY_SECONDS: Final = 60.0
"""One that has run for so long begins anew."""
START_SECONDS: Final = 60.0
"""So long a child may take until it serves."""
_LOOK_SECONDS: Final = 0.05
_PORTCULLIS: Final = (sys.executable, "-P", "-c", "from portcullis.cli import main; main()")

log = structlog.get_logger(__name__)


class Addresses:
    """The addresses that the gateways share, kept for them while this lives.

    A socket that is bound there and does not listen gets no connection. It makes a number of a port
    that was left to the system, and the system gives that number to nobody else. Problem PC7001
    when something listens there already.
    """

    def __init__(self, config: Config) -> None:
        listen = config.listen
        wanted = {"gate": listen.gate, "tls": listen.tls, "mtls": listen.mtls}
        with contextlib.ExitStack() as stack:
            self._sockets = {
                name: stack.enter_context(bound(address, shared=True))
                for name, address in wanted.items()
                if address is not None
            }
            self._stack = stack.pop_all()

    def listen(self) -> dict[str, str]:
        """Each as ``host:port``, by the name of its listener."""
        found = {name: one.getsockname()[:2] for name, one in self._sockets.items()}
        return {
            name: f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for name, (host, port) in found.items()
        }

    def urls(self) -> dict[str, str]:
        """Their URLs."""
        return {
            name: f"{'http' if name == 'gate' else 'https'}://{address}"
            for name, address in self.listen().items()
        }

    def close(self) -> None:
        """Let them go."""
        self._stack.close()


class Workers:
    """``names`` are the gateways', ``arguments`` what each is started with beside its name.

    ``record`` takes what became of one: a method and its parameters.
    """

    def __init__(
        self,
        config: Config,
        names: Sequence[str],
        arguments: Sequence[str],
        record: Callable[[str, Mapping[str, Any]], None],
    ) -> None:
        self._config = config
        self._names = tuple(names)
        self._arguments = tuple(arguments)
        self._record = record
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._ending = asyncio.Event()
        self._renewed: set[str] = set()
        self._renewing: asyncio.Task[None] | None = None

    def ready(self) -> bool:
        """Whether any of them serves."""
        return any(self._serves(name) for name in self._names)

    def all_ready(self) -> bool:
        """Whether each of them does."""
        return all(self._serves(name) for name in self._names)

    def reload(self) -> None:
        """Have those that run look at the policy now. One that is starting reads it anyway."""
        for name, child in self._children.items():
            if self._serves(name):
                _signal(child, signal.SIGHUP)

    def renew(self) -> None:
        """Have each of them end and begin anew, one after the other, while the others serve.

        A child reads the programs and the configuration as they are then. The first that does not
        come to serve is the last: the others go on as they are, and it is started again as if it
        had ended by itself. Asked again meanwhile, this does nothing.
        """
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())

    async def run(self) -> None:
        """Keep all of them running, until ``end``; cancelled, end them at once."""
        try:
            async with asyncio.TaskGroup() as group:
                for name in self._names:
                    group.create_task(self._keep(name))
        finally:
            for child in self._children.values():
                _signal(child, signal.SIGKILL)

    async def end(self) -> None:
        """Have all of them drain; return when none runs, after a bounded time in any case."""
        self._ending.set()
        if self._renewing is not None:
            self._renewing.cancel()
        for child in self._children.values():
            _signal(child, signal.SIGTERM)
        waiting = [asyncio.ensure_future(one.wait()) for one in self._children.values()]
        if not waiting:
            return
        seconds = longest(self._config.limits)
        _, late = await asyncio.wait(waiting, timeout=seconds)
        if late:
            log.warning("gateways_killed", count=len(late))
            for child in self._children.values():
                _signal(child, signal.SIGKILL)
            await asyncio.wait(waiting)

    async def _renew(self) -> None:
        for name in self._names:
            child = self._children.get(name)
            if child is not None:
                self._renewed.add(name)
                _signal(child, signal.SIGTERM)
                await self._over(child)
            if not await self._back(name, child):
                log.error("renewal_stopped", gateway=name)
                return

    async def _over(self, child: asyncio.subprocess.Process) -> None:
        """Wait for its end, which has a bound."""
        try:
            async with asyncio.timeout(longest(self._config.limits)):
                await child.wait()
        except TimeoutError:
            log.warning("gateways_killed", count=1)
            _signal(child, signal.SIGKILL)
            await child.wait()

    async def _back(self, name: str, before: asyncio.subprocess.Process | None) -> bool:
        """Whether another than ``before`` serves, in time."""
        for _ in range(round(START_SECONDS / _LOOK_SECONDS)):
            if self._children.get(name) is not before and self._serves(name):
                return True
            await asyncio.sleep(_LOOK_SECONDS)
        return False

    async def _keep(self, name: str) -> None:
        wait, most = BACK_OFF
        loop = asyncio.get_running_loop()
        while not self._ending.is_set():
            began = loop.time()
            child = await self._started(name)
            if child is None:
                wait = await self._rest(wait, most)
                continue
            self._children[name] = child
            self._say("gateway.start", {"gateway": name, "process": child.pid})
            if self._ending.is_set():
                _signal(child, signal.SIGTERM)
            status = await child.wait()
            del self._children[name]
            with contextlib.suppress(OSError):  # it says who runs, and nobody does
                gateway_file(self._config, name).unlink(missing_ok=True)
            ended = {"gateway": name, "process": child.pid, "status": _status(status)}
            if self._ending.is_set():
                self._say("gateway.end", ended)
                return
            if name in self._renewed:
                self._renewed.discard(name)
                self._say("gateway.end", ended)
                continue
            if loop.time() - began > STEADY_SECONDS:
                wait = BACK_OFF[0]
            log.error("gateway_ended", **ended, again_seconds=wait)
            self._say("gateway.end", ended | {"again_seconds": wait})
            wait = await self._rest(wait, most)

    async def _started(self, name: str) -> asyncio.subprocess.Process | None:
        """A new child; None while the system has no room for one."""
        try:
            return await asyncio.create_subprocess_exec(
                *_PORTCULLIS,
                "gateway",
                *("--name", name, "--tied", *self._arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # what a terminal sends is for the parent
            )
        except OSError as error:
            log.error("gateway_not_started", gateway=name, fault=error.strerror)  # noqa: TRY400
            return None

    async def _rest(self, seconds: float, most: float) -> float:
        """Wait before another start, unless all is to end; how long to wait the next time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        return min(2 * seconds, most)

    def _serves(self, name: str) -> bool:
        child = self._children.get(name)
        return child is not None and present(gateway_file(self._config, name)) == child.pid

    def _say(self, method: str, said: Mapping[str, Any]) -> None:
        try:
            self._record(method, said)
        except Exception as error:  # noqa: BLE001 - whatever the log does, they are kept running
            log.critical("event_lost", method=method, fault=type(error).__name__)


def names_of(count: int) -> tuple[str, ...]:
    """What so many workers are called."""
    return tuple(f"gate-{number}" for number in range(1, count + 1))


def arguments_of(config: Path, addresses: Addresses) -> tuple[str, ...]:
    """What each is started with: the same configuration, at these addresses."""
    at = (f"--listen={name}={address}" for name, address in addresses.listen().items())
    return ("--config", str(config.resolve()), *at)


def _signal(child: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(number)


def _status(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
