"""Gateways as child processes of a control plane; see ``children``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from portcullis.bootstrap.children import PORTCULLIS, Children, signalled
from portcullis.bootstrap.leaving import longest
from portcullis.bootstrap.presence import present
from portcullis.config import Config
from portcullis.config.places import gateway_file
from portcullis.gateway.listener import bound

START_SECONDS: Final = 60.0
"""So long a child may take until it serves."""
_LOOK_SECONDS: Final = 0.05

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


class Workers(Children):
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
        super().__init__("gateway", names)
        self._config = config
        self._arguments = tuple(arguments)
        self._record = record
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
                signalled(child, signal.SIGHUP)

    def renew(self) -> None:
        """Have each of them end and begin anew, one after the other, while the others serve.

        A child reads the programs and the configuration as they are then. The first that does not
        come to serve is the last: the others go on as they are, and it is started again as if it
        had ended by itself. Asked again meanwhile, this does nothing.
        """
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())

    async def end(self) -> None:
        """Have all of them drain; return when none runs, after a bounded time in any case."""
        if self._renewing is not None:
            self._renewing.cancel()
        await super().end()

    async def _renew(self) -> None:
        for name in self._names:
            child = self._children.get(name)
            if child is not None:
                self._renewed.add(name)
                signalled(child, signal.SIGTERM)
                await self._ended(name, child)
            if not await self._back(name, child):
                log.error("renewal_stopped", gateway=name)
                return

    async def _back(self, name: str, before: asyncio.subprocess.Process | None) -> bool:
        """Whether another than ``before`` serves, in time."""
        for _ in range(round(START_SECONDS / _LOOK_SECONDS)):
            if self._children.get(name) is not before and self._serves(name):
                return True
            await asyncio.sleep(_LOOK_SECONDS)
        return False

    async def _begin(self, name: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *PORTCULLIS,
            "gateway",
            *("--name", name, "--tied", *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # what a terminal sends is for the parent
        )

    def _seconds(self, name: str) -> float:
        del name
        return longest(self._config.limits)

    def _over(self, name: str) -> None:
        with contextlib.suppress(OSError):  # it says who runs, and nobody does
            gateway_file(self._config, name).unlink(missing_ok=True)

    def _serves(self, name: str) -> bool:
        child = self._children.get(name)
        return child is not None and present(gateway_file(self._config, name)) == child.pid

    def _say(self, what: str, said: dict[str, Any]) -> None:
        method = {"start": "gateway.start", "end": "gateway.end"}[what]
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
