"""A proof of an event is checked by sigstore's verifier of Rekor entries, which is not ours.

What it checks: the checkpoint's Ed25519 signature over the note, found by the key id of the
signature line; that the inclusion proof has the root that was signed; that the entry's bytes
hash to that root at this place. It leaves the rest to its caller: that the proof's size is the
signed one, and whose name the checkpoint and the line have. Cosignatures it reads past.
"""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from sigstore._internal.rekor.checkpoint import SignedCheckpoint
from sigstore._internal.trust import Keyring, RekorKeyring
from sigstore.errors import VerificationError
from sigstore.models import TransparencyLogEntry
from sigstore_models.common.v1 import PublicKey, PublicKeyDetails
from sigstore_models.rekor.v1 import TransparencyLogEntry as Fields
from typer.testing import CliRunner

import tampering
from audit_logs import Log
from portcullis.audit import merkle, note, proof
from portcullis.audit.checkpoint import Checkpoint, open_checkpoint
from portcullis.audit.note import Verifier, parse_note
from portcullis.audit.proof import verify_proof
from portcullis.cli.audit import app
from portcullis.core.errors import Problem

SIZE = 300
ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: what stands before the key


def proven(log: Path, event_id: str) -> str:
    """What ``portcullis audit prove`` prints."""
    done = CliRunner().invoke(app, ["prove", event_id, str(log)])
    assert done.exit_code == 0, done.output
    return done.stdout


def fields(text: str, verifier: Verifier) -> dict[str, Any]:
    """A C2SP tlog-proof as the JSON of a Rekor entry: nothing is computed but the key id."""
    head, _, envelope = text.partition("\n\n")
    extra, index, *path = head.split("\n")[1:]
    _, size, root = envelope.split("\n")[:3]
    hinted = hashlib.sha256(verifier.name.encode() + b"\n\x01" + verifier.public).digest()
    number = index.removeprefix("index ")
    return {
        "logIndex": number,
        "logId": {"keyId": base64.b64encode(hinted).decode()},
        "kindVersion": {"kind": "event", "version": "1"},
        "canonicalizedBody": extra.removeprefix("extra "),
        "inclusionProof": {
            "logIndex": number,
            "treeSize": size,
            "rootHash": root,
            "hashes": path,
            "checkpoint": {"envelope": envelope},
        },
    }


def keyring(verifier: Verifier) -> RekorKeyring:
    """sigstore's key ring with the log's key in it."""
    key = load_der_public_key(ED25519_SPKI + verifier.public)
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = PublicKey(raw_bytes=base64.b64encode(der), key_details=PublicKeyDetails.PKIX_ED25519)
    return RekorKeyring(Keyring([public]))


def check(found: dict[str, Any], verifier: Verifier) -> None:
    """sigstore's whole verification of a log entry; VerificationError when it does not hold."""
    TransparencyLogEntry(Fields.from_dict(found))._verify(keyring(verifier))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    made = Log(tmp_path_factory.mktemp("log"))
    made.grow(SIZE)
    return made


@pytest.fixture(params=[0, 137, 255, 256, SIZE - 1])
def found(request: pytest.FixtureRequest, log: Log) -> dict[str, Any]:
    return fields(proven(log.directory, f"0-{request.param}"), log.verifier)


def flipped(encoded: str) -> Iterator[str]:
    """The same bytes in base64, each time with one bit of another byte changed."""
    data = base64.b64decode(encoded)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << random.Random(place).randrange(8)
        yield base64.b64encode(changed).decode()


def refused(found: dict[str, Any], verifier: Verifier, said: str) -> None:
    with pytest.raises(VerificationError, match=said):
        check(found, verifier)


def test_sigstore_reads_our_checkpoint_as_we_do(log: Log) -> None:
    published = (log.directory / "checkpoint").read_bytes()
    ours = open_checkpoint(published, log.verifier)
    theirs = SignedCheckpoint.from_text(published.decode())
    assert theirs.checkpoint.origin == ours.origin
    assert theirs.checkpoint.log_size == ours.size == SIZE
    assert theirs.checkpoint.log_hash == ours.root.hex()
    assert theirs.checkpoint.other_content == []
    (line,) = theirs.signed_note.signatures
    assert (line.name, line.sig_hash) == (log.verifier.name, log.verifier.id)
    assert base64.b64decode(line.signature) == parse_note(published).signatures[0].bytes


def test_sigstore_verifies_a_proof_that_the_command_wrote(found: dict[str, Any], log: Log) -> None:
    check(found, log.verifier)


def test_one_changed_bit_in_any_byte_of_the_entry_is_refused(
    found: dict[str, Any], log: Log
) -> None:
    for body in flipped(found["canonicalizedBody"]):
        refused({**found, "canonicalizedBody": body}, log.verifier, "invalid root hash")


def test_one_changed_bit_in_any_byte_of_path_or_root_is_refused(
    found: dict[str, Any], log: Log
) -> None:
    proof = found["inclusionProof"]
    assert proof["hashes"]
    for number, one in enumerate(proof["hashes"]):
        for other in flipped(one):
            hashes = [*proof["hashes"][:number], other, *proof["hashes"][number + 1 :]]
            changed = {**found, "inclusionProof": {**proof, "hashes": hashes}}
            refused(changed, log.verifier, "invalid root hash")
    for root in flipped(proof["rootHash"]):
        changed = {**found, "inclusionProof": {**proof, "rootHash": root}}
        refused(changed, log.verifier, "invalid root hash")


