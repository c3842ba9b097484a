"""If these fail, systemd refuses our units, or starts the gate with more than it needs.

No systemd runs here: its own `systemd-analyze` judges the units, and the gate is started as they
say in bubblewrap: a file system that is read-only but for the state, no capabilities, no new
privileges, the system calls of the filter, no memory that is both written and run.
"""

import contextlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from deployed import DEPLOY, ROOT
from effort import by_night
from needs import needs_boxes, needs_systemd
from portcullis.config import Limits
from portcullis.execution.sandbox.bpf import assemble
from portcullis.execution.sandbox.seccomp import ARCHITECTURES, numbers
from ports import free_port

FOLDER = DEPLOY / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
MOST, MOST_WITH_BOXES = 1.8, 3.9
"""The most exposure, of 10, that `systemd-analyze security` may find."""
PROGRAM = "/opt/portcullis/bin/portcullis"
_UNDER = """
import ctypes, os, sys
done = ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE: systemd's MemoryDenyWriteExecute
if done and ctypes.get_errno() not in (0, 22):
    raise SystemExit("no MDWE")
os.execv(sys.argv[1], sys.argv[1:])
"""


def sections(*texts):
    """What units say, later ones after earlier ones: section -> key -> values."""
    found, section = {}, ""
    for line in "\n".join(texts).splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(section, {}).setdefault(key, []).append(value)
    return found


def service(name, *more):
    return sections((FOLDER / name).read_text(), *more)["Service"]


def placed(folder):
    """The units in a folder, with a program that is there: `verify` looks."""
    for name in UNITS:
        text = (FOLDER / name).read_text().replace(PROGRAM, sys.executable)
        (folder / name).write_text(text)
    return [str(folder / name) for name in UNITS]


def analysed(*words):
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *words],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@needs_systemd
def test_systemd_takes_the_units_and_finds_little_to_expose(tmp_path):
    units = placed(tmp_path)
    judged = analysed("verify", "--man=no", *units)
    assert (judged.returncode, judged.stdout + judged.stderr) == (0, "")
    for unit in units:
        found = analysed("security", "--offline=true", f"--threshold={MOST * 10:.0f}", unit)
        assert found.returncode == 0, found.stdout.splitlines()[-1]
    folder = tmp_path / "portcullis.service.d"
    folder.mkdir()
    (folder / "boxes.conf").write_bytes((FOLDER / "boxes.conf").read_bytes())
    unit = str(tmp_path / "portcullis.service")
    assert analysed("verify", "--man=no", unit).stderr == ""
    most = f"--threshold={MOST_WITH_BOXES * 10:.0f}"
    assert analysed("security", "--offline=true", most, unit).returncode == 0
    (tmp_path / "portcullis.service").write_text("[Service]\nExecStart=/bin/true\n")
    assert analysed("security", "--offline=true", most, unit).returncode != 0, "it judges nothing"


def test_a_unit_that_stops_has_the_time_to_drain():
    for name in UNITS:
        said = service(name)
        assert float(said["TimeoutStopSec"][-1]) >= 2 * Limits().drain_seconds + 20
        assert said["KillMode"] == ["mixed"]
        (start,) = said["ExecStart"]
        assert start.startswith(f"{PROGRAM} ")
        assert "KillSignal" not in said, "SIGTERM drains"
        for place in said.get("EnvironmentFile", []):  # systemd reads it as root
            assert place.removeprefix("-").startswith("/etc/"), "where only root can put a link"


