"""If these fail, a host goes back to keys that were taken back, or trusts what nobody said."""

import pytest

from portcullis.bootstrap.hosts_followed import SEEN, Followed
from portcullis.bootstrap.hosts_published import NAMES, Published
from portcullis.core.errors import Problem
from portcullis.core.hosts import Bundle

FILES = {
    "keys": {"issuer.pem": b"i", "kill.pem": b"k"},
    "ca": {"state.json": b"1", "root-a.pem": b"a", "signing-a.key": b"s"},
    "order": {"kill-all.json": b"{}"},
    "holds": {"holds.json": b"[]"},
    "retired": {},
}


class Shelf:
    def __init__(self):
        self.bundles = {}

    def put(self, name, files, above=0):
        above = max(above, self.versions().get(name, 0))
        self.bundles[name] = Bundle(above + 1, dict(files))
        return above + 1

    def versions(self):
        return {name: one.version for name, one in self.bundles.items()}

    def get(self, name):
        return self.bundles.get(name)


class Clock:
    time = 100.0

    def monotonic(self):
        return self.time


@pytest.fixture
def shelf():
    made = Shelf()
    for name, files in FILES.items():
        made.put(name, files, 9)
    return made


@pytest.fixture
def host(tmp_path, shelf):
    """Makes a follower anew, as a restart does; ``restarts`` counts what it asked for."""
    (tmp_path / "ca").mkdir(mode=0o700)
    (tmp_path / "keys").mkdir(mode=0o700)

    def made():
        return Followed(tmp_path, shelf, made.clock, lambda: made.restarts.append(1))

    made.clock, made.restarts, made.folder = Clock(), [], tmp_path
    return made


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_an_empty_folder_gets_all_of_it_and_waits_while_something_is_missing(host, shelf):
    held = shelf.bundles.pop("holds")
    followed = host()
    assert not followed.step()
    assert followed.doubted()
    shelf.bundles["holds"] = held
    assert followed.step()
    assert not followed.doubted()
    assert names(host.folder / "ca") == sorted(FILES["ca"])
    assert names(host.folder / "keys") == ["issuer.pem", "kill.pem"]
    assert (host.folder / "keys" / "issuer.pem").stat().st_mode & 0o777 == 0o600


def test_what_a_bundle_has_no_more_goes_and_what_is_not_its_own_stays(host, shelf):
    (host.folder / "keys" / "master.key").write_bytes(b"root")
    followed = host()
    followed.step()
    shelf.put("ca", {"state.json": b"2", "root-b.pem": b"b"}, 10)
    shelf.put("order", {}, 10)
    followed.step()
    assert names(host.folder / "ca") == ["root-b.pem", "state.json"]
    assert names(host.folder) == [SEEN, "holds.json"]
    assert names(host.folder / "keys") == ["issuer.pem", "kill.pem", "master.key"]
    assert host.restarts == []


@pytest.mark.parametrize("back", ["older", "gone"])
def test_what_goes_back_is_refused_after_a_restart_too_and_nobody_is_trusted(back, host, shelf):
    host().step()
    followed = host()
    if back == "older":
        shelf.bundles["ca"] = Bundle(4, {"state.json": b"0"})
    else:
        del shelf.bundles["ca"]
    host.clock.time += 10
    for _ in range(2):
        with pytest.raises(Problem) as refused:
            followed.step()
        assert refused.value.code == "PC7082"
    assert followed.doubted()
    assert (host.folder / "ca" / "state.json").read_bytes() == b"1"
    shelf.put("ca", FILES["ca"], 20)
    assert followed.step()
    assert not followed.doubted()


@pytest.mark.parametrize("name", ["../other", "master.key", "log.key"])
def test_no_bundle_writes_a_file_that_is_not_of_it(name, host, shelf):
    shelf.put("keys", {"issuer.pem": b"x", name: b"y"}, 20)
    with pytest.raises(Problem, match="not of its bundle"):
        host().step()
    assert names(host.folder / "keys") == []


def test_another_issuer_ends_the_process_that_began_with_the_first(host, shelf):
    followed = host()
    followed.step()
    shelf.put("keys", {"issuer.pem": b"new", "kill.pem": b"k"}, 20)
    followed.step()
    assert host.restarts == [1]
    host().step()
    assert host.restarts == [1]


def test_what_is_published_is_put_once_and_again_where_it_was_changed(tmp_path, shelf):
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "ca").mkdir(mode=0o700)
    for name in ("issuer.pem", "kill.pem"):
        (tmp_path / "keys" / name).touch(mode=0o600)

    class Book:
        def in_force(self):
            return ()

    told = []
    published = Published(tmp_path, shelf, Book(), told.append, dict)
    published.step(check=True)
    first = shelf.versions()
    assert set(first) == set(NAMES)
    published.step(check=True)
    assert shelf.versions() == first
    shelf.put("keys", {"issuer.pem": b"mine"}, first["keys"] + 5)
    published.step(check=False)
    assert told == []
    published.step(check=True)
    assert told == ["keys"]
    assert shelf.get("keys").files["issuer.pem"] == b""
    assert shelf.versions()["keys"] > first["keys"] + 6
