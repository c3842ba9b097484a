"""The guard API over an event loop of its own: callers may stand on any other loop, or on none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from portcullis.client.ask import answered
from portcullis.client.refused import Held, Refused
from portcullis.core.errors import Problem
from portcullis.wire.json import encode

_HELD: Final = "PC3040"
_PAUSE: Final = (0.5, 5.0)
"""Seconds before a held call is sent again: at first, and at most."""
_MOST: Final = 64 * 2**20
_JOIN_SECONDS: Final = 2.0

T = TypeVar("T")


class Begun(msgspec.Struct, frozen=True):
    """A call that was allowed: what to run it with, and in which session it was asked for."""

    id: str
    arguments: dict[str, Any]
    delegation: str

    def __repr__(self) -> str:
        return f"<Begun {self.id}>"


class Line:
    """Asks the guard API at ``url``, and reports to it, with the session that ``opened`` opens.

    Its thread starts with the first question, and ends with ``close``. A process that was forked
    after that has no such thread, and is refused.
    """

    def __init__(self, url: str, opened: Callable[[], aiohttp.ClientSession]) -> None:
        self._url = url
        self._opened = opened
        self._lock = threading.Lock()
        self._thread: _Thread | None = None
        self._closed = False

    def begin_now(self, body: bytes, delegation: str, wait: float) -> Begun:
        """The gate's yes to a call. While a human decides, ask again for ``wait`` seconds.

        Raises Refused, and Held when there is no decision by then.
        """
        gone = threading.Event()
        doing = self.later(self._begin(body, delegation, wait, gone))
        try:
            return doing.result()
        except CancelledError:
            raise _closed() from None
        except (KeyboardInterrupt, SystemExit):
            gone.set()
            doing.add_done_callback(self._unwanted)
            raise

    async def begin_soon(self, body: bytes, delegation: str, wait: float) -> Begun:
        """``begin_now``, awaited on the loop of the caller."""
        gone = threading.Event()
        doing = self.later(self._begin(body, delegation, wait, gone))
        try:
            return await _seen(doing)
        except (asyncio.CancelledError, GeneratorExit):
            gone.set()
            doing.add_done_callback(self._unwanted)
            raise

    async def _begin(
        self, body: bytes, delegation: str, wait: float, gone: threading.Event
    ) -> Begun:
        """Never cancelled while the gate decides: a yes that nobody knows of could not end."""
        until = asyncio.get_running_loop().time() + wait
        pause, longest = _PAUSE
        while True:
            try:
                answer = await self._post("/v1/calls", body, delegation)
            except Problem as problem:
                if problem.code != _HELD:
                    raise Refused.of(problem) from None
                left = until - asyncio.get_running_loop().time()
                if left < _PAUSE[0] or gone.is_set():
                    raise Held.of(problem) from None
                await asyncio.sleep(min(pause, left))
                if gone.is_set():
                    raise Held.of(problem) from None
                pause = min(1.5 * pause, longest)
                continue
            call_id, arguments = answer.get("call"), answer.get("arguments")
            if not (isinstance(call_id, str) and call_id and isinstance(arguments, dict)):
                raise Refused("PC7011", "the gate's answer is no decision")
            return Begun(call_id, arguments, delegation)

    def abandon(self, begun: Begun, why: str) -> None:
        """Say that a call ended without a result, and wait for nothing."""
        with contextlib.suppress(Refused, RuntimeError):  # closed, or closing just now
            self.later(self._report(begun, why, is_error=True))

    def _unwanted(self, doing: Future[Begun]) -> None:
        """Give a yes back that came when nobody waited for it any more."""
        if not doing.cancelled() and doing.exception() is None:
            self.abandon(doing.result(), "the caller has gone: the tool did not run")

    def report_now(self, begun: Begun, result: str | msgspec.Raw, *, is_error: bool) -> Any:
        """What the gate lets pass of a result. Raises Refused, whose ``ran`` is true."""
        try:
            return self.later(self._report(begun, result, is_error=is_error)).result()
        except (Refused, CancelledError) as error:
            raise _after(error) from None

    async def report_soon(self, begun: Begun, result: str | msgspec.Raw, *, is_error: bool) -> Any:
        """``report_now``, awaited on the loop of the caller; it is sent even if that goes."""
        try:
            return await _seen(self.later(self._report(begun, result, is_error=is_error)))
        except Refused as error:
            raise _after(error) from None

    async def _report(self, begun: Begun, result: str | msgspec.Raw, *, is_error: bool) -> Any:
        body = encode({"result": result, "is_error": is_error})
        try:
            answer = await self._post(f"/v1/calls/{begun.id}/result", body, begun.delegation)
        except Problem as problem:
            raise Refused.of(problem) from None
        if "result" not in answer:
            raise Refused("PC7011", "the gate's answer is no result")
        return answer["result"]

    def later(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Do this, and let nobody wait."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._running().loop)
        except BaseException:
            work.close()
            raise

    def close(self) -> None:
        """End the thread, and with it what still runs there. There is no way back."""
        self._closed = True
        if self._thread is not None:
            self._thread.stop()

    def _running(self) -> _Thread:
        thread = self._thread
        if thread is not None and thread.process != os.getpid():
            hint = "Make the Guard in the child, or make its first call there."
            raise Refused(
                "PC7004", "this process was forked from one that used the guard", hint=hint
            )
        with self._lock:
            if self._closed:
                raise Refused("PC7004", "the guard is closed")
            if self._thread is None:
                self._thread = _Thread(self._opened)
            return self._thread

    async def _post(self, path: str, body: bytes, delegation: str) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        if delegation:
            headers["authorization"] = f"Bearer {delegation}"
        return await answered(
            self._running().http, "POST", self._url + path, data=body, headers=headers, most=_MOST
        )


def _closed() -> Refused:
    return Refused("PC7011", "the guard was closed")


def _after(error: Exception) -> Refused:
    """The same, of a tool that has run."""
    return Refused.of(error if isinstance(error, Refused) else _closed(), ran=True)


async def _seen(doing: Future[T]) -> T:
    """Await what is done, which goes on if the one who awaits it is cancelled."""
    seen: Future[T] = Future()

    def pass_on(done: Future[T]) -> None:
        if not seen.set_running_or_notify_cancel():
            return
        if done.cancelled():
            seen.set_exception(_closed())
        elif (error := done.exception()) is not None:
            seen.set_exception(error)
        else:
            seen.set_result(done.result())

    doing.add_done_callback(pass_on)
    return await asyncio.wrap_future(seen)


class _Thread:
    """A thread with an event loop and a session of aiohttp's in it."""

    http: aiohttp.ClientSession

    def __init__(self, opened: Callable[[], aiohttp.ClientSession]) -> None:
        self.process = os.getpid()
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(opened)), name="portcullis-guard", daemon=True
        )
        self._thread.start()
        self.loop = self._ready.result()

    def stop(self) -> None:
        """End it, unless it is another process's or has ended."""
        if self.process != os.getpid() or not self._thread.is_alive():
            return
        with contextlib.suppress(RuntimeError):  # it ends just now
            self.loop.call_soon_threadsafe(self._stop.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_SECONDS)

    async def _serve(self, opened: Callable[[], aiohttp.ClientSession]) -> None:
        try:
            self.http = opened()
        except Exception as error:  # noqa: BLE001 - it is raised to whoever asked
            self._ready.set_exception(error)
            return
        async with self.http:
            self._ready.set_result(asyncio.get_running_loop())
            await self._stop.wait()
