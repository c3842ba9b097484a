"""System calls that a tool has no use for, by number: each is let or refused before its effect.

Where success would touch the machine, the arguments say "nothing": the time that it is, a module
of no bytes, a file that is no swap. Permission is asked before such arguments are looked at.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import time
from pathlib import Path

from .kit import ARCH, FULL, NO, REFUSALS, REGISTER, Plan, Try, attempt, call, said, text
from .numbers import number

_X32 = 0x40000000
_NOTHING = ctypes.c_void_p(0)


def _calls(name: str, *arguments: object, opened: bool = False) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        result = call(number(name), *arguments)
        if opened:
            os.close(result)
        return f"it returned {result}"

    return run


def _zeros(size: int) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(size)


_PERF = _zeros(128)
struct.pack_into("<IIQ", _PERF, 0, 1, 128, 0)  # software: the CPU's clock
_MAP = _zeros(128)
struct.pack_into("<4I", _MAP, 0, 2, 4, 8, 1)  # an array of one element
_RING = _zeros(120)
_NOW = struct.pack("<qq", int(time.time()), 0)

for _name, _what, _run in (
    (
        "add_key",
        "add a key to a keyring",
        _calls("add_key", text("user"), text("portcullis"), text("x"), 1, -3),
    ),
    ("keyctl", "join a session keyring (keyctl)", _calls("keyctl", 1, _NOTHING)),
    ("keyctl_user", "look at the user's keyring", _calls("keyctl", 0, -4, 1)),
    ("bpf_map", "make a BPF map", _calls("bpf", 0, _MAP, 128, opened=True)),
    (
        "perf",
        "count events (perf_event_open)",
        _calls("perf_event_open", _PERF, 0, -1, -1, 0, opened=True),
    ),
    (
        "io_uring",
        "make a ring that does system calls past the filter",
        _calls("io_uring_setup", 4, _RING, opened=True),
    ),
    ("userfaultfd", "handle faults of memory (userfaultfd)", _calls("userfaultfd", 0, opened=True)),
    (
        "userfaultfd_user",
        "the same for faults of user mode only",
        _calls("userfaultfd", 1, opened=True),
    ),
    ("kexec", "load another kernel", _calls("kexec_load", 0, 0, _NOTHING, 0)),
    (
        "kexec_file",
        "load another kernel from a file",
        _calls("kexec_file_load", 0, 0, 0, _NOTHING, 2),
    ),
    ("module", "load a module", _calls("init_module", _NOTHING, 0, text(""))),
    ("module_file", "load a module from a file", _calls("finit_module", 0, text(""), 0)),
    ("module_unload", "unload a module", _calls("delete_module", text("portcullis_none"), 0)),
    (
        "settimeofday",
        "set the clock (settimeofday)",
        _calls("settimeofday", ctypes.create_string_buffer(_NOW), _NOTHING),
    ),
    (
        "clock_settime",
        "set the clock (clock_settime)",
        _calls("clock_settime", 0, ctypes.create_string_buffer(_NOW)),
    ),
    ("swapon", "add swap", _calls("swapon", text("/scratch/none"), 0)),
    ("swapoff", "take swap away", _calls("swapoff", text("/scratch/none"))),
    (
        "reboot",
        "turn Ctrl-Alt-Del off (reboot)",
        _calls("reboot", 0xFEE1DEAD, 0x28121969, 0, _NOTHING),
    ),
    ("acct", "keep accounts of processes", _calls("acct", text("/scratch/none"))),
    (
        "quota",
        "look at quotas (quotactl)",
        _calls("quotactl", 0x800001 << 8, text("/dev/vda"), 0, _NOTHING),
    ),
    ("syslog", "read the kernel's messages (syslog)", _calls("syslog", 3, _zeros(4096), 4096)),
    ("vhangup", "hang the terminal up", _calls("vhangup")),
    (
        "fanotify",
        "watch the machine's files (fanotify)",
        _calls("fanotify_init", 0x200, 0, opened=True),
    ),
    ("dcookie", "name a file by a cookie", _calls("lookup_dcookie", 1, _zeros(64), 64)),
    ("migrate_pages", "move the memory of process 1", _calls("migrate_pages", 1, 0, 0, 0)),
    (
        "move_pages",
        "learn where the memory of process 1 is",
        _calls("move_pages", 1, 0, _NOTHING, _NOTHING, _NOTHING, 0),
    ),
    ("iopl", "reach the machine's ports (iopl)", _calls("iopl", 3)),
    ("ioperm", "reach the machine's ports (ioperm)", _calls("ioperm", 0x80, 1, 1)),
    (
        "modify_ldt",
        "make a segment of 16 bits (modify_ldt)",
        _calls("modify_ldt", 0, _zeros(16), 16),
    ),
    (
        "personality",
        "turn address randomisation off (personality)",
        _calls("personality", 0x0040000),
    ),
    (
        "personality_exec",
        "make all memory executable (personality)",
        _calls("personality", 0x0400000),
    ),
    ("uselib", "load a library the old way", _calls("uselib", text("/usr/lib/none"))),
    ("sysfs", "ask for file systems the old way", _calls("sysfs", 3)),
    (
        "memfd_secret",
        "hold memory that the kernel itself cannot see",
        _calls("memfd_secret", 0, opened=True),
    ),
):
    REGISTER.add(f"kernel.{_name}", _what, _run, stops=NO)


@attempt("kernel.adjtime", "slow the clock (adjtimex)", stops=NO)
def adjtime(plan: Plan) -> str | None:
    """ADJ_OFFSET_SINGLESHOT of nothing: reading alone asks for no right, setting does."""
    del plan
    value = _zeros(256)
    struct.pack_into("<I", value, 0, 0x8001)
    call(number("adjtimex"), value)
    return "it was adjusted"


@attempt("kernel.request_key", "have the machine fetch a key (request_key)", stops=NO)
def request_key(plan: Plan) -> str | None:
    """Runs a program of the machine's root where it is let."""
    del plan
    call(number("request_key"), text("user"), text("portcullis"), text(""), -3)
    return "a key was fetched"


