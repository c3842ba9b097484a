"""What attempts are made of: one child process each, an effect that was looked for, an answer.

An attempt returns what it reached (it went through) or None (the effect is absent), or raises
OSError. Only an errno that says no counts as stopped: one that says that the attempt was
malformed does not, and neither does a child that crashed or never answered.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

REFUSALS: Final = frozenset(
    {
        errno.EPERM,
        errno.EACCES,
        errno.ENOSYS,
        errno.ENOENT,
        errno.EROFS,
        errno.ENXIO,
        errno.ENODEV,
        errno.ESRCH,
        errno.EXDEV,
        errno.ENOTDIR,
        errno.EAFNOSUPPORT,
        errno.EPROTONOSUPPORT,
        errno.ESOCKTNOSUPPORT,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ECONNREFUSED,
        errno.EADDRNOTAVAIL,
        errno.EOPNOTSUPP,
        errno.EUSERS,
    }
)
"""Errors that say no, and not that the attempt was malformed."""
NO: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS})
"""For system calls: any other error comes from behind the check of rights."""
FULL: Final = frozenset(
    {errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.EFBIG}
    | {errno.EDQUOT}
)
"""Errors that say that no more is to be had."""
GROUPS: Final = (
    *("files", "proc", "devices", "descriptors", "kernel", "processes", "terminals", "shared"),
    *("network", "sockets", "output", "exhaustion", "namespaces"),
    *("connect", "proxy", "tls", "gate"),
)
"""In the order in which they are tried: mounts would hide things from what comes after them."""
MADE: Final = "made"
"""What is said where the launcher is the judge: the trap stands, or what to look for runs."""
SECONDS: Final = 15.0
"""For one attempt: a machine may be busy, and a box has half a processor."""
ARCH: Final = platform.machine()


@dataclass(frozen=True)
class Plan:
    """What the launcher planted outside, so that it can be looked for. Empty: not planted.

    ``canary`` is a text that is nowhere in the box (the plan's JSON has it backwards): whatever
    shows it went through. ``file`` holds
    it; ``abstract`` and ``unix`` are sockets that say it; ``tcp`` and ``udp`` ports of the
    machine's loopback; ``shm`` and ``queue`` keys of System V objects. Of names, the agent may go
    to ``allowed`` and ``seen`` at ``port`` (TLS to the second ends at the gate), not to ``denied``;
    ``inward`` is allowed and has an address that is not. ``parallel`` attempts are made at once.
    """

    nonce: str
    groups: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    pidns: str = ""
    canary: str = ""
    file: str = ""
    writable: tuple[str, ...] = ()
    tcp: int = 0
    tcp6: int = 0
    udp: int = 0
    unix: str = ""
    abstract: str = ""
    sockets: tuple[str, ...] = ()
    shm: int = 0
    queue: int = 0
    pid: int = 0
    address: str = ""
    memory: int = 0
    cpu: float = 0.0
    pids: int = 0
    tmp: int = 0
    scratch: int = 0
    files: int = 0
    control: int = 0
    allowed: str = ""
    port: int = 443
    seen: str = ""
    denied: str = ""
    inward: str = ""
    environ: tuple[str, ...] = ()
    parallel: int = 1

    @classmethod
    def read(cls, text: str) -> Plan:
        """From JSON; what it does not know is left out."""
        known: dict[str, Any] = {
            key: value for key, value in json.loads(text).items() if key in cls.names()
        }
        known["canary"] = known.get("canary", "")[::-1]
        filled: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in known.items()
        }
        return cls(**filled)

    @classmethod
    def names(cls) -> frozenset[str]:
        """The fields."""
        return frozenset(cls.__dataclass_fields__)


Try = Callable[[Plan], "str | None"]


@dataclass(frozen=True)
class Attempt:
    """One attempt. ``alone``: it may take its box with it, and gets one of its own."""

    name: str
    tries: str
    run: Try
    stops: frozenset[int] = REFUSALS
    alone: bool = False
    seconds: float = SECONDS

    @property
    def group(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Result:
    """What came of it. ``how`` says what stopped it, or what it reached."""

    id: str
    group: str
    tries: str
    stopped: bool
    how: str


@dataclass
class Register:
    """All attempts, in order, no two of one name."""

    all: dict[str, Attempt] = field(default_factory=dict)

    def add(self, name: str, tries: str, run: Try, **how: Any) -> None:
        """One more."""
        if name in self.all or name.partition(".")[0] not in GROUPS:
            raise ValueError(name)
        self.all[name] = Attempt(name, tries, run, **how)

    def of(self, plan: Plan) -> list[Attempt]:
        """Those that a plan asks for, group by group."""
        return [
            each
            for each in sorted(self.all.values(), key=lambda one: GROUPS.index(one.group))
            if (not plan.groups or each.group in plan.groups)
            and (not plan.only or each.name in plan.only)
            and each.name not in plan.skip
        ]


REGISTER: Final = Register()


def attempt(name: str, tries: str, **how: Any) -> Callable[[Try], Try]:
    """Register the function below."""

    def wrap(run: Try) -> Try:
        REGISTER.add(name, tries, run, **how)
        return run

    return wrap


def carry_out(each: Attempt, plan: Plan) -> Result:
    """Try it in a child in a process group of its own, which is ended with it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _child(each, plan, read, write)
    os.close(write)
    try:
        answer = _answer(read, each.seconds)
    finally:
        os.close(read)
    if answer is None:
        _end(child)
    _, status = os.waitpid(child, 0)
    stopped, how = answer or _silent(status, each)
    return Result(each.name, each.group, each.tries, stopped, how)


def _child(each: Attempt, plan: Plan, read: int, write: int) -> None:
    os.close(read)
    os.setpgid(0, 0)
    try:
        reached = each.run(plan)
        stopped, how = reached is None, reached or "no effect"
    except OSError as error:
        code = error.errno or 0
        stopped = code in each.stops or isinstance(error, TimeoutError)
        how = errno.errorcode.get(code, type(error).__name__)
        how = how if stopped else f"unclear: {how}"
    except MemoryError:
        stopped, how = True, "MemoryError"
    except BaseException as fault:  # noqa: BLE001 - whatever it was, it proves nothing
        stopped, how = False, f"unclear: {type(fault).__name__}: {str(fault)[:80]}"
    os.write(write, json.dumps([stopped, how]).encode())
    os.killpg(0, signal.SIGKILL)


def _answer(read: int, seconds: float) -> tuple[bool, str] | None:
    text, until = b"", time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if not select.select([read], [], [], left)[0]:
            break
        part = os.read(read, 4096)
        if not part:
            break
        text += part
        try:
            stopped, how = json.loads(text)
        except ValueError:
            continue
        return bool(stopped), str(how)
    return None


def _end(child: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except OSError:
            continue


def _silent(status: int, each: Attempt) -> tuple[bool, str]:
    """What the end of a child says that answered nothing (SIGKILL may have been ours)."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGSYS:
        return True, "SIGSYS"
    if number == signal.SIGKILL and each.alone:
        return True, "killed"
    return False, f"unclear: ended by signal {number}" if number else "unclear: no answer"


# -- system calls by number ------------------------------------------------------------------------

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def call(number: int | None, *arguments: Any) -> int:
    """A system call, raw. Raises OSError; ENOSYS where the machine has no such number."""
    if number is None:
        raise OSError(errno.ENOSYS, "not on this machine")
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    ctypes.set_errno(0)
    result = int(_LIBC.syscall(ctypes.c_long(number), *wide))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def text(value: str) -> ctypes.c_char_p:
    """A C string."""
    return ctypes.c_char_p(value.encode())


def said(data: bytes, plan: Plan) -> str | None:
    """Whether something that was read shows the canary."""
    found = plan.canary and plan.canary.encode() in data
    return "read what was planted outside" if found else None
