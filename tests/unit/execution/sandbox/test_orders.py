"""If these fail, an order gives a box more than it says."""

import pytest

from portcullis.core.errors import Problem
from portcullis.core.sandbox import STRICT, Ability, Mount, Order, Profile
from portcullis.execution.sandbox import kernel
from portcullis.execution.sandbox.orders import checked

ABLE = Ability(adapter="a", version="1", enforces=STRICT, lacking={})


def made(*mounts):
    return checked(Order(title="t", argv=("x",), profile=Profile(), mounts=mounts), ABLE)


def test_sources_are_resolved_once_and_a_link_that_comes_later_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (one,) = made(Mount(source=tmp_path / "link", target="/x")).mounts
    assert (one.source, one.target) == (tmp_path / "real", "/x")
    with pytest.raises(OSError, match="symbolic"):
        kernel.open_plain(str(tmp_path / "link"))


def test_the_whole_file_system_is_no_mount_however_it_is_named(tmp_path):
    (tmp_path / "all").symlink_to("/")
    for source, target in (("/", "//"), ("//", "/x"), (tmp_path / "all", "/x"), ("/usr", "//usr")):
        with pytest.raises(Problem) as caught:
            made(Mount(source=tmp_path / source, target=target))
        assert caught.value.code == "PC5032"


def test_what_a_box_may_write_does_not_lead_out_of_it(tmp_path):
    work, other = tmp_path / "work", tmp_path / "other"
    (work / "own").mkdir(parents=True)
    other.mkdir()
    writable = Mount(source=work, target="/w", writable=True)
    (work / "near").symlink_to("own")
    assert len(made(writable, Mount(source=work / "near", target="/n")).mounts) == 2
    (work / "far").symlink_to(other)
    with pytest.raises(Problem) as caught:
        made(writable, Mount(source=work / "far", target="/f"))
    assert caught.value.code == "PC5032"
    assert len(made(Mount(source=work / "far", target="/f")).mounts) == 1
