"""If these fail, ``agent connect`` finds no gate but one on the usual ports, or wastes a token."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from portcullis.cli.addresses import addresses
from portcullis.config import load
from ports import free_port

PORTCULLIS = Path(sys.executable).with_name("portcullis")


def environment(home):
    return {"PATH": f"{PORTCULLIS.parent}:{os.environ['PATH']}", "HOME": str(home)}


def ran(home, *command):
    return subprocess.run(
        command, cwd=home, env=environment(home), capture_output=True, text=True, check=False
    )


@contextlib.contextmanager
def started(home, wanted, *command):
    """A program that stays; it has printed a line that begins like this."""
    process = subprocess.Popen(
        command,
        cwd=home,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    try:
        while not (said and said[-1].startswith(wanted)):
            said.append(process.stdout.readline())
            assert said[-1], said
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def home(tmp_path):
    """A folder with the configuration of a gate on ports of its own."""
    made = ran(tmp_path, PORTCULLIS, "init")
    assert made.returncode == 0
    file = tmp_path / "portcullis.yaml"
    text = file.read_text()
    for usual in ("7300", "7301", "7302"):
        text = text.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{free_port()}")
    file.write_text(text)
    return tmp_path


def test_what_create_says_to_do_next_works_on_ports_of_ones_own(home, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    create = ("agent", "create", "shop-1", "--owner", "shop", "--purpose", "sells")
    with started(home, "log ", PORTCULLIS, "up"):
        done = ran(elsewhere, PORTCULLIS, *create, "-c", str(home / "portcullis.yaml"))
        assert done.returncode == 0, done.stderr
        said = done.stderr.splitlines()[-1].replace(") portcullis", ") exec portcullis")
        with started(elsewhere, "openai ", "bash", "-c", said):
            assert "--enrol" in said


def test_without_addresses_they_come_from_the_configuration_that_is_here(home):
    settings = load(home / "portcullis.yaml")
    there = addresses(settings)
    assert there == (f"https://{settings.listen.mtls}", f"http://{settings.listen.gate}")
    (home / "join").touch(mode=0o600)
    (home / "join").write_text("x" * 43)
    refused = ran(
        home, PORTCULLIS, "agent", "connect", "shop-1", "--join-token", f"file:{home}/join"
    )
    assert refused.returncode == 1
    assert f"{there.gate} does not answer" in refused.stderr
    assert "--gate and --enrol" in refused.stderr


def test_addresses_for_every_interface_are_ones_a_client_can_use(home):
    file = home / "portcullis.yaml"
    file.write_text("trust_domain: example.org\nlisten: {mtls: '0.0.0.0:7402'}\n")
    assert addresses(load(file)).gate == "https://127.0.0.1:7402"