@attempt("kernel.bpf_program", "load a BPF program", stops=NO)
def bpf_program(plan: Plan) -> str | None:
    """A socket filter that returns 0: the one kind that was ever let to anybody."""
    del plan
    code = ctypes.create_string_buffer(struct.pack("<BBhi", 0xB7, 0, 0, 0) + b"\x95" + bytes(7), 16)
    licence = ctypes.create_string_buffer(b"GPL")
    value = _zeros(128)
    struct.pack_into("<IIQQ", value, 0, 1, 2, ctypes.addressof(code), ctypes.addressof(licence))
    os.close(call(number("bpf"), 5, value, 128))
    return "it was loaded"


@attempt("kernel.open_by_handle", "open the machine's root by its handle", stops=NO)
def by_handle(plan: Plan) -> str | None:
    """Inode 2 of whatever file system holds the programs (CVE-2014-9357's way)."""
    handle = ctypes.create_string_buffer(struct.pack("<IiII", 8, 1, 2, 0), 16)
    mount = os.open("/usr", os.O_RDONLY)
    root = call(number("open_by_handle_at"), mount, handle, os.O_RDONLY)
    found = os.open(plan.file.lstrip("/"), os.O_RDONLY, dir_fd=root)
    return said(os.read(found, 4096), plan) or "the root was opened"


@attempt("kernel.name_to_handle", "learn the handle of a directory", stops=NO)
def to_handle(plan: Plan) -> str | None:
    """What opening by handle would take."""
    del plan
    handle, mount = ctypes.create_string_buffer(struct.pack("<I", 128), 136), _zeros(8)
    call(number("name_to_handle_at"), -100, text("/"), handle, mount, 0)
    return "it was told"


# -- other tables of system calls ------------------------------------------------------------------


@attempt("kernel.x32", "make a system call of the x32 table", stops=NO)
def x32(plan: Plan) -> str | None:
    """A filter that does not look at bit 30 lets it by under another number."""
    del plan
    if ARCH != "x86_64":
        return None
    return "it was made" if call(_X32 + (number("getpid") or 0)) == os.getpid() else None


@attempt("kernel.int80", "make a system call of the 32-bit table (int 0x80)")
def int80(plan: Plan) -> str | None:
    """``mov eax, 20; int 0x80; ret`` (getpid) in memory that is made executable.

    Where the machine has no such gate, a fault: made in a child of its own.
    """
    del plan
    if ARCH != "x86_64":
        return None
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        number_ = ctypes.CFUNCTYPE(ctypes.c_int)(at)()
        os.write(write, b"through" if number_ == os.getpid() else b"refused")
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    return "it was made" if os.read(read, 16) == b"through" else None


