from __future__ import annotations

import hmac

import pytest

from portcullis.audit.keys import SubjectKeys, load_keys
from portcullis.core.errors import Problem

ORIGIN = "example.org/gate"


def test_keys_are_made_once_and_readable_by_their_owner_only(tmp_path) -> None:
    folder = tmp_path / "keys"
    first = load_keys(folder, ORIGIN, create=True)
    again = load_keys(folder, ORIGIN, create=True)
    assert str(first.signer.verifier) == str(again.signer.verifier)
    assert first.subjects.commitment("s", b"v") == again.subjects.commitment("s", b"v")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_commitments_link_equal_values_of_one_subject_only(tmp_path) -> None:
    subjects = load_keys(tmp_path / "keys", ORIGIN, create=True).subjects
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
    load_keys(folder, ORIGIN, create=True)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(Problem) as caught:
        load_keys(folder, ORIGIN, create=False)
    assert caught.value.code == "PC6002"


def test_a_key_that_others_can_read_is_refused(tmp_path) -> None:
    folder = tmp_path / "keys"
    load_keys(folder, ORIGIN, create=True)
    (folder / "log.key").chmod(0o644)
    with pytest.raises(Problem, match="readable by others"):
        load_keys(folder, ORIGIN, create=False)


def test_a_key_of_another_origin_is_refused(tmp_path) -> None:
    load_keys(tmp_path / "keys", ORIGIN, create=True)
    with pytest.raises(Problem, match="origin"):
        load_keys(tmp_path / "keys", "example.org/other", create=False)
