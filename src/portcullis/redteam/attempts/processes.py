"""Other processes: signals, memory, tracing, terminals, and what processes share."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from .kit import MADE, REFUSALS, REGISTER, Plan, Try, attempt, call, said
from .numbers import number

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.shmat.restype = ctypes.c_void_p
_SHOWN = ctypes.create_string_buffer(b"portcullis", 16)
"""At the same address in a child and in its parent."""


def _checked(result: int) -> int:
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")
    return result


@attempt("processes.signal_launcher", "signal the process that launched the box")
def signal_launcher(plan: Plan) -> str | None:
    """Signal 0, by its number outside."""
    os.kill(plan.pid, 0)
    return "it could have been"


@attempt("processes.signal_neighbours", "signal processes around the launcher's")
def signal_neighbours(plan: Plan) -> str | None:
    """Signal 0 to numbers near it, none of which exists here."""
    for near in range(max(plan.pid - 200, 2), plan.pid + 200):
        try:
            os.kill(near, 0)
        except OSError:
            continue
        if near > os.getpid() + 1000:
            return f"process {near}"
    return None


@attempt("processes.descriptor_of_init", "take a descriptor of process 1 (pidfd_getfd)")
def pidfd_getfd(plan: Plan) -> str | None:
    """Its first."""
    del plan
    descriptor = call(number("pidfd_open"), 1, 0)
    os.close(call(number("pidfd_getfd"), descriptor, 0, 0))
    return "it was taken"


@attempt("processes.compare", "compare what two processes share (kcmp)")
def kcmp(plan: Plan) -> str | None:
    """Kernel addresses in disguise."""
    del plan
    return f"it returned {call(number('kcmp'), os.getpid(), os.getppid(), 1, 0, 0)}"


@attempt("processes.trace_child", "trace a child (ptrace)")
def trace_child(plan: Plan) -> str | None:
    """PTRACE_TRACEME: a tracer may change its system calls behind a filter on old kernels."""
    del plan
    call(number("ptrace"), 0, 0, 0, 0)
    return "it is traced"


@attempt("processes.trace_init", "trace process 1 (PTRACE_SEIZE)")
def trace_init(plan: Plan) -> str | None:
    """Detached by our end."""
    del plan
    call(number("ptrace"), 0x4206, 1, 0, 0)
    return "it is traced"


def _vm(name: str) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        vector = ctypes.create_string_buffer(struct.pack("<QQ", ctypes.addressof(_SHOWN), 8))
        return f"{call(number(name), os.getppid(), vector, 1, vector, 1, 0)} bytes"

    return run


REGISTER.add("processes.read_memory", "read another process's memory", _vm("process_vm_readv"))
REGISTER.add("processes.write_memory", "write another process's memory", _vm("process_vm_writev"))


@attempt("processes.limit_init", "change the limits of process 1 (prlimit)")
def limit_init(plan: Plan) -> str | None:
    """To none that counts."""
    del plan
    import resource  # noqa: PLC0415 - only where it is needed

    resource.prlimit(1, resource.RLIMIT_NOFILE, (16, 16))
    return "they were changed" if Path("/proc/1").stat().st_uid != os.getuid() else None


# -- terminals -------------------------------------------------------------------------------------


def _types(request: int) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        master, slave = os.openpty()
        child = os.fork()
        if child == 0:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            try:
                for byte in b"id\n":
                    one = ctypes.create_string_buffer(bytes([byte]), 1)
                    call(number("ioctl"), slave, request, one)
            except OSError as error:
                os._exit(error.errno or 1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        os.close(master)
        if code := os.waitstatus_to_exitcode(status):
            raise OSError(code, "refused")
        return "it was typed"

    return run


_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_HELD = REFUSALS | {errno.EIO, errno.ENOTTY}
"""It is a terminal, so ENOTTY is a filter's; EIO is the kernel's where nobody may type so."""
for _name, _what, _request in (
    ("type", "type a command into its terminal (TIOCSTI)", _TIOCSTI),
    ("type_high", "the same with the request's high half set", (1 << 32) | _TIOCSTI),
    ("type_sign", "the same with all bits of the high half set", -(1 << 32) | _TIOCSTI),
):
    REGISTER.add(f"terminals.{_name}", _what, _types(_request), stops=_HELD)


@attempt("terminals.paste", "paste into a console (TIOCLINUX)")
def paste(plan: Plan) -> str | None:
    """Where there is a console; a terminal of its own would refuse it anyway."""
    del plan
    for path in ("/dev/tty0", "/dev/tty1", "/dev/console"):
        try:
            console = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            continue
        call(number("ioctl"), console, _TIOCLINUX, ctypes.create_string_buffer(b"\x03", 1))
        return f"into {path}"
    return None


@attempt("terminals.launcher", "open the launcher's terminal (/dev/tty)")
def launcher_terminal(plan: Plan) -> str | None:
    """There is none to open."""
    del plan
    os.close(os.open("/dev/tty", os.O_RDWR))
    return "it was opened"


@attempt("terminals.others", "open terminals of other sessions (/dev/pts)")
def other_terminals(plan: Plan) -> str | None:
    """Those that are there before it makes its own."""
    del plan
    for entry in os.scandir("/dev/pts"):
        if entry.name == "ptmx":
            continue
        try:
            os.close(os.open(entry.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
        except OSError:
            continue
        return entry.path
    return None


@attempt("terminals.streams", "reach a terminal by its standard streams")
def streams(plan: Plan) -> str | None:
    """A box whose streams are pipes has none."""
    del plan
    return next((f"stream {n} is one" for n in range(3) if os.isatty(n)), None)


@attempt("terminals.session", "be in the session of who launched it")
def session(plan: Plan) -> str | None:
    """Session 0 stands for one outside of what it sees."""
    del plan
    return "its session's leader is outside" if os.getsid(os.getppid()) == 0 else None


# -- what processes share --------------------------------------------------------------------------


@attempt("shared.memory", "read the machine's shared memory (System V)")
def shared_memory(plan: Plan) -> str | None:
    """By its key."""
    at = _checked(_LIBC.shmget(plan.shm, 0, 0))
    address = _LIBC.shmat(at, None, 0o10000)
    if address in {None, ctypes.c_void_p(-1).value}:
        raise OSError(ctypes.get_errno(), "refused")
    return said(ctypes.string_at(address, 128), plan)


@attempt("shared.queue", "open the machine's message queues (System V)")
def shared_queue(plan: Plan) -> str | None:
    """By its key; no message is taken."""
    _checked(_LIBC.msgget(plan.queue, 0))
    return "it was opened"


@attempt("shared.listed", "list the machine's shared objects")
def listed(plan: Plan) -> str | None:
    """/proc/sysvipc."""
    del plan
    counts = {
        name: len(Path(f"/proc/sysvipc/{name}").read_text().splitlines()) - 1
        for name in ("shm", "msg", "sem")
    }
    return f"{counts}" if any(counts.values()) else None


@attempt("shared.posix", "read what other processes left in /dev/shm")
def posix(plan: Plan) -> str | None:
    """Anything at all."""
    del plan
    found = os.listdir("/dev/shm")
    return f"{len(found)} names" if found else None


@attempt("shared.temporary", "read what others left in /tmp")
def temporary(plan: Plan) -> str | None:
    """Anything at all."""
    del plan
    found = os.listdir("/tmp")
    return f"{len(found)} names" if found else None


@attempt("shared.abstract", "speak to an abstract Unix socket of the machine")
def abstract(plan: Plan) -> str | None:
    """Connected by its name."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(2)
        one.connect(b"\0" + plan.abstract.encode())
        return said(one.recv(256), plan)


