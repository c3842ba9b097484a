"""What every kind of box promises; each adapter of this machine runs it."""

import asyncio
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from contract.sandbox.groups import groups, places
from portcullis.core.errors import Problem
from portcullis.core.sandbox import (
    STRICT,
    Ending,
    Hold,
    Mount,
    Network,
    Order,
    Profile,
    Streams,
)

pytestmark = pytest.mark.anyio


def running(pattern: str) -> str:
    """The processes of this machine whose command lines match."""
    seek = ["pgrep", "-f", pattern]
    return subprocess.run(seek, check=False, capture_output=True, text=True, timeout=10).stdout


def first_port() -> str:
    """The lowest that an ordinary user of this machine may listen at."""
    return Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()


def nothing() -> Streams:
    descriptor = os.open(os.devnull, os.O_RDWR)
    return Streams(stdin=descriptor, stdout=descriptor, stderr=descriptor)


async def started(sandbox, *argv, **changes):
    """A box that runs ``argv``; ``changes`` are the order's."""
    streams = nothing()
    try:
        order = {"title": "test", "argv": argv, "profile": Profile(), "environ": {}} | changes
        return await sandbox.start(Order(**order), streams)
    finally:
        os.close(streams.stdin)


async def refused(sandbox, *argv, **changes) -> Problem:
    with pytest.raises(Problem) as caught:
        await started(sandbox, *argv, **changes)
    return caught.value


async def test_it_holds_all_that_strict_demands(sandbox):
    ability = sandbox.probe()
    assert ability.adapter == sandbox.name
    assert not {hold: ability.lacking.get(hold) for hold in STRICT - ability.enforces}
    assert (Hold.KERNEL in ability.lacking) == (sandbox.name != "runsc")


async def test_streams_status_and_a_clean_environment_go_through(inside):
    ran = await inside("cat; env; echo bad >&2; exit 7", stdin=b"in\n", environ={"A": "1"})
    assert (ran.ended.why, ran.ended.status) == (Ending.EXITED, 7)
    names = {line.partition("=")[0] for line in ran.out.splitlines()[1:]}
    assert ran.out.startswith("in\n")
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"A"}
    assert ran.err == "bad\n"


async def test_a_program_that_is_not_there_and_a_signal_look_as_in_a_shell(inside):
    assert (await inside(["nowhere"])).ended.status == 127
    ran = await inside("kill -TERM $$")
    assert (ran.ended.why, ran.ended.status) == (Ending.SIGNALLED, 143)


async def test_it_sees_nothing_of_ours(inside, monkeypatch):
    monkeypatch.setenv("PLANTED", "planted-in-our-environment")
    leak = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leak, True)  # noqa: FBT003 - the standard library's signature
    try:
        ran = await inside(
            # Not ls: the one of Debian 12 asks what the Sentry of Debian 12 does not know.
            "echo /proc/self/fd/* | wc -w; cat /proc/*/environ | tr '\\0' '\\n'; for one in /root"
            " /home /work /etc/shadow; do [ -e $one ] || echo none; done; id -u; echo /*;"
            " echo /proc/[0-9]* | wc -w"
        )
    finally:
        os.close(leak)
    lines = ran.out.splitlines()
    assert lines[0] == "4"  # 0, 1, 2 and the directory itself
    assert "planted" not in ran.out
    assert "65534" in lines
    assert lines.count("none") == 4
    assert int(lines[-1]) <= 8


async def test_the_root_is_read_only_and_what_can_be_written_is_bounded(inside):
    ran = await inside(
        "for one in / /usr /etc /dev /proc/sys/kernel/hostname; do"
        " ( : > $one/x ) 2>/dev/null && echo wrote $one; done;"
        " head -c 3000000 /dev/zero > /tmp/a; head -c 3000000 /dev/zero > /scratch/a;"
        " head -c 2000000 /dev/zero > /dev/shm/a; wc -c /tmp/a /scratch/a /dev/shm/a",
        tmp=2**20,
        scratch=2 * 2**20,
    )
    assert "wrote" not in ran.out
    sizes = [int(line.split()[0]) for line in ran.out.splitlines()[-4:-1]]
    assert sizes == [2**20, 2 * 2**20, 2**20]


