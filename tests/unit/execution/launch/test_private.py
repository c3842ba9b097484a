"""If these fail, another process of this machine acts as the agent while its box is being made."""

import os
import socket
import subprocess
import sys

import pytest

from portcullis.execution.launch.private import Private

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


def test_what_we_started_does(tmp_path, listening):
    words = (sys.executable, "-c", CONNECTS, str(tmp_path / "it.sock"))
    with subprocess.Popen(words) as child:
        listening.accept()[0].close()
        assert child.wait(5) == 0
