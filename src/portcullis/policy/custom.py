"""What hand-written packages deny, asked of a process that a deadline and a memory limit bound.

Loops are counted before (``policy.loops``), and what they come to is refused where it is too much;
but that is an estimate, and regorus' interpreter cannot be stopped from within its process. So it
runs in one of its own: each thread that decides has one (``custom_worker``) from the first question
to a policy with such packages on. It is ended and started anew when it does not answer in time.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from typing import Any, Final

from portcullis.policy.child import environment
from portcullis.policy.custom_worker import HEADER, KEPT, LOADING, SECONDS
from portcullis.policy.loops import MOST_STEPS, cost
from portcullis.policy.syntax import Wrong, told

_MODULE: Final = "portcullis.policy.custom_worker"
_ARENA: Final = {"MIMALLOC_ARENA_RESERVE": "16384"}
"""regorus' allocator would reserve a GiB of addresses at once, and these are what is bounded."""
_NOTHING: Final = '{"policy": {}}'
_thread: Final = threading.local()


class Unanswered(Exception):  # noqa: N818 - it says what is the matter
    """There is no answer: not in time, not within memory, or an error. The caller denies."""


class Refused(Unanswered):
    """The module or the question is in error; the argument is what the engine says."""


class Custom:
    """The hand-written packages of one policy. ``modules`` are files and texts, ``data`` JSON.

    It may be used by any thread.
    """

    def __init__(self, name: str, modules: list[tuple[str, str]], data: str) -> None:
        own = tuple(text for file, text in modules if file.startswith("custom/"))
        if not any("data" in text for text in own):
            data = _NOTHING  # a large policy takes its time to read
        self._name = name
        self._loaded = json.dumps([modules, data]).encode()
        self._cost = cost(own, json.loads(data)["policy"])

    def with_denials(self, question: str) -> str:
        """The question with what the packages deny of it. Raises Unanswered."""
        asked: dict[str, Any] = json.loads(question)
        if self._cost.steps(asked, len(question)) > MOST_STEPS:
            raise Unanswered("too much for the loops of the hand-written packages")
        denials = json.loads(_worker().denials(self._name, self._loaded, question.encode()))
        if not isinstance(denials, list):
            raise Unanswered("the hand-written packages do not answer")
        return json.dumps({**asked, "denials": denials})


def tried(text: str, rule: str) -> Wrong | None:
    """As ``syntax.tried``, and what does not end in time or within memory is wrong, too."""
    try:
        _worker().tried(text, rule)
    except Refused as error:
        return told(str(error), "cannot be evaluated")
    except Unanswered as error:
        return Wrong(1, 1, f"cannot be evaluated: {error}")
    return None


def _worker() -> _Worker:
    """This thread's."""
    known: _Worker | None = getattr(_thread, "worker", None)
    if known is None or known.over:
        known = _thread.worker = _Worker()
    return known


class _Worker:
    """A process; once a question went wrong in any way but an answer, it is over."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-P", "-m", _MODULE],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=environment() | _ARENA,
                )
            except OSError:
                ours.close()
                raise Unanswered("no process can be started") from None
        self._socket = ours
        self._pid = os.getpid()
        self._loaded: dict[str, None] = {}
        self._end = weakref.finalize(self, _ended, process, ours)

    @property
    def over(self) -> bool:
        """Whether it answers no more; in a fork of this process, either."""
        return not self._end.alive or self._pid != os.getpid()

    def denials(self, name: str, loaded: bytes, question: bytes) -> bytes:
        """What the packages of a policy deny of a question."""
        if name not in self._loaded:
            self._said(b"L" + name.encode() + b"\n" + loaded, LOADING)
            while len(self._loaded) >= KEPT:  # as the process does
                del self._loaded[next(iter(self._loaded))]
            self._loaded[name] = None
        try:
            return self._said(b"A" + name.encode() + b"\n" + question, SECONDS)
        except Refused:
            del self._loaded[name]
            raise

    def tried(self, text: str, rule: str) -> None:
        """Evaluate a rule of nothing."""
        body = text.encode("utf-8", "surrogatepass")
        self._said(b"T" + rule.encode() + b"\n" + body, LOADING)

    def _said(self, message: bytes, seconds: float) -> bytes:
        until = time.monotonic() + seconds
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(len(message).to_bytes(HEADER, "big") + message)
            size = int.from_bytes(self._received(HEADER, until), "big")
            answer = self._received(size, until)
        except OSError:
            self._end()
            with contextlib.suppress(Unanswered):
                _thread.worker = _Worker()  # it gets ready while nobody waits for it yet
            raise Unanswered("not in time, or not within memory") from None
        except BaseException:
            self._end()  # half an answer may be left
            raise
        if answer[:1] != b"+":
            raise Refused(answer[1:].decode("utf-8", "replace"))
        return answer[1:]

    def _received(self, size: int, until: float) -> bytes:
        parts = []
        while size:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            part = self._socket.recv(min(size, 2**20))
            if not part:
                raise ConnectionError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _ended(process: subprocess.Popen[bytes], ours: socket.socket) -> None:
    ours.close()
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=SECONDS)
