"""Boxes for pure functions: WebAssembly in this process, metered, without any system call.

The command's first word is a module that is mounted; its other words, the environment and standard
input are all that it knows, standard output and error all that it can do. Memory is bounded, and
instructions are: as many as ``cpu`` processors would make in ``seconds`` (30 where there are none),
at a thousand million a second. The price is that it shares this process with us: what holds it is
wasmtime alone. Compiling a module is not bounded in time; a module has at most 16 MiB.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from portcullis.core.errors import Problem
from portcullis.core.sandbox import (
    STRICT,
    Ability,
    Ended,
    Ending,
    Hold,
    Network,
    Order,
    Profile,
    Streams,
)
from portcullis.execution.sandbox import orders
from portcullis.execution.sandbox.processes import kept
from portcullis.execution.sandbox.wasi import Stop, Wasi

_MODULE: Final = 16 * 2**20
_PER_SECOND: Final = 10**9
_SECONDS: Final = 30.0
_TRAPPED: Final = 134
_KILLED: Final = 137
_WAIT_SECONDS: Final = 0.05
_LACKING: Final = {
    Hold.APPARMOR: "it is no process",
    Hold.KERNEL: "it shares our process",
}


class Wasmtime:
    """A ``core.sandbox_ports.Sandbox``. wasmtime is an extra: ``agent-portcullis[wasm]``.

    Of what strict demands, it has by being no process: no user, no other process, no network, no
    file. ``Network.GATE`` cannot be had.
    """

    name = "wasmtime"

    def probe(self) -> Ability:
        """Say what is enforced here."""
        try:
            import wasmtime  # noqa: F401, PLC0415 - an extra

            found = version("wasmtime")
        except (ImportError, OSError, PackageNotFoundError):
            why = "wasmtime is not installed: pip install agent-portcullis[wasm]"
            lacking = dict.fromkeys(Hold, why)
            return Ability(adapter=self.name, version="", enforces=frozenset(), lacking=lacking)
        enforces = STRICT | {Hold.INSTRUCTIONS}
        return Ability(adapter=self.name, version=found, enforces=enforces, lacking=_LACKING)

    async def start(self, order: Order, streams: Streams) -> WasmBox:
        """Load the module and run it in a thread."""
        own, keeping = kept(streams)
        with ExitStack() as cleaning:
            cleaning.enter_context(keeping)
            ability = self.probe()
            orders.checked(order, ability)
            if order.profile.network is not Network.NONE:
                raise Problem("PC5032", "a function in WebAssembly reaches no gate")
            return WasmBox(order, _module(order), own, cleaning.pop_all(), ability.enforces)


class WasmBox:
    """A ``core.sandbox_ports.Box`` that is a thread of ours."""

    pid = 0
    scratch = None

    def __init__(
        self,
        order: Order,
        module: bytes,
        streams: Streams,
        keeping: ExitStack,
        enforced: frozenset[Hold],
    ) -> None:
        self.enforced = enforced
        self._order, self._streams, self._keeping = order, streams, keeping
        self._stopped = threading.Event()
        self._engine: Any = None
        self._why: Ending | None = None
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Ended] = loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(module, loop), daemon=True)
        self._thread.start()
        seconds = order.profile.seconds
        self._timer = None if seconds is None else loop.call_later(seconds, self._late)

    async def wait(self) -> Ended:
        """Return how it ended, to everyone who asks."""
        return await asyncio.shield(self._ended)

    async def kill(self) -> None:
        """End it; returns when its thread has."""
        self._end(Ending.KILLED)
        await asyncio.shield(self._ended)

    async def close(self) -> None:
        """As ``kill``: there is nothing else of it."""
        await self.kill()
        if self._timer is not None:
            self._timer.cancel()

    def _late(self) -> None:
        self._end(Ending.DEADLINE)

    def _end(self, why: Ending) -> None:
        if not self._ended.done():
            self._why = self._why or why
            self._stopped.set()
            if self._engine is not None:
                self._engine.increment_epoch()

    def _run(self, module: bytes, loop: asyncio.AbstractEventLoop) -> None:
        wasi = Wasi(
            self._order.argv,
            [f"{name}={value}" for name, value in self._order.environ.items()],
            now=time.time_ns(),
            read=self._read,
            write=self._write,
        )
        with self._keeping:
            ended = self._called(module, wasi)
        with suppress(RuntimeError):  # the loop may be gone
            loop.call_soon_threadsafe(self._tell, ended)

    def _tell(self, ended: Ended) -> None:
        if not self._ended.done():
            self._ended.set_result(ended)

    def _called(self, module: bytes, wasi: Wasi) -> Ended:
        import wasmtime  # noqa: PLC0415 - an extra

        exhausted = False
        try:
            store, start = self._loaded(module, wasi)
            start(store)
            status = 0
        except Exception as error:  # noqa: BLE001 - the library keeps one last exception for all threads
            # So what it is tells little: only our own state, and a trap's code, are this box's.
            code = getattr(error, "trap_code", None)
            exhausted = code is wasmtime.TrapCode.OUT_OF_FUEL
            status = wasi.status if wasi.status is not None else _TRAPPED
        if self._why is not None:
            return Ended(why=self._why, status=_KILLED)
        if exhausted and wasi.status is None:
            return Ended(why=Ending.DEADLINE, status=_KILLED)
        why = Ending.SIGNALLED if status == _TRAPPED and wasi.status is None else Ending.EXITED
        return Ended(why=why, status=status)

    def _loaded(self, module: bytes, wasi: Wasi) -> tuple[Any, Any]:
        import wasmtime  # noqa: PLC0415 - an extra

        config = wasmtime.Config()
        config.consume_fuel = True
        config.epoch_interruption = True
        engine = wasmtime.Engine(config)
        store = wasmtime.Store(engine)
        profile = self._order.profile
        store.set_limits(
            memory_size=profile.memory, table_elements=10_000, instances=1, tables=4, memories=1
        )
        store.set_fuel(_fuel(profile))
        store.set_epoch_deadline(1)
        compiled = wasmtime.Module(engine, module)
        linker = wasmtime.Linker(engine)
        kinds = {"i32": wasmtime.ValType.i32(), "i64": wasmtime.ValType.i64()}
        for (where, name), (arguments, call) in wasi.calls().items():
            results = [] if name == "proc_exit" else [kinds["i32"]]
            kind = wasmtime.FuncType([kinds[one] for one in arguments], results)
            linker.define_func(where, name, kind, _entry(call), access_caller=True)
        linker.define_unknown_imports_as_traps(compiled)
        self._engine = engine
        if self._stopped.is_set():
            raise Stop
        return store, linker.instantiate(store, compiled).exports(store)["_start"]

    def _read(self, size: int) -> bytes:
        waiting = select.poll()
        waiting.register(self._streams.stdin, select.POLLIN)
        while not waiting.poll(_WAIT_SECONDS * 1000):
            if self._stopped.is_set():
                raise Stop
        return os.read(self._streams.stdin, size)

    def _write(self, descriptor: int, text: bytes) -> None:
        target = self._streams.stdout if descriptor == 1 else self._streams.stderr
        waiting = select.poll()
        waiting.register(target, select.POLLOUT)
        while text:
            while not waiting.poll(_WAIT_SECONDS * 1000):
                if self._stopped.is_set():
                    raise Stop
            # What a pipe takes at once; more would wait for its reader.
            text = text[os.write(target, text[: select.PIPE_BUF]) :]


class _Memory:
    """The memory that a call came from, with its bounds kept."""

    def __init__(self, caller: Any) -> None:
        self._caller, self._memory = caller, caller["memory"]

    def read(self, start: int, size: int) -> bytes:
        start &= 0xFFFFFFFF
        if size < 0 or start + size > self._memory.data_len(self._caller):
            raise IndexError
        return bytes(self._memory.read(self._caller, start, start + size))

    def write(self, start: int, text: bytes) -> None:
        start &= 0xFFFFFFFF
        if start + len(text) > self._memory.data_len(self._caller):
            raise IndexError
        if text:
            self._memory.write(self._caller, text, start)


def _entry(call: Any) -> Any:
    def entered(caller: Any, *arguments: int) -> Any:
        return call(_Memory(caller), *(one & 0xFFFFFFFF for one in arguments))

    return entered


def _fuel(profile: Profile) -> int:
    return int((profile.seconds or _SECONDS) * profile.cpu * _PER_SECOND)


def _module(order: Order) -> bytes:
    """The module that the first word names, through the mounts of the order."""
    path = Path(order.argv[0])
    for mount in order.mounts:
        target = Path(mount.target)
        if path == target or path.is_relative_to(target):
            source = mount.source / path.relative_to(target) if path != target else mount.source
            with suppress(OSError), source.open("rb") as file:
                text = file.read(_MODULE + 1)
                if len(text) <= _MODULE:
                    return text
    raise Problem("PC5032", "its first word is no mounted module of at most 16 MiB")
