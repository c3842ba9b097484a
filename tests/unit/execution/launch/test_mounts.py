"""What may be shown to an agent. If these fail, it reads the gate's keys or writes its policy."""

import pwd
import socket
from pathlib import Path

import pytest

from portcullis.core.errors import Problem
from portcullis.core.sandbox import Mount
from portcullis.execution.launch.mounts import Guarded, checked


def shown(place, *, writable=False):
    return Mount(source=place, target=str(place), writable=writable)


@pytest.fixture
def house(tmp_path):
    for name in ("state", "policy", "agent", "keys"):
        (tmp_path / name).mkdir()
    (tmp_path / "portcullis.yaml").touch()
    (tmp_path / "keys" / "key").touch()
    return tmp_path


@pytest.fixture
def guarded(house):
    return Guarded(
        secret=(house / "state", house / "keys" / "key", house / "not-there"),
        rules=(house / "portcullis.yaml", house / "policy"),
    )


@pytest.mark.parametrize("place", ["/", "/etc", "/etc/ssl", "/proc", "/proc/1", "/run", "/dev/pts"])
def test_the_system_is_not_shown(place):
    with pytest.raises(Problem, match="system") as refused:
        checked([shown(Path(place))], Guarded())
    assert refused.value.code == "PC5045"


def test_a_home_is_not_shown_nor_what_holds_one(tmp_path, monkeypatch):
    home = tmp_path / "homes" / "ada"
    (home / "agent").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for place in (home, home.parent):
        with pytest.raises(Problem, match="home"):
            checked([shown(place)], Guarded())
    assert checked([shown(home / "agent")], Guarded())[0] == (shown(home / "agent"),)


def test_somebody_elses_home_is_not_shown_either(tmp_path, monkeypatch):
    """As with sudo, where the home is root's and the working directory another's."""
    theirs = tmp_path / "homes" / "bob"
    (theirs / "agent").mkdir(parents=True)
    bob = pwd.struct_passwd(("bob", "x", 1000, 1000, "", str(theirs), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [bob])
    for place in (theirs, theirs.parent):
        with pytest.raises(Problem, match="home"):
            checked([shown(place)], Guarded())
    assert checked([shown(theirs / "agent")], Guarded())[0] == (shown(theirs / "agent"),)


def test_a_folder_with_a_socket_is_not_shown(tmp_path):
    (tmp_path / "deep").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "deep" / "it.sock"))
        for place in (tmp_path, tmp_path / "deep" / "it.sock"):
            with pytest.raises(Problem, match="way out"):
                checked([shown(place)], Guarded())


def test_what_is_the_gates_own_is_covered(house, guarded):
    mounts, covered = checked([shown(house)], guarded)
    assert mounts == (shown(house),)
    assert covered == (str(house / "keys"), str(house / "state"))


def test_it_is_covered_where_the_box_has_it_also_by_another_name(house, guarded):
    (house.parent / "link").unlink(missing_ok=True)
    (house.parent / "link").symlink_to(house)
    mounts, covered = checked([shown(house.parent / "link")], guarded)
    assert mounts == (Mount(source=house, target=str(house.parent / "link")),)
    assert str(house.parent / "link" / "state") in covered


def test_what_is_the_gates_own_is_not_shown_itself(house, guarded):
    (house / "way").symlink_to(house / "state")
    for place in (house / "state", house / "keys", house / "keys" / "key", house / "way"):
        with pytest.raises(Problem, match="gate's own"):
            checked([shown(place)], guarded)


@pytest.mark.parametrize("name", [".", "policy"])
def test_no_agent_writes_the_rules_that_it_is_held_by(house, guarded, name):
    with pytest.raises(Problem, match=r"could write|gate's own"):
        checked([shown(house / name, writable=True)], guarded)
    assert checked([shown(house / "policy")], guarded)[1] == ()
    assert checked([shown(house / "agent", writable=True)], guarded)[1] == ()


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(Problem, match="not there"):
        checked([shown(tmp_path / "nowhere")], Guarded())