async def test_it_has_a_loopback_of_its_own_and_no_other_interface(inside, sandbox):
    ran = await inside(
        ["/usr/bin/python3", "-c", textwrap.dedent("""
            import socket
            inside = socket.create_server(("127.0.0.1", 0))
            socket.create_connection(inside.getsockname(), 2)
            print("loopback")
            for address in (("10.0.0.1", 80), ("169.254.169.254", 80)):
                try:
                    socket.create_connection(address, 2)
                    print("reached")
                except OSError as error:
                    print(error.errno)
            for kind in ((socket.AF_NETLINK, 3, 0), (socket.AF_INET, 3, 1), (40, 1, 0),
                         (socket.AF_INET, 1, 262)):
                try:
                    socket.socket(*kind)
                    print("made")
                except OSError:
                    print("refused")
        """)]
    )  # fmt: skip
    none = "113" if sandbox.name == "runsc" else "101"  # no route, or no network to route to
    assert ran.out.split() == ["loopback", *[none] * 2, *["refused"] * 4], ran.err


async def test_a_box_that_leads_to_the_gate_can_have_a_resolver_and_the_machine_is_left_alone(
    inside,
):
    before = first_port()
    listen = """
        import socket
        socket.create_server(("127.0.0.1", 53))
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("127.0.0.1", 53))
        print(open("/etc/resolv.conf").read())
    """
    ran = await inside(
        ["/usr/bin/python3", "-c", textwrap.dedent(listen)], name="led", network=Network.GATE
    )
    assert ran.out.startswith("nameserver 127.0.0.1\n"), ran.err
    assert first_port() == before


async def test_memory_processors_and_processes_are_bounded(inside, sandbox):
    hog = ["/usr/bin/python3", "-c", "x = bytearray(200 * 2**20); print('had it')"]
    ran = await inside(hog, memory=64 * 2**20)
    assert (ran.ended.why, ran.ended.status, ran.out) == (Ending.MEMORY, 137, "")
    ran = await inside("n=0; while [ $n -lt 40 ]; do sleep 5 & n=$((n+1)); done; echo all", pids=24)
    assert "all" not in ran.out
    assert "fork" in ran.err
    begun = time.monotonic()
    ran = await inside(
        "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; cat /proc/self/stat; times", cpu=0.2
    )
    used = ran.out.splitlines()[-2].split()[0].removesuffix("s").rpartition("m")[2]
    assert time.monotonic() - begun > 2 * float(used)


async def test_it_takes_short_turns_and_cannot_have_longer_ones(inside, sandbox):
    if sandbox.name == "runsc":
        pytest.skip("in it, the Sentry schedules")
    code = """
        import ctypes, os, platform, struct
        asked = ctypes.create_string_buffer(56)
        call = 315 if platform.machine() == "x86_64" else 275
        assert ctypes.CDLL(None).syscall(call, 0, asked, 56, 0) == 0
        print(struct.unpack_from("Q", asked, 24)[0])
        try:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        except PermissionError:
            print("no")
    """
    ran = await inside(["/usr/bin/python3", "-c", textwrap.dedent(code)])
    turn, answer = ran.out.split()
    newer = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 12)
    assert (int(turn), answer) == (100_000 if newer else 0, "no"), ran.err


async def test_its_deadline_ends_all_of_it(inside):
    begun = time.monotonic()
    ran = await inside("setsid sleep 60 & sleep 60", seconds=0.4)
    assert (ran.ended.why, ran.ended.status) == (Ending.DEADLINE, 137)
    assert time.monotonic() - begun < 5


async def test_kill_ends_all_of_it_and_close_leaves_nothing(sandbox):
    before = groups() | places()
    box = await started(
        sandbox, "/bin/sh", "-c", "trap '' TERM; (setsid sleep 77 &) ; sleep 78; sleep 79"
    )
    assert box.pid > 0
    assert box.enforced >= STRICT
    await asyncio.gather(box.kill(), box.kill())
    one, other = await asyncio.gather(box.wait(), box.wait())
    assert one == other
    assert one.why is Ending.KILLED
    await asyncio.gather(box.close(), box.close())
    await box.kill()
    assert not running("^sleep 7[789]$")
    assert groups() | places() == before


