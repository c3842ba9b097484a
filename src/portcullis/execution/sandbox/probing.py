"""What this machine can enforce: a box is made, and what is in it says what it sees."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from portcullis.core.errors import Problem
from portcullis.core.sandbox import Ability, Hold, Order, Profile, Streams
from portcullis.execution.sandbox import apparmor, cgroups, making, seccomp
from portcullis.execution.sandbox.launch import Launched

_SECONDS: Final = 20.0
_LOOK: Final = """
cat /proc/self/status
echo "Here: $$ $(id -u) $(uname -n)"
echo "Interfaces: $(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' \\n')"
for one in user pid net ipc uts; do echo "Namespace-$one: $(readlink /proc/self/ns/$one)"; done
for one in / /tmp /scratch; do ( : > $one/.look ) 2>/dev/null && echo "Writes: $one"; done
while read -r _ place _ options _; do
    case "$place" in / | /usr) echo "Mounted$place: ${options%%,*}";; esac
done < /proc/self/mounts
: > /scratch/.look && chmod 600 /scratch/.look && chmod 4600 /scratch/.look 2>/dev/null
echo "List: $?"
df -P -k /tmp /scratch | tail -n +2 | while read -r _ size _ _ _ place; do
    echo "Size$place: $size"
done
( : < /dev/tty ) 2>/dev/null && echo "Terminal: yes"
echo "AppArmor: $(cat /proc/self/attr/apparmor/current 2> /dev/null)"
echo "Seen: $(ls -d /proc/[0-9]* | wc -l)"
"""
_NO_APPARMOR: Final = "AppArmor is not in this kernel, or our profile is not loaded"
_KERNEL: Final = (Hold.MEMORY, Hold.CPU, Hold.PIDS)


class Making(Protocol):
    """What a box's making returns to the probe."""

    @property
    def launched(self) -> Launched:
        """The process that stands for it."""

    @property
    def sweep(self) -> Callable[[], None]:
        """Takes away what else was made for it."""

    @property
    def group(self) -> cgroups.Group | None:
        """Its control group."""


def probe(
    adapter: str,
    program: str | None,
    tree: cgroups.Tree,
    make: Callable[[Order, Streams], Making],
    *,
    never: dict[Hold, str] | None = None,
    judge: Callable[[dict[str, str]], set[Hold]] | None = None,
) -> Ability:
    """Make a box with ``make`` and return what really held it. ``never`` is what it cannot do.

    ``judge`` says which holds are proven by what a box saw; ``held`` where there is none.
    """
    lacking: dict[Hold, str] = {Hold.INSTRUCTIONS: "its programs are not WebAssembly"}
    lacking |= never or {}
    if program is None:
        why = f"{adapter} is not installed"
        return Ability(adapter=adapter, version="", enforces=frozenset(),
                       lacking=dict.fromkeys(Hold, why))  # fmt: skip
    version = _version(program)
    if platform.machine() not in seccomp.ARCHITECTURES:
        why = f"there is no list of system calls for {platform.machine()}"
        return Ability(adapter=adapter, version=version, enforces=frozenset(),
                       lacking=dict.fromkeys(Hold, why))  # fmt: skip
    making.sweep()
    try:
        seen = look(make)
    except (Problem, OSError) as error:
        why = getattr(error, "detail", None) or str(error)
        return Ability(adapter=adapter, version=version, enforces=frozenset(),
                       lacking=dict.fromkeys(Hold, why))  # fmt: skip
    found = (judge or held)(seen)
    lacking |= dict(tree.lacking)
    lacking |= {} if Hold.KERNEL in found else {Hold.KERNEL: "it shares our kernel"}
    found |= {one for one in _KERNEL if one not in tree.lacking}
    lacking |= {} if Hold.APPARMOR in found else {Hold.APPARMOR: _NO_APPARMOR}
    for one in set(Hold) - found:
        lacking.setdefault(one, "a box that was made to see did not have it")
    return Ability(adapter=adapter, version=version, enforces=frozenset(found - lacking.keys()),
                   lacking=lacking)  # fmt: skip


