"""Real processes, identified by the kernel."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from portcullis.core.errors import Problem
from portcullis.identity.attest import unix
from portcullis.identity.attest.unix import Digests, Process

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change user or mounts")

CONNECT = """
import os, socket, sys, time
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.set_inheritable(True)
print("connected", flush=True)
sys.stdin.readline()
"""
SLEEP = shutil.which("sleep")


@pytest.fixture
def listener(tmp_path):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        listening.settimeout(20)
        yield listening


@contextlib.contextmanager
def caller(listener, then="", command=(sys.executable,), **environment):
    """A process that connects, and does ``then`` once it gets a line; with its identification."""
    program = subprocess.Popen(
        [*command, "-c", CONNECT + then, listener.getsockname()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
        text=True,
    )
    with program:
        connection, _ = listener.accept()
        process = Process(connection)
        try:
            yield process, program
        finally:
            process.close()
            connection.close()
            program.kill()


def go(program):
    program.stdin.write("go\n")
    program.stdin.flush()


def attest(process, *, hashed=True):
    return process.attest(Digests(), lambda found: hashed)


def test_a_process_is_known_by_user_groups_executable_hash_and_cgroup(listener):
    executable = Path(sys.executable).resolve()
    with caller(listener) as (process, program):
        selectors = attest(process)
        assert process.source == f"uid:{os.geteuid()} pid:{program.pid} exe:{executable}"
    digest = hashlib.sha256(executable.read_bytes()).hexdigest()
    assert selectors >= {
        f"unix:uid:{os.geteuid()}",
        f"unix:gid:{os.getegid()}",
        *(f"unix:gid:{group}" for group in os.getgroups()),
        f"unix:path:{executable}",
        f"unix:sha256:{digest}",
    }
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    assert {s for s in selectors if s.startswith("unix:cgroup:")} == {
        f"unix:cgroup:{line.split(':', 2)[2]}" for line in lines
    }


def test_an_executable_is_not_read_when_no_entry_asks_for_its_hash(listener):
    with caller(listener) as (process, _):
        selectors = attest(process, hashed=False)
    assert not any(selector.startswith("unix:sha256:") for selector in selectors)


def test_a_process_that_has_ended_is_nobody(listener):
    with caller(listener) as (process, program):
        program.kill()
        program.wait()
        assert not process.alive()
        with pytest.raises(Problem) as refused:
            attest(process)
    assert refused.value.code == "PC2060"


def test_a_process_that_became_another_program_is_nobody(listener):
    then = f"os.execv({SLEEP!r}, ['sleep', '30'])"
    with caller(listener, then) as (process, program):
        attest(process)
        go(program)
        while Path(f"/proc/{program.pid}/exe").resolve() != Path(SLEEP).resolve():
            time.sleep(0.01)
        assert process.alive()
        with pytest.raises(Problem) as refused:
            attest(process)
    assert refused.value.code == "PC2060"


@needs_root
@pytest.mark.parametrize("change", ["os.setgid(65534)", "os.setuid(65534)"])
def test_a_process_that_changed_user_or_group_is_nobody(listener, change):
    with caller(listener, f"{change}; print('changed', flush=True); time.sleep(30)") as found:
        process, program = found
        attest(process)
        go(program)
        assert [program.stdout.readline() for _ in range(2)][1] == "changed\n"
        with pytest.raises(Problem) as refused:
            attest(process)
    assert refused.value.code == "PC2060"


def test_a_process_with_another_start_time_is_nobody(listener):
    with caller(listener) as (process, _):
        started, executable = process._first
        process._first = (str(int(started) + 1), executable)
        with pytest.raises(Problem) as refused:
            attest(process)
    assert refused.value.code == "PC2060"


def test_a_name_made_to_look_like_numbers_does_not_shift_the_start_time(listener, tmp_path):
    program = tmp_path / "a) 1 2 (b"
    program.symlink_to(sys.executable)
    with caller(listener, command=(str(program),)) as (process, _):
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        assert process._first[0] == fields[19]
        attest(process)


def test_a_deleted_or_replaced_executable_has_no_path_but_still_its_hash(listener, tmp_path):
    copy = tmp_path / "python"
    shutil.copy(Path(sys.executable).resolve(), copy)
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    with caller(listener, command=(str(copy),), PYTHONHOME=sys.base_prefix) as (process, _):
        assert f"unix:path:{copy}" in attest(process)
        copy.unlink()
        deleted = attest(process)
        copy.write_bytes(b"another")
        replaced = attest(process)
    for selectors in (deleted, replaced):
        assert not any(selector.startswith("unix:path:") for selector in selectors)
        assert f"unix:sha256:{digest}" in selectors
    assert process.source.endswith("exe:?")


@needs_root
def test_a_path_that_is_only_the_callers_own_view_of_the_disk_is_none(listener, tmp_path):
    """A user may mount what he likes where he likes, in a namespace of his own."""
    good, evil = tmp_path / "good", tmp_path / "evil"
    for place in (good, evil):
        place.mkdir()
        shutil.copy(Path(sys.executable).resolve(), place / "agent")
    mount = f'mount --bind {evil} {good} && exec {good}/agent "$@"'
    command = ("unshare", "--mount", "sh", "-c", mount, "sh")
    with caller(listener, command=command, PYTHONHOME=sys.base_prefix) as (process, _):
        assert str(Path(f"/proc/{process.pid}/exe").readlink()) == f"{good}/agent"
        selectors = attest(process)
    assert not any(selector.startswith("unix:path:") for selector in selectors)


def test_what_proc_does_not_show_yields_no_selector(listener, monkeypatch):
    with caller(listener) as (process, _):
        real = os.open

        def hidden(path, flags, **options):
            if path in {"exe", "cgroup"}:
                raise PermissionError
            return real(path, flags, **options)

        monkeypatch.setattr(unix.os, "open", hidden)
        selectors = attest(process)
    assert all(selector.startswith(("unix:uid:", "unix:gid:")) for selector in selectors)


def test_without_a_pidfd_from_the_socket_the_process_is_pinned_by_its_number(listener, monkeypatch):
    monkeypatch.setattr(unix, "_SO_PEERPIDFD", 9999)
    with caller(listener) as (process, program):
        assert attest(process)
        program.kill()
        program.wait()
        assert not process.alive()


def test_a_handle_is_not_closed_under_a_look_in_progress(listener):
    """Its number might by then be another process's handle."""
    with caller(listener) as (process, _):
        looking, going_on = threading.Event(), threading.Event()
        found = []

        def hashed(selectors):
            looking.set()
            going_on.wait(10)
            return False

        look = threading.Thread(target=lambda: found.append(process.attest(Digests(), hashed)))
        look.start()
        looking.wait(10)
        process.close()
        os.fstat(process.pidfd)
        going_on.set()
        look.join(10)
        assert f"unix:uid:{os.geteuid()}" in found[0]
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(process.pidfd)
        assert not process.alive()


def test_a_hash_is_remembered_and_forgotten_when_the_file_changes(tmp_path, monkeypatch):
    program = tmp_path / "program"
    program.write_bytes(b"one")
    digests, reads = Digests(), []
    real = os.pread
    monkeypatch.setattr(unix.os, "pread", lambda *args: reads.append(1) or real(*args))
    with program.open("r+b") as file:
        first = digests.of(file.fileno())
        count = len(reads)
        assert digests.of(file.fileno()) == first == hashlib.sha256(b"one").hexdigest()
        assert len(reads) == count
        file.write(b"two")
        file.flush()
        assert digests.of(file.fileno()) == hashlib.sha256(b"two").hexdigest()


def test_too_large_an_executable_has_no_hash(tmp_path, monkeypatch):
    monkeypatch.setattr(unix, "MAX_EXECUTABLE", 2)
    program = tmp_path / "program"
    program.write_bytes(b"one")
    with program.open("rb") as file:
        assert Digests().of(file.fileno()) is None
