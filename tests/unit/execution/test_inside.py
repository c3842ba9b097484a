"""If these fail, a box has more of this machine in it than its command needs, or less."""

import sys
from pathlib import Path

from portcullis.config.boxed import anchored, mount
from portcullis.core.sandbox import Profile
from portcullis.execution.inside import absent, inside, order

PATH = "/usr/bin:/bin"


def shown(what):
    return [(one.target, one.writable) for one in what.mounts]


def test_a_program_of_the_system_needs_nothing_and_its_folder_is_read_only(tmp_path):
    assert shown(inside(("sh",), path=PATH)) == []
    assert shown(inside(("sh",), path=PATH, cwd=tmp_path)) == [(str(tmp_path), False)]
    free = inside(("sh",), path=PATH, cwd=tmp_path, mounts=[f"{tmp_path}:rw"])
    assert shown(free) == [(str(tmp_path), True)]
    below = inside(("sh",), path=PATH, cwd=tmp_path / "a", mounts=[f"{tmp_path}:ro"])
    assert shown(below) == [(str(tmp_path), False)]


def test_what_lies_within_another_mount_comes_after_it(tmp_path):
    mounts = [f"{tmp_path}/a/b:rw", f"{tmp_path}:ro"]
    what = inside(("sh",), path=PATH, mounts=mounts)
    assert shown(what) == [(str(tmp_path), False), (f"{tmp_path}/a/b", True)]


def test_the_interpreter_of_an_environment_comes_with_all_of_it():
    what = inside((sys.executable, "-c", "pass"), path=PATH)
    assert any(Path(sys.prefix).is_relative_to(one.target) for one in what.mounts)
    assert not any(one.writable for one in what.mounts)
    made = order("mcp:x", what, profile=Profile(), environ={"KEY": "v"})
    assert set(made.environ) == {"PATH", "HOME", "KEY"}
    assert made.environ["HOME"] == made.cwd == "/scratch"


def test_what_a_command_names_and_its_box_has_not_is_found(tmp_path):
    script = tmp_path / "server.py"
    script.touch()
    words = ("sh", str(script), "/scratch", "/usr/bin/env", "/no/such", "relative", "--flag")
    assert absent(inside(words, path=PATH)) == (str(script),)
    assert absent(inside(words, path=PATH, mounts=[f"{tmp_path}:ro"])) == ()


def test_a_mount_is_a_place_and_how_it_may_be_used(tmp_path):
    assert mount("/srv/a:rw").writable
    assert not mount("/srv/a:ro").writable
    assert not mount("/srv/a").writable
    assert mount("/srv/a:b/c").source == Path("/srv/a:b/c")
    for wrong in ("srv/a:ro", "/srv/a:rx", "/:ro", "/srv/../etc:ro", "", ":ro"):
        try:
            mount(wrong)
        except ValueError:
            continue
        raise AssertionError(wrong)
    assert anchored("data:rw", tmp_path) == f"{tmp_path}/data:rw"
    assert anchored("/srv", tmp_path) == "/srv:ro"