async def test_it_dies_with_whoever_made_it(sandbox, tmp_path):
    program = tmp_path / "gate.py"
    program.write_text(
        textwrap.dedent(f"""
        import asyncio, os
        from portcullis.bootstrap.sandboxes import adapter
        from portcullis.core.sandbox import Order, Profile, Streams
        async def main():
            n = os.open(os.devnull, os.O_RDWR)
            order = Order(title="t", argv=("sleep", "54.{os.getpid()}"), profile=Profile())
            await adapter({sandbox.name!r}).start(order, Streams(stdin=n, stdout=n, stderr=n))
            print("started", flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """)
    )
    gate = await asyncio.create_subprocess_exec(
        sys.executable, program, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            assert await gate.stdout.readline() == b"started\n"
    finally:
        gate.kill()
        await gate.wait()
    for _ in range(300):
        if not running(f"^sleep 54.{os.getpid()}$"):
            break
        await asyncio.sleep(0.1)
    assert not running(f"^sleep 54.{os.getpid()}$")


async def test_mounts_are_as_they_were_ordered(inside, tmp_path):
    closed = tmp_path / "closed"
    (closed / "shown").mkdir(parents=True)
    (closed / "shown/secret").write_text("mine")
    (closed / "shown/secret").chmod(0o600)
    (closed / "shown").chmod(0o700)
    closed.chmod(0o700)
    work = tmp_path / "work"
    work.mkdir(mode=0o700)
    ran = await inside(
        "cat /shown/secret; (echo x > /shown/new) 2>/dev/null || echo kept;"
        " echo made > new; chmod u+s new || echo no-suid; cat /tmp/one; pwd",
        cwd="/work/place",
        mounts=(
            Mount(source=closed / "shown", target="/shown"),
            Mount(source=work, target="/work/place", writable=True),
            Mount(source=closed / "shown/secret", target="/tmp/one"),  # noqa: S108 - in the box
        ),
    )
    assert ran.out.split() == ["minekept", "no-suid", "mine/work/place"], ran.err
    assert (work / "new").read_text() == "made\n"
    assert (work / "new").stat().st_uid == os.geteuid()
    assert (work / "new").stat().st_mode & 0o7000 == 0
    assert not (closed / "shown/new").exists()


async def test_what_it_leaves_can_be_read_after_its_end(sandbox):
    box = await started(sandbox, "/bin/sh", "-c", "echo left > result; ln -s /etc/shadow link")
    try:
        await box.wait()
        result = os.open("result", os.O_RDONLY, dir_fd=box.scratch)
        assert os.read(result, 99) == b"left\n"
        os.close(result)
    finally:
        await box.close()
    assert box.scratch is None


async def test_what_python_and_node_need_works(inside):
    ran = await inside(["/usr/bin/python3", "-c", textwrap.dedent("""
        import asyncio, concurrent.futures, multiprocessing, os, pathlib, shutil, signal
        import sqlite3, ssl, subprocess, tempfile, threading
        with multiprocessing.Pool(2) as pool:
            print(pool.map(abs, [-1, -2]))
        with concurrent.futures.ThreadPoolExecutor() as threads:
            print(threads.submit(len, "ab").result())
        print(subprocess.run(["sort"], input=b"b\\na\\n", capture_output=True).stdout)
        async def child():
            one = await asyncio.create_subprocess_exec("true")
            return await one.wait()
        print(asyncio.run(child()))
        sqlite3.connect("x.db").execute("create table t (a)")
        ssl.create_default_context()
        shutil.copytree("/etc/ssl", "copy", symlinks=True)
        os.openpty()
        print(pathlib.Path("x.db").stat().st_size > 0)
    """)], memory=512 * 2**20)  # fmt: skip
    assert ran.out.splitlines() == ["[1, 2]", "2", "b'a\\nb\\n'", "0", "True"], ran.err


async def test_an_order_that_cannot_be_is_refused_before_anything_runs(sandbox, tmp_path):
    missing = Mount(source=tmp_path / "missing", target="/there")
    assert (await refused(sandbox, "true", mounts=(missing,))).code == "PC5032"
    assert (await refused(sandbox)).code == "PC5032"
    assert (await refused(sandbox, "a\0b")).code == "PC5032"
    assert (await refused(sandbox, "true", cwd="../x")).code == "PC5032"
    for target in ("/", "/usr", "/proc/self", "/dev/x", "/a/../etc", "relative"):
        mount = Mount(source=tmp_path, target=target)
        assert (await refused(sandbox, "true", mounts=(mount,))).code == "PC5032"
    demanding = Profile(name="own", demands=STRICT | {Hold.INSTRUCTIONS})
    problem = await refused(sandbox, "true", profile=demanding)
    assert problem.code == "PC5030"
    assert "instructions" in problem.detail


async def test_a_working_directory_that_is_not_there_makes_no_box(sandbox):
    before = groups() | places()
    assert (await refused(sandbox, "true", cwd="/nowhere")).code == "PC5031"
    assert groups() | places() == before


async def test_whoever_stops_waiting_for_a_start_leaves_no_box(sandbox):
    before = groups()
    starting = asyncio.ensure_future(started(sandbox, "sleep", "60"))
    await asyncio.sleep(0.005)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    for _ in range(600):
        if groups() <= before:
            break
        await asyncio.sleep(0.05)
    assert groups() <= before
