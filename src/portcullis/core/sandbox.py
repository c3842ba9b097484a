"""Boxes: what a process in one may be and have; ``core.sandbox_ports`` makes them.

A box assumes that what runs in it is hostile. It has no way out but what its order names: mounts,
three standard streams, and, where its profile says ``gate``, sockets that the launcher put there.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import msgspec


class Hold(StrEnum):
    """One thing that holds a box together; a profile demands some, an adapter enforces some."""

    USER = "user"
    """An unprivileged user of its own (uid 65534), in a user namespace of its own."""
    NO_NEW_PRIVILEGES = "no-new-privileges"
    CAPABILITIES = "capabilities"
    """None, and none to be had."""
    PROCESSES = "processes"
    """It sees no process but its own."""
    NETWORK = "network"
    """No interface but a loopback of its own."""
    IPC = "ipc"
    HOSTNAME = "hostname"
    READ_ONLY_ROOT = "read-only-root"
    SYSCALLS = "syscalls"
    """Our allow-list (seccomp)."""
    MEMORY = "memory"
    CPU = "cpu"
    PIDS = "pids"
    TMP = "tmp"
    """A bounded /tmp."""
    SCRATCH = "scratch"
    """A bounded ephemeral directory."""
    TERMINAL = "terminal"
    """No controlling terminal of ours: nothing can be typed into it (TIOCSTI)."""
    APPARMOR = "apparmor"
    KERNEL = "kernel"
    """A kernel of its own between it and ours (gVisor, a virtual machine)."""
    INSTRUCTIONS = "instructions"
    """Pure WebAssembly: no system call at all, and metered."""


STRICT: frozenset[Hold] = frozenset(Hold) - {Hold.APPARMOR, Hold.KERNEL, Hold.INSTRUCTIONS}
"""What a process in a strict box cannot do without."""


class Network(StrEnum):
    """What of a network is in a box."""

    NONE = "none"
    GATE = "gate"
    """A loopback of its own, and on it the bridge to the gate: nothing else."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """How a box is held; the defaults are ``strict``. Sizes in bytes, times in seconds.

    ``cpu`` is in processors. ``seconds`` bounds the box's life, None is for as long as it is
    wanted. ``demands`` are the holds without which it does not start.
    """

    name: str = "strict"
    uid: int = 65534
    memory: int = 256 * 2**20
    cpu: float = 0.5
    pids: int = 64
    tmp: int = 50 * 2**20
    scratch: int = 100 * 2**20
    files: int = 256
    """Open descriptors of one process."""
    seconds: float | None = None
    network: Network = Network.NONE
    demands: frozenset[Hold] = STRICT


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A directory, file or socket of ours that is in the box at ``target`` (an absolute path)."""

    source: Path
    target: str
    writable: bool = False


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to run in a box, and how. The environment is ``environ`` and nothing else.

    ``title`` says whose it is, for the record (``mcp:files``); ``terminal`` is for a box whose
    streams are a pseudo-terminal made for it.
    """

    title: str
    argv: tuple[str, ...]
    profile: Profile
    environ: Mapping[str, str] = {}
    mounts: tuple[Mount, ...] = ()
    cwd: str = "/scratch"
    terminal: bool = False


class Streams(msgspec.Struct, frozen=True, kw_only=True):
    """Descriptors of ours that become the box's 0, 1 and 2; whoever made them closes them."""

    stdin: int
    stdout: int
    stderr: int


class Ending(StrEnum):
    """Why a box is no more."""

    EXITED = "exited"
    KILLED = "killed"
    """By us."""
    SIGNALLED = "signalled"
    MEMORY = "memory"
    DEADLINE = "deadline"


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a box ended. ``status`` is what a shell would show (128 and more: a signal)."""

    why: Ending
    status: int


class Ability(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter can enforce on this machine now. ``lacking`` says of each hold why not."""

    adapter: str
    version: str
    enforces: frozenset[Hold]
    lacking: Mapping[Hold, str]