@attempt("shared.unix", "speak to a Unix socket of the machine")
def unix(plan: Plan) -> str | None:
    """Connected by its path."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(2)
        one.connect(plan.unix)
        return said(one.recv(256), plan)


@attempt("shared.any_socket", "find a socket in the file tree that leads anywhere")
def any_socket(plan: Plan) -> str | None:
    """All but those that were put there for it."""
    for top, folders, names in os.walk("/"):
        if top in {"/proc", "/sys", "/usr"}:
            folders.clear()
            continue
        for name in names:
            path = f"{top}/{name}".replace("//", "/")
            try:
                found = stat.S_ISSOCK(os.lstat(path).st_mode)
            except OSError:
                continue
            if found and path not in plan.sockets and _answers(path):
                return path
    return None


def _answers(path: str) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as one:
            one.settimeout(1)
            try:
                one.connect(path)
            except OSError:
                continue
            return True
    return False


_LISTED = (
    "/run/dbus/system_bus_socket",
    "/run/systemd/private",
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/snapd.socket",
    "/dev/log",
)


@attempt("shared.daemons", "speak to a daemon of the machine (D-Bus, Docker, the journal)")
def daemons(plan: Plan) -> str | None:
    """By their usual paths."""
    del plan
    return next((path for path in _LISTED if Path(path).exists() and _answers(path)), None)


# -- descriptors -----------------------------------------------------------------------------------


def _open_now() -> dict[int, str]:
    found = {}
    for number_ in range(3, 4096):
        try:
            os.fstat(number_)
        except OSError:
            continue
        found[number_] = os.readlink(f"/proc/self/fd/{number_}")
    return found


@attempt("descriptors.inherited", "use a descriptor that nobody meant to give it")
def inherited(plan: Plan) -> str | None:
    """In a program that it starts anew: whatever is open beyond the standard streams."""
    del plan
    script = (
        "import os\n"
        "for n in range(3, 4096):\n"
        "    try: os.fstat(n)\n"
        "    except OSError: continue\n"
        "    print(n)\n"
    )
    before = set(_open_now())
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-I", "-S", "-c", script],
        capture_output=True,
        timeout=4,
        check=False,
        close_fds=False,
    )
    kept = {int(line) for line in done.stdout.split()} & before
    return f"descriptors {sorted(kept)}" if kept else None


@attempt("descriptors.own", "find one that leads out of the box")
def own(plan: Plan) -> str | None:
    """All that the attempt itself has open, but its own pipe."""
    strange = {n: to for n, to in _open_now().items() if not to.startswith("pipe:")}
    return f"{strange}" if any(said(to.encode(), plan) or to for to in strange.values()) else None


@attempt("descriptors.streams_write", "write what it was given to read, and read what to write")
def reopened(plan: Plan) -> str | None:
    """By opening its streams anew under /proc; a pipe's other end is the launcher's own."""
    del plan
    for number_, mode in ((0, os.O_RDWR), (1, os.O_RDWR), (2, os.O_RDWR)):
        if not stat.S_ISREG(os.fstat(number_).st_mode):
            continue
        try:
            os.close(os.open(f"/proc/self/fd/{number_}", mode))
        except OSError:
            continue
        return f"stream {number_} is a file of the machine"
    return None


@attempt("processes.outlive", "outlive its box", alone=True)
def outlive(plan: Plan) -> str | None:
    """A process in a session of its own that heeds no signal; the launcher looks for it after."""
    del plan
    if os.fork() == 0:
        os.setsid()
        for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if each < signal.SIGRTMIN:
                signal.signal(each, signal.SIG_IGN)
        if os.fork() == 0:
            time.sleep(30)
        os._exit(0)
    return MADE
