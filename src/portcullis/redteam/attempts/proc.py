"""What /proc and /sys show of the machine, or let one turn. Nothing is ever written there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from .kit import REFUSALS, REGISTER, Plan, Try, attempt, said


def _opens(path: str) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        os.close(os.open(path, os.O_WRONLY | os.O_NOCTTY))
        return "it was opened for writing"

    return run


for _path in (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/yama/ptrace_scope",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/fs/suid_dumpable",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sysrq-trigger",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/power/state",
    "/sys/class/net/lo/mtu",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/memory/release_agent",
    "/sys/fs/cgroup/notify_on_release",
):
    REGISTER.add(
        "proc.turn_" + _path.split("/", 2)[2].replace("/", "_").replace(".", "_"),
        f"open {_path} for writing",
        _opens(_path),
    )


def _reads(path: str, size: int = 4096) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            data = os.read(descriptor, size)
        finally:
            os.close(descriptor)
        return f"read {len(data)} bytes" if data.strip(b"\0") else None

    return run


for _path, _what in (
    ("/proc/kcore", "the kernel's memory"),
    ("/proc/kmsg", "the kernel's messages"),
    ("/proc/keys", "keys that it may see"),
    ("/proc/timer_list", "the kernel's timers"),
    ("/proc/sched_debug", "every process of the machine"),
    ("/proc/vmallocinfo", "where the kernel's memory is"),
    ("/proc/slabinfo", "what the kernel holds"),
    ("/proc/pagetypeinfo", "the kernel's pages"),
    ("/proc/1/pagemap", "physical pages of process 1"),
    ("/sys/firmware/dmi/tables/DMI", "the machine's firmware"),
    ("/sys/kernel/debug/sleep_time", "the kernel's debug files"),
    ("/sys/kernel/tracing/trace", "the kernel's trace"),
    ("/sys/kernel/security/lsm", "which security modules there are"),
):
    REGISTER.add(
        "proc.read_" + _path.split("/", 2)[2].replace("/", "_"),
        f"read {_what} ({_path})",
        _reads(_path),
        stops=REFUSALS | {errno.EAGAIN},
    )


@attempt("proc.kallsyms", "read addresses of the kernel's symbols")
def kallsyms(plan: Plan) -> str | None:
    """Zeros do not count."""
    del plan
    with Path("/proc/kallsyms").open(encoding="ascii") as lines:
        shown = any(int(line.split()[0], 16) for _, line in zip(range(500), lines, strict=False))
    return "addresses are shown" if shown else None


@attempt("proc.kernel_line", "read how the machine's kernel was started")
def kernel_line(plan: Plan) -> str | None:
    """It may hold secrets."""
    del plan
    return "it is shown" if Path("/proc/cmdline").read_bytes().strip() else None


@attempt("proc.init_environ", "read the environment with which process 1 was started")
def init_environ(plan: Plan) -> str | None:
    """Any variable but those that the box was given; PWD and HOME are where it stands in it."""
    names = _names(Path("/proc/1/environ").read_bytes())
    more = names - set(plan.environ) - {"PWD", "HOME"}
    return ", ".join(sorted(more)[:4]) or None


@attempt("proc.all_environs", "look for secrets in every process's environment")
def environs(plan: Plan) -> str | None:
    """The canary is in the launcher's."""
    for entry in _processes():
        try:
            data = Path(f"/proc/{entry}/environ").read_bytes()
        except OSError:
            continue
        if said(data, plan):
            return f"in that of process {entry}"
    return None


@attempt("proc.own_environ", "find a variable that nobody meant to give it")
def own_environ(plan: Plan) -> str | None:
    """What the shell or Python itself sets does not count."""
    more = set(os.environ) - set(plan.environ) - {"LC_CTYPE", "PWD", "SHLVL", "_", "HOME", "PATH"}
    return ", ".join(sorted(more)[:4]) or None


