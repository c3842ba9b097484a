"""Content for its recipients alone: HPKE that others can open too, and that nobody else can."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey

from portcullis.audit.content import ContentStore, forget
from portcullis.audit.recipients import (
    MAGIC,
    Recipients,
    load_identity,
    load_recipients,
    make_identity,
    parse,
    sealed,
)
from portcullis.audit.subjects import SubjectKeys
from portcullis.config.content import Content
from portcullis.core.errors import Problem
from sealers import sealer_at

TEXT = b'"It lies at the depot"'
SAID = {"arguments.body": TEXT, "arguments.note": b'"ring twice"'}
COMMITTED = {name: f"hmac-sha256:{name}" for name in SAID}


def pair(folder: Path, name: str = "reader") -> tuple[Path, str]:
    """A private key's file, and the public key in PEM."""
    path = folder / f"{name}.pem"
    return path, make_identity(path)


def recipients(folder: Path, *publics: str) -> Recipients:
    path = folder / "readers.pem"
    path.write_text("# who reads\n" + "".join(publics))
    return load_recipients(path)


def refusal(code: str):
    return pytest.raises(Problem, match=code)


def test_each_recipient_opens_what_was_sealed_and_nobody_else(tmp_path: Path) -> None:
    (ada, for_ada), (bob, for_bob), (eve, _) = (pair(tmp_path, n) for n in ("ada", "bob", "eve"))
    made = recipients(tmp_path, for_ada, for_bob)
    envelopes = made.seal("e1", SAID, COMMITTED)
    assert not any(word in b"".join(envelopes.values()) for word in (b"depot", b"ring"))
    for path in (ada, bob):
        identity = load_identity(path)
        assert identity.name in made.names
        for name, value in SAID.items():
            assert identity.open("e1", name, envelopes[name]) == (value, COMMITTED[name])
    with refusal("PC6051"):
        load_identity(eve).open("e1", "arguments.body", envelopes["arguments.body"])


def test_an_envelope_is_of_one_event_and_one_field(tmp_path: Path) -> None:
    path, public = pair(tmp_path)
    identity = load_identity(path)
    one = recipients(tmp_path, public).seal("e1", SAID, COMMITTED)["arguments.body"]
    assert identity.open("e1", "arguments.body", one)[0] == TEXT
    for event, field in (("e2", "arguments.body"), ("e1", "arguments.note")):
        with refusal("PC6052"):
            identity.open(event, field, one)
    read = parse(one)
    for place in ("nonce", "sealed"):
        flipped = bytes([getattr(read, place)[0] ^ 1]) + getattr(read, place)[1:]
        altered = msgspec.structs.replace(read, **{place: flipped})
        with refusal("PC6052"):
            identity.open("e1", "arguments.body", MAGIC + msgspec.msgpack.encode(altered))
    for cut in (b"", MAGIC, one[:-1], TEXT):
        with refusal("PC6052"):
            identity.open("e1", "arguments.body", cut)


def test_another_implementation_of_hpke_opens_it(tmp_path: Path) -> None:
    """By what the documentation says of the format, and nothing of ours."""
    path, public = pair(tmp_path)
    envelope = recipients(tmp_path, public).seal("e1", SAID, COMMITTED)["arguments.body"]
    commitment, keys, nonce, body = msgspec.msgpack.decode(envelope[5:])
    ((_, wrapped),) = keys.items()
    suite = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)
    private = KEMKey.from_pem(path.read_text())
    info = b"portcullis/content/v1\0e1"
    key = suite.create_recipient_context(wrapped[:32], private, info=info).open(wrapped[32:])
    inside = AESGCM(key).decrypt(nonce, body, b"e1\0arguments.body")
    assert msgspec.msgpack.decode(inside) == [commitment, TEXT]


