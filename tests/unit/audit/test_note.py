from __future__ import annotations

import secrets

import pytest

from portcullis.audit.checkpoint import Checkpoint, open_checkpoint
from portcullis.audit.note import Signer, Verifier, decode64, encode64
from portcullis.core.errors import Problem

# the vectors of golang.org/x/mod/sumdb/note
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = (
    f"{TEXT}\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNX"
    "gKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def make(name: str = "example.org/log") -> Signer:
    return Signer(name, secrets.token_bytes(32))


def test_a_note_signed_by_go_opens() -> None:
    assert Verifier.parse(VKEY).open(NOTE.encode()) == TEXT
    assert str(Verifier.parse(VKEY)) == VKEY


def test_what_was_signed_opens_and_keys_survive_being_written() -> None:
    signer = make()
    again = Signer.parse(signer.export())
    note = again.sign("one\n\ntwo\n")
    assert Verifier.parse(str(signer.verifier)).open(note) == "one\n\ntwo\n"


def test_signatures_of_others_are_ignored_and_never_enough() -> None:
    ours, theirs = make(), make("other.example")
    note = ours.sign("text\n") + theirs.sign("text\n").split(b"\n\n")[1]
    assert ours.verifier.open(note) == "text\n"
    with pytest.raises(Problem) as caught:
        make().verifier.open(note)
    assert caught.value.code == "PC6005"


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.replace(b"text", b"Text"),
        lambda note: note[:-1],
        lambda note: note + b"\n",
        lambda note: note.replace(b"\n\n", b"\n"),
        lambda note: note.replace(b"text", b"te\x07t"),
        lambda note: note.replace("\u2014".encode(), b"-"),
        lambda note: b"\xff" + note,
        lambda _: b"",
        lambda note: note.replace(b"=\n", b"\n"),
        lambda note: note * 2**18,
    ],
)
def test_a_changed_or_malformed_note_is_refused(change) -> None:
    signer = make()
    with pytest.raises(Problem) as caught:
        signer.verifier.open(change(signer.sign("text\n")))
    assert caught.value.code == "PC6005"


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        "two words+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        VKEY.replace("c74f20a3", "c74f20a4"),
        VKEY.replace("PeterNeumann", "PeterNeuman"),
        VKEY[:-4],
        VKEY.replace("+ARpc", "+Bhpc"),
    ],
)
def test_a_malformed_key_is_refused(vkey: str) -> None:
    with pytest.raises(Problem) as caught:
        Verifier.parse(vkey)
    assert caught.value.code == "PC6005"


def test_a_private_key_is_not_taken_for_a_public_one() -> None:
    signer = make()
    with pytest.raises(Problem):
        Verifier.parse(signer.export())
    with pytest.raises(Problem):
        Signer.parse(str(signer.verifier))


def test_a_log_cannot_be_named_what_a_note_cannot_carry() -> None:
    for name in ("", "two words", "a+b", "new\nline"):
        with pytest.raises(Problem) as caught:
            make(name)
        assert caught.value.code == "PC7001"


def test_a_checkpoint_survives_being_signed_and_read() -> None:
    signer = make()
    made = Checkpoint(signer.name, 20852163, secrets.token_bytes(32))
    assert open_checkpoint(made.sign(signer), signer.verifier) == made


@pytest.mark.parametrize(
    "body",
    [
        "example.org/log\n7\n{root}\nextension\n",
        "example.org/log\n7\n",
        "example.org/other\n7\n{root}\n",
        "example.org/log\n07\n{root}\n",
        "example.org/log\n-7\n{root}\n",
        "example.org/log\n\u0667\n{root}\n",
        "example.org/log\n99999999999999999999\n{root}\n",
        "example.org/log\n7\n{root}AA==\n",
        "example.org/log\n7\nAAAA\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_of_this_log_is_refused(body: str) -> None:
    signer = make()
    note = signer.sign(body.format(root=encode64(bytes(32))))
    with pytest.raises(Problem) as caught:
        open_checkpoint(note, signer.verifier)
    assert caught.value.code == "PC6005"


def test_base64_has_one_spelling() -> None:
    assert decode64("AAA=") == bytes(2)
    for other in ("AAB=", "AAA", "AA A=", "", "AAA=\n"):
        with pytest.raises(Problem):
            decode64(other)