@needs_systemd
@needs_boxes
@by_night("it starts all of a gate")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="systemd names this machine's calls")
def test_the_gate_starts_and_drains_as_its_unit_says(tmp_path):
    said = service("portcullis.service")
    ports = {name: free_port() for name in ("gate", "mtls", "control")}
    listens = ", ".join(f'{name}: "127.0.0.1:{port}"' for name, port in ports.items())
    etc, state = tmp_path / "etc", tmp_path / "state"
    etc.mkdir()
    state.mkdir(mode=0o700)
    (etc / "portcullis.yaml").write_text(
        f"trust_domain: example.org\nstate: /var/lib/portcullis/state\nlisten: {{{listens}}}\n"
    )
    shutil.copytree(DEPLOY / "kubernetes/base/policy", etc / "policy")
    (start,) = said["ExecStart"]
    words = shlex.split(start.replace(PROGRAM, str(ROOT / ".venv/bin/portcullis")))
    box = (
        *("bwrap", "--die-with-parent", "--unshare-ipc", "--unshare-uts", "--cap-drop", "ALL"),
        *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"),
        *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
        *("--ro-bind", "/etc", "/etc", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),  # noqa: S108 - a private one
        *("--ro-bind", sys.base_prefix, sys.base_prefix, "--ro-bind", str(ROOT), str(ROOT)),
        *("--bind", str(state), "/var/lib/portcullis", "--ro-bind", str(etc), "/opt/portcullis"),
        *("--remount-ro", "/", "--chdir", "/var/lib/portcullis"),
    )
    words = [word.replace("/etc/portcullis/", "/opt/portcullis/") for word in words]
    with filtered(said["SystemCallFilter"]) as program:
        running = subprocess.Popen(
            [*box, "--seccomp", str(program), "--", sys.executable, "-c", _UNDER, *words],
            stdout=(tmp_path / "log").open("wb"), stderr=subprocess.STDOUT, pass_fds=[program],
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{ports['control']}/readyz"
        until = time.monotonic() + 60
        while not answers(url):
            assert running.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.1)
        (inner,) = children(running.pid)
        while not catches(inner, signal.SIGTERM):
            assert time.monotonic() < until, "it is ready and would not drain"
            time.sleep(0.05)
        os.kill(inner, signal.SIGTERM)
        assert running.wait(timeout=float(said["TimeoutStopSec"][-1])) == 0
    finally:
        running.kill()
        running.wait(timeout=10)
    assert (state / "state/ca").is_dir()


@needs_systemd
@needs_boxes
@pytest.mark.skipif(platform.machine() != "x86_64", reason="systemd names this machine's calls")
def test_the_filter_lets_a_box_be_made_only_where_it_was_asked_for():
    box = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--", "true"]
    for more, works in (("", False), ((FOLDER / "boxes.conf").read_text(), True)):
        said = service("portcullis.service", more)
        with filtered(said["SystemCallFilter"]) as program:
            done = subprocess.run(
                ["bwrap", "--bind", "/", "/", "--seccomp", str(program), "--", *box],
                pass_fds=[program], capture_output=True, text=True, check=False, timeout=30,
            )  # fmt: skip
        assert (done.returncode == 0) is works, done.stderr


def answers(url):
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - loopback
        return answer.status == 200
    return False


def children(pid):
    text = open(f"/proc/{pid}/task/{pid}/children", encoding="ascii").read()  # noqa: PTH123, SIM115
    return [int(one) for one in text.split()]


def catches(pid, number):
    """Whether a process has a handler for a signal."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:  # noqa: PTH123
        (mask,) = (line.split()[1] for line in file if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


@contextlib.contextmanager
def filtered(lines):
    """systemd's filter as a program for the kernel, in a pipe: what it does not allow is EPERM."""
    allowed = set()
    for line in lines:
        if not line:
            allowed.clear()
        elif line.startswith("~"):
            allowed -= calls(line[1:].split())
        else:
            allowed |= calls(line.split())
    machine = ARCHITECTURES["x86_64"]
    known = numbers("x86_64")
    rules = [(known[one], (), 1) for one in sorted(allowed) if one in known]
    made = assemble(machine.audit, rules, newest=max(known.values()), foreign=machine.foreign)
    read, write = os.pipe()
    try:
        os.write(write, made)
        os.close(write)
        yield read
    finally:
        os.close(read)


def calls(names):
    """The calls that names of systemd's stand for, groups in groups."""
    found = set()
    for name in names:
        if not name.startswith("@"):
            found.add(name)
            continue
        said = analysed("syscall-filter", name).stdout.splitlines()
        inner = {
            line.strip() for line in said[1:] if line.strip() and not line.strip().startswith("#")
        }
        found |= calls(sorted(inner))
    return found
