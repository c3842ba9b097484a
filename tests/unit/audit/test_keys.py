from __future__ import annotations

import pytest

from portcullis.audit.keys import load_keys, reseal
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
    made = first.subjects.commitment("s", b"v")
    first.subjects.flush()
    assert again.subjects.commitment("s", b"v") == made
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["log.key", "subjects.key"])
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
    with pytest.raises(Problem, match=r"not of example\.org/other"):
        load_keys(tmp_path / "keys", "example.org/other", create=False, sealer=sealer_at(tmp_path))


NAMES = ("log.key", "subjects.key")


def test_the_keys_are_sealed_from_their_first_moment(tmp_path) -> None:
    load_keys(tmp_path / "keys", ORIGIN, create=True, sealer=sealer_at(tmp_path))
    for name in NAMES:
        content = (tmp_path / "keys" / name).read_bytes()
        assert content.startswith(SEALED)
        assert b"PRIVATE+KEY" not in content


OLD_NAMES = ("log.key", "commitments.key")


def test_keys_from_before_they_were_sealed_go_on_and_are_sealed(tmp_path) -> None:
    folder, sealer = tmp_path / "keys", sealer_at(tmp_path)
    signer, master = Signer(ORIGIN, bytes(32)), bytes(range(32))
    folder.mkdir(mode=0o700)
    for name, text in zip(OLD_NAMES, (signer.export(), master.hex()), strict=True):
        (folder / name).write_text(f"{text}\n")
        (folder / name).chmod(0o600)
    commitments = set()
    for _ in range(2):
        loaded = load_keys(folder, ORIGIN, create=False, sealer=sealer)
        assert str(loaded.signer.verifier) == str(signer.verifier)
        commitments.add(loaded.subjects.commitment("anna", b"x"))
        loaded.subjects.flush()
    assert len(commitments) == 1
    for name in OLD_NAMES:
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
    place = tmp_path / "gate" / "subjects.key"
    for other in (tmp_path / "mcp-files" / "subjects.key", tmp_path / "gate" / "log.key"):
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
