import itertools
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.core.errors import Problem
from portcullis.core.ports import SEALED
from portcullis.identity import sealing
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope


class Counting:
    """A key manager that counts what it is asked."""

    def __init__(self, manager):
        self._manager = manager
        self.wraps = self.unwraps = 0

    @property
    def version(self):
        return self._manager.version

    def wrap(self, key, context):
        self.wraps += 1
        return self._manager.wrap(key, context)

    def unwrap(self, wrapped, context):
        self.unwraps += 1
        return self._manager.unwrap(wrapped, context)

    def rotate(self):
        return self._manager.rotate()


@pytest.fixture
def manager(tmp_path):
    return Counting(FileKeyManager(tmp_path / "master.key", create=True))


@pytest.fixture
def sealer(manager):
    return Envelope(manager)


@given(plaintext=st.binary(max_size=300), purpose=st.text(max_size=40))
@settings(max_examples=60)
def test_what_was_sealed_opens_and_shows_nothing(tmp_path_factory, plaintext, purpose):
    folder = tmp_path_factory.mktemp("keys")
    first = Envelope(FileKeyManager(folder / "master.key", create=True))
    again = Envelope(FileKeyManager(folder / "master.key", create=False))
    sealed = first.seal(plaintext, purpose)
    assert again.open(sealed, purpose) == plaintext
    assert sealed.startswith(SEALED)
    assert len(plaintext) < 8 or plaintext not in sealed
    assert sealed != first.seal(plaintext, purpose)


def test_a_sealed_value_moved_elsewhere_does_not_open(sealer):
    sealed = sealer.seal(b"prompt", "sessions:a")
    for other in ("sessions:b", "operators:a", "", "sessions:a\0"):
        with pytest.raises(Problem, match=r"PC7010.*moved"):
            sealer.open(sealed, other)


def test_no_bit_of_a_sealed_value_can_be_changed(sealer):
    sealed = sealer.seal(b"prompt", "sessions:a")
    for at, bit in itertools.product(range(len(sealed)), (0, 7)):
        altered = bytearray(sealed)
        altered[at] ^= 1 << bit
        with pytest.raises(Problem, match="PC7010"):
            sealer.open(bytes(altered), "sessions:a")


@given(data=st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(SEALED.__add__)))
@settings(max_examples=200)
def test_nonsense_is_refused_and_never_a_fault(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    sealer = Envelope(FileKeyManager(folder / "nonsense.key", create=True))
    with pytest.raises(Problem, match="PC7010"):
        sealer.open(data, "p")


def test_every_cut_of_a_sealed_value_is_refused(sealer):
    sealed = sealer.seal(b"prompt", "p")
    for end in range(len(sealed)):
        with pytest.raises(Problem, match="PC7010"):
            sealer.open(sealed[:end], "p")


def test_another_key_does_not_open_it(sealer, tmp_path):
    other = Envelope(FileKeyManager(tmp_path / "other.key", create=True))
    with pytest.raises(Problem, match="PC7010"):
        other.open(sealer.seal(b"prompt", "p"), "p")


def test_reading_many_values_asks_the_key_manager_once_per_data_key(manager):
    sealed = []
    for _ in range(3):
        writer = Envelope(manager)
        sealed += [writer.seal(b"x", f"p:{number}") for number in range(50)]
    assert manager.wraps == 3
    reader = Envelope(manager)
    for number, value in enumerate(sealed):
        assert reader.open(value, f"p:{number % 50}") == b"x"
    assert manager.unwraps == 3


def test_a_data_key_is_replaced_before_its_nonces_could_repeat(manager, monkeypatch):
    monkeypatch.setattr(sealing, "MESSAGES", 10)
    sealer = Envelope(manager)
    sealed = [sealer.seal(b"x", "p") for _ in range(25)]
    assert manager.wraps == 3
    assert all(sealer.open(value, "p") == b"x" for value in sealed)


def test_rotation_acts_at_once_and_old_values_stay_readable(manager, sealer):
    old = sealer.seal(b"x", "p")
    assert sealer.current(old)
    manager.rotate()
    new = sealer.seal(b"x", "p")
    assert (sealer.current(old), sealer.current(new)) == (False, True)
    assert sealer.open(old, "p") == sealer.open(new, "p") == b"x"


def test_values_of_a_former_key_manager_open_and_are_not_current(sealer, tmp_path):
    old = sealer.seal(b"x", "p")
    new = FileKeyManager(tmp_path / "new.key", create=True)
    moved = Envelope(new, FileKeyManager(tmp_path / "master.key", create=False))
    assert moved.open(old, "p") == b"x"
    assert not moved.current(old)
    assert Envelope(new).open(moved.seal(b"x", "p"), "p") == b"x"


def test_a_key_manager_that_does_not_answer_is_not_taken_for_a_wrong_key(manager, sealer):
    sealed = sealer.seal(b"x", "p")

    def down(wrapped, context):
        raise Problem("PC7005", "does not answer")

    manager.unwrap = down
    with pytest.raises(Problem, match="PC7005"):
        Envelope(manager, manager).open(sealed, "p")


def test_what_is_no_sealed_value_has_no_version(sealer):
    with pytest.raises(Problem, match="PC7010"):
        sealer.current(secrets.token_bytes(100))