@attempt("proc.command_lines", "look for secrets in every process's arguments")
def command_lines(plan: Plan) -> str | None:
    """The launcher has the canary's file among its own."""
    for entry in _processes():
        try:
            data = Path(f"/proc/{entry}/cmdline").read_bytes()
        except OSError:
            continue
        if said(data, plan):
            return f"in those of process {entry}"
    return None


@attempt("proc.other_processes", "see a process that is not the box's")
def others(plan: Plan) -> str | None:
    """Every one that is shown must descend from process 1, which has no parent here."""
    del plan
    parents = {}
    for entry in _processes():
        try:
            stat = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        parents[entry] = int(stat.rpartition(")")[2].split()[1])
    strange = [
        entry for entry, parent in parents.items() if parent not in parents and parent not in {0, 1}
    ]
    threads = "kthreadd" in {_comm(entry) for entry in parents}
    return "the kernel's threads are shown" if threads else f"{strange}" if strange else None


@attempt("proc.init_descriptors", "open what process 1 has open")
def init_descriptors(plan: Plan) -> str | None:
    """Each descriptor of it that leads to something of the machine."""
    for name in os.listdir("/proc/1/fd"):
        try:
            descriptor = os.open(f"/proc/1/fd/{name}", os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            data = os.read(descriptor, 4096)
        except OSError:
            continue
        finally:
            os.close(descriptor)
        if said(data, plan):
            return f"descriptor {name}"
    return None


@attempt("proc.init_memory", "look for secrets in the memory of process 1")
def init_memory(plan: Plan) -> str | None:
    """Every mapping that can be read: the launcher's environment may have been copied there.

    Process 1 may be these attempts' own parent, which knows the canary: so the variable's name.
    """
    del plan
    seen, secret = 0, bytes(reversed(b"=YRANAC_EBORP_SILLUCTROP"))
    with Path("/proc/1/mem").open("rb", buffering=0) as memory:
        for line in Path("/proc/1/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if rights[0] != "r" or end - start > 1 << 24 or start >> 47:
                continue
            memory.seek(start)
            try:
                data = memory.read(end - start) or b""
            except OSError:  # not every mapping has pages
                continue
            seen += len(data)
            if secret in data:
                return f"at {start:#x}"
    return None if seen else "unclear"


@attempt("proc.map_files", "reach files by what processes have mapped")
def map_files(plan: Plan) -> str | None:
    """Of process 1: a name there opens the file past every path."""
    for name in os.listdir("/proc/1/map_files"):
        data = Path(f"/proc/1/map_files/{name}").read_bytes()
        if said(data, plan):
            return name
    return None


@attempt("proc.spare_me", "be spared when memory runs out (oom_score_adj)")
def spare(plan: Plan) -> str | None:
    """Set to what it is, less one."""
    del plan
    path = Path("/proc/self/oom_score_adj")
    path.write_text(f"{int(path.read_text()) - 1}\n")
    return "its own score was lowered"


@attempt("proc.sys_inside", "see the machine's devices in /sys")
def sys_inside(plan: Plan) -> str | None:
    """Block devices and network cards of the machine."""
    del plan
    found = [
        f"{top}/{name}"
        for top in ("/sys/block", "/sys/class/net", "/sys/bus/pci/devices")
        if Path(top).is_dir()
        for name in os.listdir(top)
        if name != "lo"
    ]
    return f"{len(found)} of them" if found else None


@attempt("proc.cgroup_tree", "see the machine's tree of control groups")
def cgroup_tree(plan: Plan) -> str | None:
    """A writable or foreign control group by the path that /proc names."""
    del plan
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for top in (f"/sys/fs/cgroup/{controllers}", "/sys/fs/cgroup"):
            target = Path(top + path) / "cgroup.procs"
            if target.exists() and os.access(target, os.W_OK):
                return str(target)
    return None


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _comm(entry: int) -> str:
    try:
        return Path(f"/proc/{entry}/comm").read_text().strip()
    except OSError:
        return ""


def _names(environ: bytes) -> set[str]:
    return {part.partition(b"=")[0].decode(errors="replace") for part in environ.split(b"\0")} - {
        ""
    }
