"""If these fail, a box reads our files through what it left behind, or fills our memory."""

import os
from pathlib import Path

import pytest

from portcullis.execution.sandbox.outputs import Bounds, Left, take


@pytest.fixture
def left(tmp_path):
    (tmp_path / "secret").write_text("outside")
    box = tmp_path / "box"
    (box / "deep/down").mkdir(parents=True)
    (box / "plain").write_text("plain")
    (box / "deep/down/file").write_text("deep")
    (box / "link").symlink_to("/etc/passwd")
    (box / "up").symlink_to("../secret")
    (box / "here").symlink_to("plain")
    (box / "folder").symlink_to("/etc")
    os.mkfifo(box / "pipe")
    descriptor = os.open(box, os.O_RDONLY | os.O_DIRECTORY)
    yield box, descriptor
    os.close(descriptor)


def opened() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_names_that_lead_out_are_left(left):
    _, descriptor = left
    names = ["plain", "deep/down/file", "link", "up", "here", "folder/passwd", "pipe", "deep"]
    names += ["missing", "../secret", "/etc/passwd", "deep/../plain", "a\nb", "", "plain/x"]
    taken = take(descriptor, names, Bounds())
    assert taken.files == {"plain": b"plain", "deep/down/file": b"deep"}
    assert taken.left == {
        "link": Left.LINK,
        "up": Left.LINK,
        "here": Left.LINK,
        "folder/passwd": Left.LINK,
        "pipe": Left.SPECIAL,
        "deep": Left.SPECIAL,
        "missing": Left.MISSING,
        "../secret": Left.NAME,
        "/etc/passwd": Left.NAME,
        "deep/../plain": Left.NAME,
        "a?b": Left.NAME,
        "": Left.NAME,
        "plain/x": Left.MISSING,
    }


def test_whatever_is_there_is_found_without_following_anything(left):
    _, descriptor = left
    taken = take(descriptor, None, Bounds())
    assert taken.files == {"plain": b"plain", "deep/down/file": b"deep"}
    assert set(taken.left) == {"link", "up", "here", "folder", "pipe"}
    before = opened()
    take(descriptor, ["deep", "pipe", "link"], Bounds())
    assert opened() == before


def test_bytes_files_and_depth_are_bounded(left):
    box, descriptor = left
    with (box / "sparse").open("wb") as file:
        file.truncate(2**40)
    (box / "other").write_text("12345")
    taken = take(descriptor, ["sparse", "plain", "other"], Bounds(total=6))
    assert taken.files == {"plain": b"plain"}
    assert taken.left == {"sparse": Left.LARGE, "other": Left.LARGE}
    assert take(descriptor, ["plain", "other"], Bounds(files=1)).left == {"other": Left.MANY}
    assert take(descriptor, ["deep/down/file"], Bounds(depth=2)).left == {
        "deep/down/file": Left.NAME
    }
    assert "deep/down/file" not in take(descriptor, None, Bounds(depth=2)).files


def test_a_name_that_is_no_text_and_thousands_of_files_do_no_harm(left):
    box, descriptor = left
    os.close(os.open(os.fsencode(box) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))
    for number in range(1500):
        (box / f"n{number}").touch()
    taken = take(descriptor, None, Bounds(files=8))
    assert len(taken.files) == 8
    assert len(taken.left) < 1100
    assert all(name.isprintable() for name in (*taken.files, *taken.left))