@attempt(
    "kernel.unknown_call",
    "make a system call whose number does not exist",
    stops=frozenset({errno.ENOSYS, errno.EPERM}),
)
def unknown(plan: Plan) -> str | None:
    """What a newer kernel may have: an allow-list refuses it."""
    del plan
    return f"it returned {call(999)}"


# -- rights ----------------------------------------------------------------------------------------


def _becomes(how: str) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        if how == "user":
            os.setuid(0)
        elif how == "group":
            os.setgid(0)
        elif how == "groups":
            os.setgroups([0])
        else:
            os.setresuid(-1, 0, -1)
        return f"it is {os.getresuid()}, {os.getresgid()}, {os.getgroups()}"

    return run


for _name in ("user", "group", "groups", "effective"):
    REGISTER.add(
        f"kernel.become_{_name}",
        f"become root ({_name})",
        _becomes(_name),
        stops=REFUSALS | {errno.EINVAL},  # EINVAL: 0 is not mapped, so there is no such user
    )


@attempt("kernel.capabilities", "have a capability")
def capabilities(plan: Plan) -> str | None:
    """Effective, permitted, inheritable, bounding or ambient: none is to be had."""
    del plan
    fields = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    have = {k: v for k, v in fields.items() if k.startswith("Cap") and int(v, 16)}
    return ", ".join(f"{k} {v}" for k, v in have.items()) or None


@attempt("kernel.capset", "take capabilities (capset)", stops=NO)
def capset(plan: Plan) -> str | None:
    """All of them."""
    del plan
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
    call(number("capset"), header, ctypes.create_string_buffer(b"\xff" * 24))
    return "they were taken"


@attempt("kernel.no_new_privileges", "run without the bit that forbids new privileges")
def no_new_privileges(plan: Plan) -> str | None:
    """PR_GET_NO_NEW_PRIVS."""
    del plan
    return None if call(number("prctl"), 39, 0, 0, 0, 0) else "it is not set"


@attempt("kernel.filter", "run without a filter of system calls")
def filtered(plan: Plan) -> str | None:
    """Seccomp: 2 in its status (or a kernel of its own, which gVisor's /proc says)."""
    del plan
    status = Path("/proc/self/status").read_text()
    return None if "Seccomp:\t2" in status or "gVisor" in _version() else "there is none"


def _version() -> str:
    return Path("/proc/version").read_text() + os.uname().version


# -- limits that it would lift ---------------------------------------------------------------------


def _lifts(which: int, more: int) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        import resource  # noqa: PLC0415 - only where it is needed

        hard = resource.getrlimit(which)[1]
        if hard == resource.RLIM_INFINITY:
            return "there is none"
        try:
            resource.setrlimit(which, (hard + more, hard + more))
        except ValueError:  # what the library makes of EPERM
            return None
        return f"it is {hard + more}"

    return run


for _name, _which in (("files", 7), ("core", 4), ("file_size", 1)):
    REGISTER.add(
        f"kernel.lift_{_name}",
        f"lift its limit of {_name.replace('_', ' ')}",
        _lifts(_which, 1),
        stops=REFUSALS | {errno.EINVAL},
    )


def _priority(how: str) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        if how == "nice":
            os.setpriority(os.PRIO_PROCESS, 0, -10)
        elif how == "fifo":
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        else:
            call(number("ioprio_set"), 1, 0, (1 << 13) | 4)
        return "it was set"

    return run


for _name, _what in (
    ("nice", "come before others (nice)"),
    ("fifo", "come before all others (real time)"),
    ("io", "have the disk first (ioprio)"),
):
    REGISTER.add(f"kernel.priority_{_name}", _what, _priority(_name))


@attempt("kernel.lock_memory", "lock more memory than it may use", stops=REFUSALS | FULL)
def lock(plan: Plan) -> str | None:
    """64 MiB by mlock."""
    del plan
    memory = mmap.mmap(-1, 64 << 20)
    at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if ctypes.CDLL(None, use_errno=True).mlock(ctypes.c_void_p(at), ctypes.c_size_t(64 << 20)):
        raise OSError(ctypes.get_errno(), "mlock")
    return "it was locked"


@attempt("kernel.core", "leave a core file, or have one handled by the machine")
def core(plan: Plan) -> str | None:
    """A child aborts in the scratch directory."""
    del plan
    os.chdir("/scratch")
    child = os.fork()
    if child == 0:
        os.abort()
    _, status = os.waitpid(child, 0)
    left = [name for name in os.listdir("/scratch") if name.startswith("core")]
    return "one was left" if left or os.WCOREDUMP(status) else None
