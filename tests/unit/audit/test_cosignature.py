from __future__ import annotations

import hashlib
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.cosignature import Cosigner, WitnessSigner
from portcullis.audit.note import Note, Signature, Signer, Verifier, decode64, parse_note
from portcullis.core.errors import Problem

TIME = 1_679_315_147


@pytest.fixture
def log() -> Signer:
    return Signer("example.com/behind-the-sofa", secrets.token_bytes(32))


@pytest.fixture
def witness() -> WitnessSigner:
    return WitnessSigner("witness.example.com/w1", secrets.token_bytes(32))


def checkpoint(log: Signer, size: int = 20852163) -> Note:
    return parse_note(Checkpoint(log.name, size, bytes(32)).sign(log))


def test_a_cosignature_is_what_the_specification_says_byte_for_byte(log, witness) -> None:
    note = checkpoint(log)
    line = witness.cosign(note.text, TIME).line()
    name, field = line.removeprefix("\u2014 ").removesuffix("\n").split(" ")
    data, public = decode64(field), witness.verifier.public
    assert name == "witness.example.com/w1"
    assert data[:4] == hashlib.sha256(name.encode() + b"\n\x04" + public).digest()[:4]
    assert data[4:12] == TIME.to_bytes(8, "big")
    message = f"cosignature/v1\ntime {TIME}\n{note.text}".encode()
    Ed25519PublicKey.from_public_bytes(public).verify(data[12:], message)


def test_keys_of_witnesses_and_of_logs_are_not_taken_for_each_other(log, witness) -> None:
    vkey = str(witness.verifier)
    assert str(Cosigner.parse(vkey)) == vkey
    assert WitnessSigner.parse(witness.export()).export() == witness.export()
    for parse, key in (
        (Verifier.parse, vkey),
        (Cosigner.parse, str(log.verifier)),
        (Signer.parse, witness.export()),
        (WitnessSigner.parse, log.export()),
    ):
        with pytest.raises(Problem) as caught:
            parse(key)
        assert caught.value.code == "PC6005"


def test_the_latest_of_a_witness_cosignatures_counts_and_others_do_not(log, witness) -> None:
    cosigner = Cosigner.parse(str(witness.verifier))
    note = checkpoint(log)
    assert cosigner.cosigned(note) is None
    twice = [witness.cosign(note.text, TIME), witness.cosign(note.text, TIME + 60)]
    other = WitnessSigner(witness.name, secrets.token_bytes(32)).cosign(note.text, TIME + 99)
    signed = Note(note.text, (*note.signatures, *twice, other))
    assert cosigner.cosigned(parse_note(bytes(signed))) == TIME + 60
    assert log.verifier.open(bytes(signed)) == note.text


def test_a_cosignature_that_was_moved_changed_or_cut_is_refused(log, witness) -> None:
    cosigner = Cosigner.parse(str(witness.verifier))
    note = checkpoint(log)
    good = witness.cosign(note.text, TIME)
    later = (TIME + 1).to_bytes(8, "big") + good.bytes[8:]
    beyond = (2**63).to_bytes(8, "big") + good.bytes[8:]
    for text, raw in (
        (checkpoint(log, 7).text, good.bytes),
        (note.text, later),
        (note.text, beyond),
        (note.text, good.bytes[:-1]),
        (note.text, good.bytes + b"\0"),
    ):
        with pytest.raises(Problem) as caught:
            cosigner.cosigned(Note(text, (Signature(good.name, good.key_id, raw),)))
        assert caught.value.code == "PC6005"
