"""What a WebAssembly function may ask for (WASI preview 1): its words, its input, its output.

There is no file, no socket, no waiting and no clock that goes: what is not here traps. Times are
the moment of the start, so that the same input gives the same output; random bytes are random.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from typing import Final, Protocol

_PREVIEW: Final = "wasi_snapshot_preview1"
_OK, _BADF, _INVAL, _IO, _PIPE = 0, 8, 28, 29, 70
_MOST: Final = 2**20
"""Bytes of one read or random answer, and of one write."""
_VECTORS: Final = 1024
_CHARACTER_DEVICE: Final = 2
_I32, _I64 = "i32", "i64"


class Stop(Exception):  # noqa: N818 - it is no error
    """The function is not to go on: it said that it has ended, or it was ended."""


class Memory(Protocol):
    """The function's memory; IndexError or ValueError for what is not in it."""

    def read(self, start: int, size: int) -> bytes:
        """Those bytes."""

    def write(self, start: int, text: bytes) -> None:
        """Put them there."""


class Wasi:
    """The calls, over ``read`` (up to so many bytes of input) and ``write`` (descriptor, bytes)."""

    def __init__(
        self,
        argv: Sequence[str],
        environ: Sequence[str],
        *,
        now: int,
        read: Callable[[int], bytes],
        write: Callable[[int, bytes], None],
    ) -> None:
        self._argv = [os.fsencode(one) + b"\0" for one in argv]
        self._environ = [os.fsencode(one) + b"\0" for one in environ]
        self._now, self._read, self._write = now, read, write
        self.status: int | None = None
        """The status that the function ended with, if it said one."""

    def calls(self) -> dict[tuple[str, str], tuple[tuple[str, ...], Callable[..., int | None]]]:
        """By module and name: the kinds of arguments (all answer one i32 but ``proc_exit``)."""
        found: dict[str, tuple[tuple[str, ...], Callable[..., int | None]]] = {
            "args_sizes_get": ((_I32, _I32), lambda m, a, b: _sizes(m, self._argv, a, b)),
            "args_get": ((_I32, _I32), lambda m, a, b: _strings(m, self._argv, a, b)),
            "environ_sizes_get": ((_I32, _I32), lambda m, a, b: _sizes(m, self._environ, a, b)),
            "environ_get": ((_I32, _I32), lambda m, a, b: _strings(m, self._environ, a, b)),
            "fd_read": ((_I32,) * 4, self._fd_read),
            "fd_write": ((_I32,) * 4, self._fd_write),
            "fd_close": ((_I32,), lambda _m, fd: _OK if fd < 3 else _BADF),  # noqa: PLR2004
            "fd_seek": ((_I32, _I64, _I32, _I32), lambda _m, fd, *_: _PIPE if fd < 3 else _BADF),  # noqa: PLR2004
            "fd_fdstat_get": ((_I32, _I32), _fdstat),
            "fd_fdstat_set_flags": ((_I32, _I32), lambda *_: _OK),
            "fd_prestat_get": ((_I32, _I32), lambda *_: _BADF),
            "fd_prestat_dir_name": ((_I32,) * 3, lambda *_: _BADF),
            "clock_time_get": ((_I32, _I64, _I32), self._clock),
            "clock_res_get": ((_I32, _I32), lambda m, _c, at: _put(m, at, struct.pack("<Q", 1))),
            "random_get": ((_I32, _I32), _random),
            "sched_yield": ((), lambda _m: _OK),
            "proc_exit": ((_I32,), self._exit),
        }
        return {(_PREVIEW, name): call for name, call in found.items()}

    def _clock(self, memory: Memory, _clock: int, _precision: int, at: int) -> int:
        return _put(memory, at, struct.pack("<Q", self._now))

    def _fd_read(self, memory: Memory, fd: int, vectors: int, count: int, at: int) -> int:
        if fd != 0:
            return _BADF
        total = 0
        for start, size in _vectors(memory, vectors, count):
            text = self._read(min(size, _MOST)) if size else b""
            memory.write(start, text)
            total += len(text)
            # A short read is an answer: more of it would wait.
            if len(text) < size:
                break
        return _put(memory, at, struct.pack("<I", total))

    def _fd_write(self, memory: Memory, fd: int, vectors: int, count: int, at: int) -> int:
        if fd not in {1, 2}:
            return _BADF
        total = 0
        for start, size in _vectors(memory, vectors, count):
            part = memory.read(start, min(size, _MOST))
            self._write(fd, part)
            total += len(part)
            if len(part) < size:
                break
        return _put(memory, at, struct.pack("<I", total))

    def _exit(self, _memory: Memory, status: int) -> None:
        self.status = status & 0xFF
        raise Stop


def _put(memory: Memory, at: int, text: bytes) -> int:
    memory.write(at, text)
    return _OK


def _vectors(memory: Memory, place: int, count: int) -> list[tuple[int, int]]:
    if count > _VECTORS:
        raise ValueError("too many vectors")
    return list(struct.iter_unpack("<II", memory.read(place, 8 * count)))


def _sizes(memory: Memory, texts: Sequence[bytes], count: int, size: int) -> int:
    memory.write(count, struct.pack("<I", len(texts)))
    return _put(memory, size, struct.pack("<I", sum(map(len, texts))))


def _strings(memory: Memory, texts: Sequence[bytes], pointers: int, place: int) -> int:
    for index, text in enumerate(texts):
        memory.write(pointers + 4 * index, struct.pack("<I", place))
        memory.write(place, text)
        place += len(text)
    return _OK


def _fdstat(memory: Memory, fd: int, at: int) -> int:
    if fd > 2:  # noqa: PLR2004 - standard error
        return _BADF
    return _put(memory, at, struct.pack("<BxHxxxxQQ", _CHARACTER_DEVICE, 0, 0xFFFFFFFF, 0))


def _random(memory: Memory, at: int, size: int) -> int:
    return _INVAL if size > _MOST else _put(memory, at, os.urandom(size))
