"""If these fail, a command in a box is not passed on, or the machine is said to hold more."""

import json
import shutil
import subprocess
import sys

import pytest

from commands import run
from contract.sandbox.conftest import ROOT

boxed = pytest.mark.skipif(
    not (ROOT and shutil.which("bwrap")), reason="needs root and bubblewrap: see `make packages`"
)


def portcullis(*words, cwd, typed=""):
    """In a process of its own: whoever runs a box leaves without waiting for what is typed."""
    program = "from portcullis.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=cwd,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@boxed
def test_streams_status_and_mounts_are_passed_on(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_text("mounted\n")
    script = f"cat; cat {tmp_path}/in/file; echo $A; echo err >&2; pwd; exit 9"
    words = ["sandbox", "run", "--mount", "in:ro", "--env", "A=b", "--", "sh", "-c", script]
    done = portcullis(*words, cwd=tmp_path, typed="typed\n")
    assert (done.returncode, done.stdout) == (9, "typed\nmounted\nb\n/scratch\n")
    assert done.stderr == "err\n"


@boxed
def test_a_profile_of_the_configuration_holds_it_and_why_it_ended_is_said(tmp_path):
    (tmp_path / "portcullis.yaml").write_text(
        "trust_domain: example.test\nsandbox: {profiles: {brief: {seconds: 0.3}}}\n"
    )
    done = portcullis("sandbox", "run", "--profile", "brief", "--", "sleep", "60", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (137, "")
    assert "time was over" in done.stderr


@boxed
def test_what_this_machine_can_hold_is_shown(tmp_path):
    done = run("sandbox", "show", "--adapter", "bubblewrap", "--json", cwd=tmp_path)
    said = json.loads(done.stdout)
    (one,) = said["adapters"]
    assert one["strict"] is True
    assert "kernel" in one["lacking"]
    assert said["profiles"]["strict"]["less_than_strict"] == []
    done = run("sandbox", "show", "--adapter", "bubblewrap", cwd=tmp_path)
    assert "bubblewrap" in done.stdout
    assert "profile strict: strict" in done.stdout


def test_a_profile_a_mount_and_an_adapter_that_are_none_are_refused(tmp_path):
    for words in (("--profile", "lax"), ("--mount", "/:rw"), ("--mount", "a:rx"),
                  ("--env", "novalue"), ("--adapter", "docker")):  # fmt: skip
        done = run("sandbox", "run", *words, "--", "true", cwd=tmp_path)
        assert done.returncode == 2, words
        assert "PC7004" in done.stderr


def test_the_state_directory_is_no_mount(tmp_path):
    (tmp_path / "portcullis.yaml").write_text("trust_domain: example.test\nstate: state\n")
    (tmp_path / "state").mkdir()
    for place in (".:ro", "state:ro", "state/keys"):
        done = run("sandbox", "run", "--mount", place, "--", "true", cwd=tmp_path)
        assert done.returncode == 2
        assert "keys or secrets of the gate" in done.stderr


def test_a_machine_without_bubblewrap_is_told_what_to_install(tmp_path):
    done = run("sandbox", "run", "--", "true", cwd=tmp_path, env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "PC5030" in done.stderr
    assert "apt-get install bubblewrap" in done.stderr
    assert done.stdout == ""