def test_another_place_or_a_path_cut_short_is_refused(found: dict[str, Any], log: Log) -> None:
    proof = found["inclusionProof"]
    for other in {0, 1, 137, 255, 256, SIZE - 1} - {int(found["logIndex"])}:
        changed = {**found, "inclusionProof": {**proof, "logIndex": str(other)}}
        refused(changed, log.verifier, "wrong size|invalid root hash")
    for hashes in (proof["hashes"][:-1], [*proof["hashes"], proof["rootHash"]]):
        changed = {**found, "inclusionProof": {**proof, "hashes": hashes}}
        refused(changed, log.verifier, "wrong size")


def test_one_changed_bit_in_any_byte_of_the_signed_note_is_refused(log: Log) -> None:
    found = fields(proven(log.directory, "0-7"), log.verifier)
    check(found, log.verifier)
    envelope = found["inclusionProof"]["checkpoint"]["envelope"].encode()
    text, name = envelope.index(b"\n\n") + 1, log.verifier.name.encode()
    signature = envelope.index(name, text) + len(name) + 1
    for place in [*range(text), *range(signature, len(envelope) - 3)]:  # behind: base64's last bits
        changed = copy.deepcopy(found)
        note = bytearray(envelope)
        note[place] ^= 1
        changed["inclusionProof"]["checkpoint"]["envelope"] = note.decode()
        with pytest.raises((VerificationError, binascii.Error)):
            check(changed, log.verifier)


def test_a_checkpoint_of_another_key_or_of_another_tree_is_refused(
    found: dict[str, Any], log: Log, tmp_path: Path
) -> None:
    other = Log(tmp_path)
    other.grow(SIZE, "another")
    elsewhere = fields(proven(other.directory, f"0-another{found['logIndex']}"), other.verifier)
    check(elsewhere, other.verifier)
    refused(elsewhere, log.verifier, "invalid signature")
    refused({**found, "logId": elsewhere["logId"]}, log.verifier, "Signature not found")
    checkpoint = elsewhere["inclusionProof"]["checkpoint"]
    mixed = {**found, "inclusionProof": {**found["inclusionProof"], "checkpoint": checkpoint}}
    refused({**mixed, "logId": elsewhere["logId"]}, other.verifier, "root hash signature")


@pytest.mark.parametrize("prefix", [0, 1])
def test_a_log_whose_hash_differs_in_one_bit_is_proven_by_us_and_refused_by_sigstore(
    prefix: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sha256(data: bytes = b"") -> hashlib._Hash:
        changed = bytes([prefix ^ 2]) + data[1:] if data[:1] == bytes([prefix]) else data
        return hashlib.sha256(changed)

    monkeypatch.setattr(merkle, "sha256", sha256)
    log = Log(tmp_path)
    log.grow(SIZE)
    text = proven(log.directory, "0-7")
    assert verify_proof(text, log.verifier).index == 7
    refused(fields(text, log.verifier), log.verifier, "invalid root hash")


def test_a_note_that_signs_another_text_is_refused_by_sigstore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sign(head: Checkpoint, signer: note.Signer) -> bytes:
        root = note.encode64(head.root)
        signed = parse_note(signer.sign(f"{head.origin}\n{head.size}\n{root}\n\n"))
        return bytes(note.Note(f"{head.origin}\n{head.size}\n{root}\n", signed.signatures))

    monkeypatch.setattr(Checkpoint, "sign", sign)
    monkeypatch.setattr(Verifier, "_verify", lambda *_: None)
    monkeypatch.setattr(proof, "verify_proof", lambda *_: None)
    log = Log(tmp_path)
    log.grow(SIZE)
    refused(fields(proven(log.directory, "0-7"), log.verifier), log.verifier, "invalid signature")


def test_sigstore_verifies_a_checkpoint_that_witnesses_have_cosigned(tmp_path: Path) -> None:
    scene = tampering.build(tmp_path)
    assert len(scene.quorum.met(scene.note, time.time()).times) >= 2
    text = proven(scene.log, f"{42:032x}")
    found = fields(text, scene.verifier)
    lines = SignedCheckpoint.from_text(found["inclusionProof"]["checkpoint"]["envelope"])
    assert len(lines.signed_note.signatures) >= 3
    check(found, scene.verifier)
    for body in flipped(found["canonicalizedBody"]):
        refused({**found, "canonicalizedBody": body}, scene.verifier, "invalid root hash")


def test_size_and_name_are_ours_to_check_and_not_sigstores(log: Log) -> None:
    text = proven(log.directory, "0-0")
    found = fields(text, log.verifier)
    found["inclusionProof"]["treeSize"] = str(SIZE + 1)  # the same path leads up from entry 0
    check(found, log.verifier)
    assert verify_proof(text, log.verifier).checkpoint.size == SIZE
    other = text.replace(f"\u2014 {log.verifier.name} ", "\u2014 example.org/another ")
    check(fields(other, log.verifier), log.verifier)
    with pytest.raises(Problem, match="PC6005"):
        verify_proof(other, log.verifier)
