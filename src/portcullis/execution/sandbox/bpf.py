"""Classic BPF for seccomp: instructions, assembled from rules (Linux: filter.rst, seccomp(2)).

A program sees ``struct seccomp_data``: the call's number (32 bits), the architecture (32 bits), the
instruction pointer, and six arguments of 64 bits, of which it can load 32 at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, TypeAlias

Condition: TypeAlias = tuple[int, int, int]
"""Of argument (0 to 5), under a mask of 32 bits, the value that it must have."""
Alternatives: TypeAlias = tuple[tuple[Condition, ...], ...]
"""One of these must hold, and in it every condition. Empty: always."""

KILL: Final = 0x80000000
ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000

_LOAD: Final = 0x20
_AND: Final = 0x54
_EQUAL: Final = 0x15
_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_ARGUMENTS: Final = 16


def refuse(errno: int) -> int:
    """The action: the call is not made and fails with ``errno``."""
    return _ERRNO | errno


def _line(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """One ``struct sock_filter`` (native byte order: x86-64 and aarch64 are little-endian)."""
    return struct.pack("<HBBI", code, yes, no, value)


def _argument(condition: Condition, skip: int) -> list[bytes]:
    """Go on when it holds, else jump over the ``skip`` instructions that follow."""
    argument, mask, value = condition
    lines = [_line(_LOAD, _ARGUMENTS + 8 * argument)]
    lines += [] if mask == 0xFFFFFFFF else [_line(_AND, mask)]  # noqa: PLR2004 - all 32 bits
    return [*lines, _line(_EQUAL, value, 0, skip)]


def _alternative(conditions: tuple[Condition, ...]) -> list[bytes]:
    """Return ALLOW when all of them hold, else go on behind."""
    tail = [_line(_RETURN, ALLOW)]
    for condition in reversed(conditions):
        tail = [*_argument(condition, len(tail)), *tail]
    return tail


def _rule(number: int, alternatives: Alternatives, refusal: int) -> list[bytes]:
    """Decide on one call; another one jumps over it, with its number still loaded."""
    if not alternatives:
        return [_line(_EQUAL, number, 0, 1), _line(_RETURN, ALLOW)]
    body = [line for one in alternatives for line in _alternative(one)]
    body.append(_line(_RETURN, refusal))
    if len(body) < 256:  # noqa: PLR2004 - a conditional jump's offset is one byte
        return [_line(_EQUAL, number, 0, len(body)), *body]
    return [_line(_EQUAL, number, 1, 0), _line(0x05, len(body)), *body]


def assemble(
    architecture: int,
    rules: Iterable[tuple[int, Alternatives, int]],
    *,
    newest: int,
    foreign: int | None,
) -> bytes:
    """Return the program for calls of ``architecture`` (AUDIT_ARCH_*); others kill the process.

    ``rules`` are number, alternatives and what answers when none holds. A number above ``newest``
    answers ENOSYS, and what has no rule EPERM. ``foreign`` is the bit that marks the calls of
    another ABI in the same architecture (x32), which kill the process too.
    """
    lines = [
        _line(_LOAD, _ARCHITECTURE),
        _line(_EQUAL, architecture, 1, 0),
        _line(_RETURN, KILL),
        _line(_LOAD, _NUMBER),
    ]
    if foreign is not None:
        lines += [_line(_AT_LEAST, foreign, 0, 1), _line(_RETURN, KILL)]
    lines += [_line(_AT_LEAST, newest + 1, 0, 1), _line(_RETURN, refuse(38))]
    for number, alternatives, refusal in rules:
        lines += _rule(number, alternatives, refusal)
    lines.append(_line(_RETURN, refuse(1)))
    return b"".join(lines)