def look(make: Callable[[Order, Streams], Making]) -> dict[str, str]:
    """What a strict box says about itself, by name."""
    read, write = os.pipe2(os.O_CLOEXEC)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    complaint = os.memfd_create("complaint", os.MFD_CLOEXEC)
    order = Order(
        title="probe",
        argv=("/bin/sh", "-c", _LOOK),
        profile=Profile(demands=frozenset()),
        environ={"PATH": "/usr/bin:/bin"},
    )
    try:
        made = make(order, Streams(stdin=nothing, stdout=write, stderr=complaint))
        os.close(write)
        write = -1
        try:
            with os.fdopen(read, "rb") as told:
                read = -1
                text = told.read(65536).decode("utf-8", "replace")
            made.launched.status.result(_SECONDS)
        finally:
            made.launched.kill()
            if made.group is not None:
                made.group.kill()
                made.group.remove()
            made.sweep()
    except Problem as problem:
        said = os.pread(complaint, 500, 0).decode("utf-8", "replace").strip()
        raise Problem(problem.code, said or problem.detail) from None
    finally:
        for one in (read, write, nothing, complaint):
            if one >= 0:
                os.close(one)
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    found: dict[str, str] = {}
    for key, _, value in pairs:
        found[key] = f"{found.get(key, '')} {value.strip()}".strip()
    return found


def held(seen: dict[str, str]) -> set[Hold]:
    """Which holds what a box saw proves."""
    profile = Profile()
    _, uid, host, *_ = (*seen.get("Here", "").split(), "", "", "")
    writes = seen.get("Writes", "").split()
    capabilities = {
        seen.get(f"Cap{one}", "?").strip("0") for one in ("Inh", "Prm", "Eff", "Bnd", "Amb")
    }
    # A filter may be that of a container around us. Ours refuses a set-user-id bit.
    listed = seen.get("Seccomp") == "2" and seen.get("List") == "1"
    apart = {one for one in ("user", "pid", "net", "ipc", "uts") if _apart(seen, one)}
    proven = {
        Hold.USER: uid == str(profile.uid) and "user" in apart,
        Hold.NO_NEW_PRIVILEGES: seen.get("NoNewPrivs") == "1",
        Hold.CAPABILITIES: capabilities == {""},
        Hold.PROCESSES: "pid" in apart and int(seen.get("Seen") or 99) < 12,  # noqa: PLR2004
        Hold.NETWORK: "net" in apart and seen.get("Interfaces") == "lo",
        Hold.IPC: "ipc" in apart,
        Hold.HOSTNAME: "uts" in apart and host == "sandbox",
        # A user that owns nothing there proves nothing by not writing.
        Hold.READ_ONLY_ROOT: "/" not in writes
        and {seen.get(f"Mounted{one}", "").split(" ")[-1] for one in ("/", "/usr")} == {"ro"},
        Hold.SYSCALLS: listed,
        Hold.TMP: "/tmp" in writes and _size(seen, "/tmp") == profile.tmp,  # noqa: S108
        Hold.SCRATCH: "/scratch" in writes and _size(seen, "/scratch") == profile.scratch,
        Hold.TERMINAL: "Terminal" not in seen and listed,
    }
    proven[Hold.APPARMOR] = seen.get("AppArmor", "").startswith(apparmor.PROFILE)
    return {hold for hold, yes in proven.items() if yes}


def _apart(seen: dict[str, str], name: str) -> bool:
    theirs = seen.get(f"Namespace-{name}", "")
    return bool(theirs) and theirs != str(Path("/proc/self/ns", name).readlink())


def _size(seen: dict[str, str], place: str) -> int:
    text = seen.get(f"Size{place}", "0")
    return int(text) * 1024 if text.isdigit() else 0


def _version(program: str) -> str:
    with subprocess.Popen(  # noqa: S603 - the program that was found
        (program, "--version"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={},
    ) as process:  # fmt: skip
        try:
            text, _ = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return ""
    return text.decode("utf-8", "replace").split("\n", 1)[0].split()[-1] if text.split() else ""
