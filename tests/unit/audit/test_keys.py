from __future__ import annotations

import hmac

import pytest

from portcullis.audit.keys import SubjectKeys, load_keys, reseal
from portcullis.audit.note import Signer
from portcullis.core.errors import Problem
from portcullis.core.ports import SEALED
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope
from sealers import sealer_at

ORIGIN = "example.org/gate"


def test_keys_are_made_once_and_readable_by_their_owner_only(tmp_path) -> None:
    folder = tmp_path / "keys"
    first = load_keys(folder, ORIGIN, create=True, sealer=sealer_at(tmp_path))
    again = load_keys(folder, ORIGIN, create=True, sealer=sealer_at(tmp_path))
    assert str(first.signer.verifier) == str(again.signer.verifier)
    assert first.subjects.commitment("s", b"v") == again.subjects.commitment("s", b"v")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_commitments_link_equal_values_of_one_subject_only(tmp_path) -> None:
    subjects = load_keys(
        tmp_path / "keys", ORIGIN, create=True, sealer=sealer_at(tmp_path)
    ).subjects
    mine = subjects.commitment("anna", b"anna@example.org")
    assert mine.startswith("hmac-sha256:")
    assert len(mine) == 12 + 64
    assert mine == subjects.commitment("anna", b"anna@example.org")
    others = {subjects.commitment("bert", b"anna@example.org"), subjects.commitment("anna", b"x")}
    assert mine not in others


def test_a_subjects_key_is_hkdf_of_the_master_key() -> None:
    # computed with Python's hmac by the two steps of RFC 5869
    master = bytes(range(32))
    extracted = hmac.digest(bytes(32), master, "sha256")
    key = hmac.digest(extracted, b"portcullis/commitment/v1\0anna\x01", "sha256")
    expected = "hmac-sha256:" + hmac.digest(key, b"value", "sha256").hex()
    assert SubjectKeys(master).commitment("anna", b"value") == expected


@pytest.mark.parametrize("name", ["log.key", "commitments.key"])
@pytest.mark.parametrize("content", [None, "nonsense", "", "00"])
def test_a_log_is_not_continued_under_a_key_that_is_not_its_own(tmp_path, name, content) -> None:
    folder = tmp_path / "keys"
    load_keys(folder, ORIGIN, create=True, sealer=sealer_at(tmp_path))
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(Problem) as caught:
        load_keys(folder, ORIGIN, create=False, sealer=sealer_at(tmp_path))
    assert caught.value.code == "PC6002"


def test_a_key_that_others_can_read_is_refused(tmp_path) -> None:
    folder = tmp_path / "keys"
    load_keys(folder, ORIGIN, create=True, sealer=sealer_at(tmp_path))
    (folder / "log.key").chmod(0o644)
    with pytest.raises(Problem, match="readable by others"):
        load_keys(folder, ORIGIN, create=False, sealer=sealer_at(tmp_path))


def test_a_key_of_another_origin_is_refused(tmp_path) -> None:
    load_keys(tmp_path / "keys", ORIGIN, create=True, sealer=sealer_at(tmp_path))
    with pytest.raises(Problem, match="origin"):
        load_keys(tmp_path / "keys", "example.org/other", create=False, sealer=sealer_at(tmp_path))


NAMES = ("log.key", "commitments.key")


def test_the_keys_are_sealed_from_their_first_moment(tmp_path) -> None:
    load_keys(tmp_path / "keys", ORIGIN, create=True, sealer=sealer_at(tmp_path))
    for name in NAMES:
        content = (tmp_path / "keys" / name).read_bytes()
        assert content.startswith(SEALED)
        assert b"PRIVATE+KEY" not in content


def test_keys_from_before_they_were_sealed_go_on_and_are_sealed(tmp_path) -> None:
    folder, sealer = tmp_path / "keys", sealer_at(tmp_path)
    signer, master = Signer(ORIGIN, bytes(32)), bytes(range(32))
    folder.mkdir(mode=0o700)
    for name, text in zip(NAMES, (signer.export(), master.hex()), strict=True):
        (folder / name).write_text(f"{text}\n")
        (folder / name).chmod(0o600)
    for _ in range(2):
        loaded = load_keys(folder, ORIGIN, create=False, sealer=sealer)
        assert str(loaded.signer.verifier) == str(signer.verifier)
        expected = SubjectKeys(master).commitment("anna", b"x")
        assert loaded.subjects.commitment("anna", b"x") == expected
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    for name in NAMES:
        content = (folder / name).read_bytes()
        assert content.startswith(SEALED)
        assert master.hex().encode() not in content


def test_under_a_wrong_key_nothing_opens_and_nothing_is_overwritten(tmp_path) -> None:
    folder = tmp_path / "keys"
    load_keys(folder, ORIGIN, create=True, sealer=sealer_at(tmp_path))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for create in (True, False):
        with pytest.raises(Problem, match="PC7010"):
            load_keys(folder, ORIGIN, create=create, sealer=sealer_at(tmp_path / "other"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_key_of_another_log_or_another_name_does_not_open_here(tmp_path) -> None:
    sealer = sealer_at(tmp_path)
    for name in ("gate", "mcp-files"):
        load_keys(tmp_path / name, ORIGIN, create=True, sealer=sealer)
    place = tmp_path / "gate" / "commitments.key"
    for other in (tmp_path / "mcp-files" / "commitments.key", tmp_path / "gate" / "log.key"):
        place.write_bytes(other.read_bytes())
        with pytest.raises(Problem, match=r"PC7010.*moved"):
            load_keys(tmp_path / "gate", ORIGIN, create=False, sealer=sealer)


def test_after_a_rotation_the_keys_are_brought_under_the_new_version(tmp_path) -> None:
    manager = FileKeyManager(tmp_path / "master.key", create=True)
    sealer, folder = Envelope(manager), tmp_path / "keys"
    first = load_keys(folder, ORIGIN, create=True, sealer=sealer)
    manager.rotate()
    assert not any(sealer.current((folder / name).read_bytes()) for name in NAMES)
    reseal(folder, sealer)
    assert all(sealer.current((folder / name).read_bytes()) for name in NAMES)
    again = load_keys(folder, ORIGIN, create=False, sealer=sealer)
    assert str(again.signer.verifier) == str(first.signer.verifier)
