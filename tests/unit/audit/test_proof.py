from __future__ import annotations

import secrets

import pytest

from portcullis.audit.note import Signer, Verifier, encode64
from portcullis.audit.proof import prove, verify_proof
from portcullis.audit.query import find
from portcullis.core.errors import Problem


def test_every_event_of_a_log_can_be_proven_with_the_public_key_alone(place, event) -> None:
    place.fill(520)
    verifier = Verifier.parse(str(place.verifier))
    for number in (0, 1, 255, 256, 511, 519):
        record = find(place.log, place.verifier, event(number).id)
        proven = verify_proof(prove(place.log, place.verifier, record.index), verifier)
        assert (proven.index, proven.entry) == (number, record.entry)


def test_the_proof_is_in_the_published_format(place) -> None:
    place.fill(3)
    lines = prove(place.log, place.verifier, 2).split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1].startswith("extra ")
    assert lines[2] == "index 2"
    assert len(lines[3]) == 44
    assert lines[4] == ""
    assert "\n".join(lines[5:]).encode() == place.checkpoint


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("index 2", "index 1"),
        lambda text: text.replace("index 2", "index 02"),
        lambda text: text.replace("index 2", "index -2"),
        lambda text: text.replace("index 2", "index " + "9" * 5000),
        lambda text: text.replace("extra ", "extra AAAA"),
        lambda text: text.replace("extra ", "other "),
        lambda text: text.replace("@v1", "@v2"),
        lambda text: text.replace("\n3\n", "\n4\n"),
        lambda text: text.replace("\n\n", "\n" + encode64(bytes(32)) + "\n\n", 1),
        lambda text: text.replace("\n\n", "\n" + encode64(bytes(31)) + "\n\n", 1),
        lambda text: "\n".join(line for n, line in enumerate(text.split("\n")) if n != 3),
        lambda text: text[:-2],
        lambda _: "",
    ],
)
def test_a_changed_proof_is_refused(place, change) -> None:
    place.fill(3)
    text = prove(place.log, place.verifier, 2)
    with pytest.raises(Problem) as caught:
        verify_proof(change(text), place.verifier)
    assert caught.value.code == "PC6005"


def test_a_proof_under_another_key_is_refused(place) -> None:
    place.fill(3)
    text = prove(place.log, place.verifier, 2)
    other = Signer("example.org/gate", secrets.token_bytes(32)).verifier
    with pytest.raises(Problem) as caught:
        verify_proof(text, other)
    assert caught.value.code == "PC6005"


def test_an_unpublished_entry_cannot_be_proven(place) -> None:
    place.fill(3)
    for number in (3, -1):
        with pytest.raises(Problem) as caught:
            prove(place.log, place.verifier, number)
        assert caught.value.code == "PC6004"


def test_no_proof_is_made_from_tampered_files(place) -> None:
    place.fill(3)
    tile = place.log / "tile/0/000.p/3"
    tile.write_bytes(bytes(96))
    with pytest.raises(Problem) as caught:
        prove(place.log, place.verifier, 1)
    assert caught.value.code == "PC6005"
