"""Asking one witness to cosign: the client of C2SP tlog-witness, in a thread of the witness' own.

A witness that hangs holds up its own thread and nothing else.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import queue as queues
import random
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

import msgspec

from portcullis.audit.checkpoint import Checkpoint, is_size
from portcullis.audit.note import Note, Signature, encode64, parse_note, parse_signatures
from portcullis.audit.proofs import consistency_proof
from portcullis.audit.quorum import AHEAD_SECONDS, Witness
from portcullis.audit.tiles import TileReader
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock

_MAX_ANSWER: Final = 1 << 16
_GRACE: Final = 0.25
"""Seconds beyond its own that a witness' answer as a whole may take."""
_BACK_OFF: Final = (0.25, 10.0)
"""Seconds before a witness that failed is asked again: at first, and at most."""


class Head(msgspec.Struct, frozen=True):
    """A signed head and its note."""

    checkpoint: Checkpoint
    note: bytes


class Answer(msgspec.Struct, frozen=True):
    """What a witness said to a head.

    Without ``cosignature``, ``reason`` says why. ``conflict`` is set when the witness has seen
    what this log does not hold: a larger tree, or another.
    """

    witness: str
    head: Head
    cosignature: Signature | None = None
    time: int = 0
    reason: str = ""
    conflict: bool = False


class Peer:
    """One witness. ``ask`` and the attributes are for one thread, the feeder's."""

    def __init__(
        self,
        witness: Witness,
        directory: Path,
        *,
        clock: Clock,
        seconds: float,
        answered: Callable[[Answer], None],
    ) -> None:
        self.witness = witness
        self.busy = False
        self.reason = "not asked yet"
        self.time: int | None = None
        """When it last cosigned, in seconds since the epoch."""
        self.until = math.inf
        """When ``cut`` is due, in monotonic seconds."""
        self._late = False
        self._failures = 0
        self._due = 0.0
        self._clock = clock
        self._seconds = seconds
        self._answered = answered
        self._directory = directory
        self._seen = 0
        self._connection: http.client.HTTPConnection | None = None
        self._heads: queues.SimpleQueue[Head | None] = queues.SimpleQueue()
        Thread(target=self._run, name=f"witness-{witness.name}", daemon=True).start()

    @property
    def due(self) -> float:
        """When it may be asked, in monotonic seconds."""
        return self._due

    def knows(self, size: int, cosigned: int) -> None:
        """It is known to have cosigned a head of this size at that time. Before the first ask."""
        self._seen, self.time = size, cosigned

    def ask(self, head: Head) -> None:
        """Ask for a cosignature; ``answered`` gets what comes of it, from another thread."""
        self.busy, self._late = True, False
        self.until = time.monotonic() + self._seconds + _GRACE
        self._heads.put(head)

    def cut(self) -> None:
        """Break off what takes too long: a witness that always says a little never ends by itself.

        For whenever ``until`` is over; what it was doing ends soon after.
        """
        self._late, self.until = True, time.monotonic() + _GRACE
        sock = getattr(self._connection, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def take(self, answer: Answer) -> None:
        """Note how an ask went."""
        self.busy, self.reason, self.until = False, answer.reason, math.inf
        if answer.cosignature is not None:
            self.time, self._failures, self._due = answer.time, 0, 0.0
            return
        first, most = _BACK_OFF
        wait = min(most, first * 2**self._failures) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        self._failures = min(self._failures + 1, 10)
        self._due = time.monotonic() + wait

    def close(self) -> None:
        """End its thread when it is idle."""
        self._heads.put(None)

    def _run(self) -> None:
        while (head := self._heads.get()) is not None:
            try:
                answer = self._cosign(head)
            except Problem as problem:
                answer = self._refused(head, problem.detail)
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                answer = self._refused(head, getattr(error, "strerror", None) or "no answer")
            except Exception as error:  # noqa: BLE001 - whatever a witness does, it is answered for
                self._drop()
                answer = self._refused(head, type(error).__name__)
            if self._late and answer.cosignature is None and not answer.conflict:
                self._drop()
                answer = self._refused(head, "no answer in time")
            self._answered(answer)
        self._drop()

    def _refused(self, head: Head, reason: str, *, conflict: bool = False) -> Answer:
        return Answer(self.witness.name, head, reason=reason, conflict=conflict)

    def _cosign(self, head: Head) -> Answer:
        size = head.checkpoint.size
        for _ in range(2):
            if self._seen > size:
                return self._ahead(head, self._seen)
            status, kind, body = self._post(self._request(head))
            if status == HTTPStatus.OK:
                return self._cosigned(head, body)
            if status != HTTPStatus.CONFLICT:
                break
            text = body.decode("ascii", "replace").removesuffix("\n")
            if kind != "text/x.tlog.size" or not is_size(text):
                return self._refused(head, "it conflicts and does not say with what")
            seen = int(text)
            if seen == self._seen:
                break  # our old size was right, and yet it has seen another tree
            if seen < self._seen:
                self._seen = seen
                return self._refused(head, f"it forgot what it cosigned: it is back at {seen}")
            self._seen = seen
        conflict = status in {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}
        said = "it has seen another history" if conflict else f"it answered {status}"
        return self._refused(head, said, conflict=conflict)

    def _ahead(self, head: Head, seen: int) -> Answer:
        self._seen = 0  # it may have been a lie: ask anew the next time
        said = f"it has seen {seen} entries, this log holds {head.checkpoint.size}"
        return self._refused(head, said, conflict=True)

    def _request(self, head: Head) -> bytes:
        size = head.checkpoint.size
        node = TileReader(self._directory, size).node
        proof = consistency_proof(node, self._seen, size)
        lines = "".join(f"{encode64(item)}\n" for item in proof)
        return f"old {self._seen}\n{lines}\n".encode() + head.note

    def _cosigned(self, head: Head, body: bytes) -> Answer:
        cosigner = self.witness.cosigner
        try:
            signatures = parse_signatures(body.decode())
            note = Note(parse_note(head.note).text, signatures)
            when = cosigner.cosigned(note)
        except (Problem, UnicodeDecodeError):
            return self._refused(head, "its cosignature does not verify")
        if when is None:
            return self._refused(head, "its cosignature is by another key")
        if when > self._clock.now() + AHEAD_SECONDS:
            return self._refused(head, "its cosignature is from the future")
        self._seen = head.checkpoint.size
        newest = max(cosigner.own(note), key=lambda one: one.bytes[:8])
        return Answer(self.witness.name, head, newest, when)

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        if self._connection is not None:
            try:
                return self._exchange(self._connection, body)
            except (ConnectionError, http.client.HTTPException):
                self._drop()  # it was closed while it was idle
                if self._late:
                    raise
        parts = urlsplit(self.witness.url)
        secure = parts.scheme == "https"
        made = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = made(parts.hostname or "", parts.port, timeout=self._seconds)
        return self._exchange(self._connection, body)

    def _exchange(
        self, connection: http.client.HTTPConnection, body: bytes
    ) -> tuple[int, str, bytes]:
        path = f"{urlsplit(self.witness.url).path}/add-checkpoint"
        connection.request("POST", path, body, {"content-type": "text/plain"})
        answer = connection.getresponse()
        content = answer.read(_MAX_ANSWER + 1)
        if len(content) > _MAX_ANSWER:
            self._drop()
            raise Problem("PC6005", "its answer is too long")
        return answer.status, answer.headers.get_content_type(), content

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
