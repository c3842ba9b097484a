"""What a program needs in its box. If these fail, agents of virtual environments do not start."""

import sys
from pathlib import Path

from portcullis.execution.interpreter import SYSTEM, program


def test_what_is_of_the_system_needs_nothing():
    assert program("sh", "/usr/bin:/bin") == ("sh", SYSTEM, ())


def test_a_virtual_environment_comes_with_the_installation_below_it():
    folder = Path(sys.prefix) / "bin"
    found = program("python", str(folder))
    sources = {mount.source for mount in found.mounts}
    assert found.argv0 == str(folder / "python")
    assert found.path == f"{folder}:{SYSTEM}"
    assert Path(sys.prefix) in sources
    base = Path(sys.base_prefix)
    assert {base / "bin", base / "lib"} <= sources or base.is_relative_to("/usr")
    assert not any(mount.writable for mount in found.mounts)


def test_a_program_of_its_own_comes_alone(tmp_path):
    (tmp_path / "agent").write_text("#!/bin/sh\n")
    (tmp_path / "agent").chmod(0o755)
    found = program(str(tmp_path / "agent"), "")
    assert [mount.source for mount in found.mounts] == [tmp_path / "agent"]


def test_the_shim_of_a_version_switcher_is_passed_over(tmp_path):
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "sh").write_text("#!/bin/false\n")
    (shims / "sh").chmod(0o755)
    assert program("sh", f"{shims}:/usr/bin").argv0 == "sh"
    assert program("nothing-like-it", str(shims)) == ("nothing-like-it", SYSTEM, ())


def test_what_an_agent_writes_into_its_environment_shows_it_nothing_else(tmp_path):
    home, venv = tmp_path / "home/.local", tmp_path / "work/.venv"
    for folder in (home / "bin", home / "lib", home / "share/keyrings", venv / "bin"):
        folder.mkdir(parents=True)
    (venv / "bin/python").write_text("#!/bin/sh\n")
    (venv / "bin/python").chmod(0o755)
    (tmp_path / "ssh").mkdir()
    (home / "lib64").symlink_to(tmp_path / "ssh")
    for said in (home / "bin", "//bin", "/bin", f"{home}/share/../../bin", tmp_path / "ssh", "bin"):
        (venv / "pyvenv.cfg").write_text(f"home = {said}\n")
        shown = {one.source for one in program(str(venv / "bin/python"), "").mounts}
        assert shown <= {venv, home / "bin", home / "lib"}, said
