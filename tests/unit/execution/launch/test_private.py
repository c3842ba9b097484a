"""If these fail, another process of this machine acts as the agent while its box is being made."""

import asyncio
import os
import socket
import subprocess
import sys

import pytest
import uvloop

from portcullis.client.accepting import accepting
from portcullis.execution.launch.private import Private, sweep

CONNECTS = (
    "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)"
)


@pytest.fixture
def listening(tmp_path):
    with Private(tmp_path, os.getgid()).socket("it.sock") as made:
        made.settimeout(5)
        yield made


def test_who_is_in_no_box_does_not_get_in(tmp_path, listening):
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(tmp_path / "it.sock"))
        with pytest.raises(BlockingIOError):
            listening.accept()
        other.settimeout(2)
        assert other.recv(1) == b""


class Greeting(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"come in")
        transport.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_nor_is_it_let_in_by_the_loop_that_serves(run, tmp_path, listening):
    """The loop of the launcher accepts on the descriptor, and never asks the socket."""

    async def said():
        with accepting(listening, Greeting):
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_unix_connection(tmp_path / "it.sock")
                stranger = await reader.read()
                writer.close()
                ours = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", CONNECTS.replace("s.recv(1)", "print(s.recv(9))")),
                    tmp_path / "it.sock",
                    stdout=subprocess.PIPE,
                )
                return stranger, (await ours.communicate())[0]

    assert run(said()) == (b"", b"b'come in'\n")
    assert listening.fileno() == -1


def test_what_we_started_does(tmp_path, listening):
    words = (sys.executable, "-c", CONNECTS, str(tmp_path / "it.sock"))
    with subprocess.Popen(words) as child:
        listening.accept()[0].close()
        assert child.wait(5) == 0


def test_what_a_launcher_left_behind_goes_and_what_others_use_stays(tmp_path):
    with subprocess.Popen((sys.executable, "-c", "")) as gone:
        gone.wait(20)
    for name in (f"{gone.pid}-a", f"{os.getpid()}-b", "c"):
        (tmp_path / f"portcullis-run-{name}").mkdir()
    (tmp_path / f"portcullis-run-{gone.pid}-link").symlink_to(tmp_path / "portcullis-run-c")
    sweep(tmp_path)
    left = sorted(one.name.removeprefix("portcullis-run-") for one in tmp_path.iterdir())
    assert left == sorted([f"{os.getpid()}-b", "c", f"{gone.pid}-link"])
