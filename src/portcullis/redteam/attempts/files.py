"""Files of the machine: reading, writing, links, and programs that would run as somebody else."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import time
from pathlib import Path

from .kit import REFUSALS, REGISTER, Plan, Try, attempt, said

_OURS = ("/tmp", "/scratch", "/dev/shm")
_NAME = "portcullis-escape"


def _reads(path: str) -> Try:
    def run(plan: Plan) -> str | None:
        data = Path(path.replace("FILE", plan.file)).read_bytes()
        return said(data, plan) if "FILE" in path else f"read {len(data)} bytes"

    return run


for _name, _path, _what in (
    ("shadow", "/etc/shadow", "the machine's passwords"),
    ("canary", "FILE", "a file of the machine by its path"),
    ("dotdot", "/usr/../../../FILE", "the same past the root"),
    ("init_root", "/proc/1/root/FILE", "the same under the root of process 1"),
    ("init_cwd", "/proc/1/cwd/../../../../FILE", "the same from where process 1 is"),
    ("self_root", "/proc/self/root/../../FILE", "the same under its own root"),
    ("thread_root", "/proc/thread-self/root/FILE", "the same under its thread's root"),
    ("ssh", "/root/.ssh/authorized_keys", "root's keys"),
    ("sudoers", "/etc/sudoers", "who may become root"),
    ("machine_id", "/etc/machine-id", "the machine's identity"),
    ("account_token", "/var/run/secrets/kubernetes.io/serviceaccount/token", "a cluster's token"),
):
    REGISTER.add(f"files.read_{_name}", f"read {_what}", _reads(_path))


@attempt("files.homes", "list the homes of the machine's users")
def homes(plan: Plan) -> str | None:
    """Names in /root, /home and below."""
    del plan
    found = [e for top in ("/root", "/home") if Path(top).is_dir() for e in os.listdir(top)]
    return f"{len(found)} names" if found else None


def _creates(folder: str) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        path = Path(folder) / _NAME
        path.touch()
        path.unlink()
        return f"a file was made in {folder}"

    return run


for _folder in ("/", "/etc", "/usr/bin", "/usr/lib", "/var", "/probe", "/proc", "/sys", "/run"):
    REGISTER.add(
        f"files.write_{_folder.strip('/').replace('/', '_') or 'root'}",
        f"make a file in {_folder}",
        _creates(_folder),
    )


@attempt("files.write_anywhere", "make a file in any mounted place but the box's own")
def anywhere(plan: Plan) -> str | None:
    """Each mount point and each directory right below the root."""
    places = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    places |= {f"/{name}" for name in os.listdir("/")}
    for place in sorted(places):
        if place.startswith((*_OURS, *plan.writable, "/proc")) or not Path(place).is_dir():
            continue
        path = Path(place) / _NAME
        try:
            path.touch()
        except OSError as error:
            if error.errno in REFUSALS:
                continue
            raise
        path.unlink()
        return f"a file was made in {place}"
    return None


@attempt("files.chmod_program", "make a program of the machine writable")
def chmod(plan: Plan) -> str | None:
    """The same mode is set again: no harm when it is let."""
    del plan
    path = Path("/usr/bin/env").resolve()
    path.chmod(stat.S_IMODE(path.stat().st_mode))
    return "its mode was set"


@attempt(
    "files.open_program",
    "open a program of the machine for writing",
    stops=REFUSALS | {errno.ETXTBSY},
)
def open_program(plan: Plan) -> str | None:
    """Opened, never written."""
    del plan
    os.close(os.open("/usr/bin/env", os.O_WRONLY))
    return "it was opened"


@attempt("files.touch_program", "change the times of a program of the machine")
def touch(plan: Plan) -> str | None:
    """To what they are."""
    del plan
    was = Path("/usr/bin/env").stat()
    os.utime("/usr/bin/env", ns=(was.st_atime_ns, was.st_mtime_ns))
    return "they were set"


@attempt("files.xattr", "set an attribute on a file of the machine")
def xattr(plan: Plan) -> str | None:
    """A user attribute, removed again."""
    del plan
    os.setxattr("/usr/bin/env", "user.portcullis", b"1")
    os.removexattr("/usr/bin/env", "user.portcullis")
    return "it was set"


def _links(source: str) -> Try:
    def run(plan: Plan) -> str | None:
        path = Path("/scratch/hard")
        os.link(source.replace("FILE", plan.file), path)
        path.unlink()
        return "it was linked"

    return run


REGISTER.add("files.link_program", "make a hard link to a program", _links("/usr/bin/env"))
REGISTER.add("files.link_canary", "make a hard link to a file of the machine", _links("FILE"))
REGISTER.add(
    "files.link_mounted", "make a hard link to what is mounted read-only", _links("/probe/marker")
)


@attempt("files.rename_mounted", "replace what is mounted read-only")
def rename(plan: Plan) -> str | None:
    """By a rename within its directory."""
    del plan
    os.rename("/probe/marker", "/probe/marker.new")
    return "it was renamed"


@attempt("files.unlink_mounted", "delete what is mounted read-only", stops=REFUSALS | {errno.EBUSY})
def unlink(plan: Plan) -> str | None:
    """The marker, which stands in the probe's own folder."""
    del plan
    Path("/probe/marker").unlink()
    return "it was deleted"


@attempt(
    "files.setuid_program", "become somebody else by a program that is set-user-ID", alone=True
)
def setuid(plan: Plan) -> str | None:
    """Each one that is there is started, and its user looked at."""
    del plan
    for folder in ("/usr/bin", "/usr/sbin", "/usr/lib/openssh", "/usr/lib/dbus-1.0"):
        for entry in os.scandir(folder) if Path(folder).is_dir() else ():
            if not entry.is_file() or not entry.stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
                continue
            who = _users_of(entry.path)
            if who is not None and (who[0] != os.getuid() or who[1] != os.getgid()):
                return f"{entry.name} runs as {who[0]}:{who[1]}"
    return None


def _users_of(program: str) -> tuple[int, int] | None:
    """The effective ids of a program shortly after its start."""
    try:
        process = subprocess.Popen(  # noqa: S603 - started to see as whom
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None
    with process:
        try:
            time.sleep(0.03)
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        finally:
            process.kill()
    ids = {line.split()[0]: int(line.split()[2]) for line in lines if line[:4] in {"Uid:", "Gid:"}}
    return (ids["Uid:"], ids["Gid:"]) if len(ids) == len(("uid", "gid")) else None


@attempt("files.make_setuid", "leave a set-user-ID file in a directory of the machine")
def make_setuid(plan: Plan) -> str | None:
    """In each directory that is mounted writable, if its mount honours the bit."""
    for place in plan.writable:
        path = Path(place) / "suid"
        path.touch()
        path.chmod(0o4755)
        honoured = not os.statvfs(place).f_flag & os.ST_NOSUID
        kept = path.stat().st_mode & stat.S_ISUID and path.stat().st_uid != os.getuid()
        path.unlink()
        if honoured and kept:
            return f"{place} keeps it"
    return None


@attempt("files.open_deleted", "reach the machine's root by an open directory of a descriptor")
def descriptors_up(plan: Plan) -> str | None:
    """Climb from every inherited descriptor that is a directory."""
    for number in range(3, 64):
        try:
            up = os.open("../../../../../../.." + plan.file, os.O_RDONLY, dir_fd=number)
        except OSError:
            continue
        with os.fdopen(up, "rb") as found:
            if said(found.read(4096), plan):
                return f"by descriptor {number}"
    return None
