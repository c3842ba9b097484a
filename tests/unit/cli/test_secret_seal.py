"""If these fail, sealing a secret takes it from whoever reads it, or writes where a link leads."""

import os
import stat

import pytest

import commands

VALUE = "a-secret-of-some-length"


@pytest.fixture
def config(tmp_path):
    place = tmp_path / "portcullis.yaml"
    place.write_text("trust_domain: example.test\nstate: state\n")
    return place


def test_a_sealed_file_belongs_to_whom_it_belonged_and_can_be_read_by_as_many(config, tmp_path):
    path = tmp_path / "key"
    path.write_text(VALUE)
    path.chmod(0o640)
    owner = 12_345 if os.geteuid() == 0 else os.geteuid()
    os.chown(path, owner, -1)
    done = commands.run("secret", "seal", path, "-c", config)
    assert done.returncode == 0, done.stderr
    found = path.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (owner, 0o640)
    assert VALUE.encode() not in path.read_bytes()


def test_a_link_is_not_followed_and_not_replaced(config, tmp_path):
    other, link = tmp_path / "other", tmp_path / "link"
    other.write_text(VALUE)
    link.symlink_to(other)
    for words in ((), ("--stdin",)):
        done = commands.run("secret", "seal", link, *words, "-c", config)
        assert done.returncode != 0
        assert "PC7005" in done.stderr
    assert link.is_symlink()
    assert other.read_text() == VALUE
    assert sorted(one.name for one in tmp_path.iterdir() if one.name.startswith(".")) == []
