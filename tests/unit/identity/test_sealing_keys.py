"""Key managers whose keys lie in files: what is refused, and what is never overwritten."""

import os
import stat

import msgspec
import pytest

from portcullis.config.identity import FileKeys, OpenBaoKeys, PassphraseKeys
from portcullis.core.errors import Problem
from portcullis.identity.keymanager import key_manager, sealed_files
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.keymanager.openbao import OpenBaoKeyManager
from portcullis.identity.keymanager.passphrase import PassphraseKeyManager
from portcullis.identity.sealing import Envelope
from shared_processes import first_key, in_processes, next_key
from transit import transit

KEY = bytes(32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "master"


@pytest.fixture(params=["file", "passphrase"])
def make(request, path):
    if request.param == "file":
        return lambda create=True: FileKeyManager(path, create=create)
    return lambda create=True: PassphraseKeyManager(path, "correct horse", create=create)


def test_the_keys_are_their_owners_alone(make, path):
    make()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    make().rotate()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_keys_that_others_can_open_are_not_used(make, path, mode):
    make()
    path.chmod(mode)
    with pytest.raises(Problem, match=r"PC7001.*open to other users"):
        make()


def test_a_pipe_in_the_keys_place_does_not_hang(make, path):
    path.parent.mkdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(Problem, match=r"PC7001.*not a file"):
        make()


def test_lost_keys_are_not_silently_replaced_by_new_ones(make, path):
    with pytest.raises(Problem, match=r"PC7010.*missing") as caught:
        make(create=False)
    assert "--from" in caught.value.hint
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"00ff\n", b"zz" * 32, bytes(40), b"{}"])
def test_a_damaged_file_is_refused_and_kept(make, path, content):
    make()
    path.write_bytes(content)
    with pytest.raises(Problem, match="PC7010"):
        make()
    assert path.read_bytes() == content


def test_a_wrong_passphrase_opens_nothing_and_overwrites_nothing(path):
    PassphraseKeyManager(path, "correct horse", create=True)
    before = path.read_bytes()
    with pytest.raises(Problem, match=r"PC7010.*passphrase") as caught:
        PassphraseKeyManager(path, "battery staple", create=True)
    assert "battery" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_passphrase_file_shows_no_key(path):
    manager = PassphraseKeyManager(path, "correct horse", create=True)
    for key in manager._keys:
        assert key not in path.read_bytes()
        assert key.hex().encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"salt": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"iterations": 2},
        {"lanes": 2},
        {"memory_kib": 32 * 1024},
        {"memory_kib": 2**40},
        {"iterations": 2**40},
    ],
)
def test_how_a_passphrase_is_derived_cannot_be_changed_in_the_file(path, change):
    PassphraseKeyManager(path, "correct horse", create=True)
    document = msgspec.json.decode(path.read_bytes())
    document["derivation"] |= change
    path.write_bytes(msgspec.json.encode(document))
    with pytest.raises(Problem, match="PC7010"):
        PassphraseKeyManager(path, "correct horse", create=True)


def test_the_passphrase_is_derived_as_rfc_9106_recommends(path):
    PassphraseKeyManager(path, "correct horse", create=True)
    stored = msgspec.json.decode(path.read_bytes())["derivation"]
    stored.pop("salt")
    assert stored == {"iterations": 3, "lanes": 4, "memory_kib": 64 * 1024}


@pytest.mark.parametrize(("work", "versions"), [(first_key, 1), (next_key, 4)])
def test_processes_at_once_lose_no_key(path, work, versions):
    if work is next_key:
        FileKeyManager(path, create=True)
    assert len(set(in_processes(work, *[(path,)] * 4))) == versions
    assert len(FileKeyManager(path, create=False)._keys) == (5 if work is next_key else 1)


def test_the_configured_manager_is_made_in_its_place(tmp_path):
    known = {"env:PASS": "correct horse"}
    secret = known.__getitem__
    state = tmp_path / "state"
    default = key_manager(FileKeys(), state=state, secret=secret)
    assert default.version.startswith("file:1-")
    assert (state / "keys" / "master.key").exists()
    elsewhere = FileKeys(path=tmp_path / "elsewhere")
    key_manager(elsewhere, state=state, secret=secret)
    assert (tmp_path / "elsewhere").exists()
    named = PassphraseKeys(kind="passphrase", passphrase="env:PASS")  # noqa: S106 - a reference
    assert key_manager(named, state=state, secret=secret).version.startswith("passphrase:1-")
    with transit() as engine:
        engine.make("portcullis")
        known["env:TOKEN"] = engine.token
        there = OpenBaoKeys(kind="openbao", url=engine.url, token="env:TOKEN")  # noqa: S106 - as above
        assert isinstance(key_manager(there, state=state, secret=secret), OpenBaoKeyManager)


def test_new_keys_are_made_only_where_nothing_is_sealed_yet(tmp_path):
    state = tmp_path / "state"
    manager = key_manager(FileKeys(), state=state, secret=str)
    assert sealed_files(state) == {}
    sealed = Envelope(manager).seal(b"x", "p")
    (state / "keys" / "issuer.pem").write_bytes(sealed)
    assert sealed_files(state) == {state / "keys" / "issuer.pem": sealed}
    with pytest.raises(Problem, match=r"PC7010.*missing"):
        key_manager(FileKeys(path=tmp_path / "typo"), state=state, secret=str)
    assert not (tmp_path / "typo").exists()
    assert key_manager(FileKeys(path=tmp_path / "new"), state=state, secret=str, create=True)
