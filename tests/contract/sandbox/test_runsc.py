"""What is particular to boxes of runsc: a kernel of their own, sockets by order, no terminal."""

import asyncio
import os
import platform
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from portcullis.bootstrap.sandboxes import adapter
from portcullis.core.errors import Problem
from portcullis.core.sandbox import STRICT, Hold, Mount, Network, Order, Profile, Streams

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("runsc") is None, reason="needs runsc: see `make packages`"),
    pytest.mark.skipif(os.geteuid() != 0, reason="OCI runtimes are run by root"),
]
CONNECT = """
import platform, socket, sys
print(platform.release())
for path in sys.argv[1:]:
    one = socket.socket(socket.AF_UNIX)
    try:
        one.connect(path)
        print("reached")
    except OSError:
        print("refused")
"""


@pytest.fixture(scope="module")
def sandbox():
    return adapter("runsc")


@pytest.fixture
def outside():
    """A folder with a socket of ours in it."""
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as server:
        place = Path(name)
        server.bind(str(place / "gate.sock"))
        (place / "gate.sock").chmod(0o777)
        server.listen()
        yield place


async def said(sandbox, *argv, **changes) -> list[str]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as nothing:
        streams = Streams(stdin=nothing.fileno(), stdout=out.fileno(), stderr=out.fileno())
        box = await sandbox.start(Order(title="test", argv=argv, environ={}, **changes), streams)
        try:
            async with asyncio.timeout(30):
                await box.wait()
        finally:
            await box.close()
        out.seek(0)
        return out.read().decode().split()


async def test_its_kernel_is_its_own_and_can_be_demanded(sandbox):
    demanding = Profile(name="own", demands=STRICT | {Hold.KERNEL})
    release, *_ = await said(sandbox, "/usr/bin/python3", "-c", CONNECT, profile=demanding)
    assert release != platform.release()


async def test_it_reaches_a_socket_that_its_order_names_and_none_that_lies_in_a_mount(
    sandbox, outside
):
    run = ("/usr/bin/python3", "-c", CONNECT)
    gate = Mount(source=outside / "gate.sock", target="/run/gate.sock")
    folder = Mount(source=outside, target="/shown")
    profile = Profile(name="led", network=Network.GATE)
    assert (await said(sandbox, *run, "/run/gate.sock", profile=profile, mounts=(gate,)))[1:] == [
        "reached"
    ]
    lines = await said(sandbox, *run, "/shown/gate.sock", profile=Profile(), mounts=(folder,))
    assert lines[1:] == ["refused"]


async def test_an_order_for_a_terminal_is_refused(sandbox):
    with pytest.raises(Problem) as caught:
        await said(sandbox, "true", profile=Profile(), terminal=True)
    assert caught.value.code == "PC5032"


async def test_what_it_makes_in_a_mount_belongs_to_the_owner_of_that(sandbox, outside):
    mounts = (Mount(source=outside, target="/out", writable=True),)
    command = "mkdir /out/d && echo x > /out/d/x && chmod 600 /out/d/x && cat /out/d/x"
    assert await said(sandbox, "sh", "-c", command, profile=Profile(), mounts=mounts) == ["x"]
    made = (outside / "d/x").stat()
    assert (made.st_uid, made.st_mode & 0o7777) == (outside.stat().st_uid, 0o600)