def test_what_another_implementation_sealed_opens_here(tmp_path: Path) -> None:
    path, public = pair(tmp_path)
    suite = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)
    key, nonce = os.urandom(32), os.urandom(12)
    theirs = KEMKey.from_pyca_cryptography_key(load_pem_public_key(public.encode()))
    enc, sender = suite.create_sender_context(theirs, info=b"portcullis/content/v1\0e1")
    inside = AESGCM(key).encrypt(nonce, msgspec.msgpack.encode(["c", TEXT]), b"e1\0request")
    identity = load_identity(path)
    made = [  # what stands in an envelope, in its order
        "c",
        {identity.name: enc + sender.seal(key)},
        nonce,
        inside,
    ]
    assert identity.open("e1", "request", MAGIC + msgspec.msgpack.encode(made)) == (TEXT, "c")


def test_keys_that_openssl_made_are_good(tmp_path: Path) -> None:
    path = tmp_path / "openssl.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "X25519", "-out", str(path)], check=True, timeout=20
    )
    path.chmod(0o600)
    done = subprocess.run(
        ["openssl", "pkey", "-in", str(path), "-pubout"],
        check=True,
        timeout=20,
        capture_output=True,
    )
    envelope = recipients(tmp_path, done.stdout.decode()).seal("e", {"request": TEXT}, {})[
        "request"
    ]
    assert load_identity(path).open("e", "request", envelope) == (TEXT, "")


def test_files_that_are_no_keys_are_refused_with_a_reason(tmp_path: Path) -> None:
    path, public = pair(tmp_path)
    for text in ("", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", public * 0):
        with refusal("PC6050"):
            recipients(tmp_path, text)
    with pytest.raises(Problem, match="private key"):
        recipients(tmp_path, public, path.read_text())
    with refusal("PC6050"):
        load_recipients(tmp_path / "nowhere.pem")
    with refusal("PC6051"):  # never over another one
        make_identity(path)
    path.chmod(0o640)
    with refusal("PC6051"):
        load_identity(path)


def test_a_private_key_may_have_a_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "guarded.pem"
    public = make_identity(path, b"correct horse")
    one = recipients(tmp_path, public).seal("e", {"request": TEXT}, {})["request"]
    assert load_identity(path, b"correct horse").open("e", "request", one)[0] == TEXT
    for wrong in (None, b"battery staple"):
        with refusal("PC6051"):
            load_identity(path, wrong)


def test_recipients_are_of_content_that_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="encrypt_to"):
        Content(encrypt_to=tmp_path / "readers.pem")
    assert Content(keep="arguments", encrypt_to=tmp_path / "readers.pem").encrypt_to


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[SubjectKeys]:
    opened = SubjectKeys(tmp_path / "subjects.db", bytes(32), sealer_at(tmp_path))
    yield opened
    opened.close()


def test_the_store_holds_envelopes_and_an_erasure_takes_them_too(tmp_path, keys, event) -> None:
    path, public = pair(tmp_path)
    place = tmp_path / "content" / "gate.db"
    store = ContentStore(
        *(place, keys), results=True, most_bytes=2**20, recipients=recipients(tmp_path, public)
    )
    try:
        one = msgspec.structs.replace(event(1), commitments={"arguments.body": "hmac-sha256:x"})
        store.keep(one, "user:anna", {"arguments.body": TEXT, "user": MAGIC + b"anna"})
        for _ in range(500):
            try:
                found = {field.name: field for field in store.read(one.id)}
                break
            except Problem:
                time.sleep(0.005)
        body, user = found["arguments.body"], found["user"]
        assert sealed(body.value)
        assert body.sealed
        assert body.commitment == "hmac-sha256:x"
        # The rule of four eyes needs it, whatever an application calls its users.
        assert (user.value, user.sealed) == (MAGIC + b"anna", False)
        assert store.readers == (load_identity(path).name,)
        identity = load_identity(path)
        assert identity.open(one.id, "arguments.body", body.value) == (TEXT, "hmac-sha256:x")
        assert forget(place, [keys.handle("user:anna")]) == 2
        with refusal("PC6041"):
            store.read(one.id)
    finally:
        store.close()
