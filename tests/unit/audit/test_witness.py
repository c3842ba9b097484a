"""A witness cosigns growth, once per history, whatever a log or its own disk tries."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

import pytest

from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.cosignature import Cosigner
from portcullis.audit.merkle import Tree, fold, leaf_hash
from portcullis.audit.note import Note, Signer, encode64, parse_note, parse_signatures
from portcullis.audit.proofs import consistency_proof
from portcullis.audit.witness import MAX_BODY, Refusal, Witness, open_witness, parse_request
from portcullis.core.errors import Problem
from sealers import sealer_at
from witnesses import Clock

ORIGIN = "example.org/gate"


class Grown:
    """A log in memory: any size of it can be signed and proven."""

    def __init__(self, size: int, salt: bytes = b"") -> None:
        self.signer = Signer(ORIGIN, secrets.token_bytes(32))
        self.leaves = [leaf_hash(salt + bytes([n % 256, n // 256])) for n in range(size)]

    def node(self, level: int, index: int) -> bytes:
        return fold(self.leaves[index << level : (index + 1) << level])

    def note(self, size: int) -> bytes:
        tree = Tree()
        tree.append(self.leaves[:size])
        return Checkpoint(ORIGIN, size, tree.root()).sign(self.signer)

    def request(self, old: int, size: int) -> bytes:
        proof = consistency_proof(self.node, old, size) if old <= size else []
        lines = "".join(f"{encode64(item)}\n" for item in proof)
        return f"old {old}\n{lines}\n".encode() + self.note(size)


@pytest.fixture
def log() -> Grown:
    return Grown(40)


@pytest.fixture
def opened(tmp_path, log):
    made: list[Witness] = []

    def again(clock: Clock | None = None, name: str = "w1.example") -> Witness:
        while made:
            made.pop().close()
        made.append(
            open_witness(
                tmp_path / "w",
                name,
                {ORIGIN: [log.signer.verifier]},
                sealer=sealer_at(tmp_path),
                clock=clock or Clock(),
            )
        )
        return made[0]

    yield again
    for witness in made:
        witness.close()


def refusal(answer: object) -> tuple[int, int | None]:
    assert isinstance(answer, Refusal), answer
    return answer.status, answer.size


def time_of(witness: Witness, note: bytes, line: object) -> int | None:
    assert isinstance(line, str), line
    found = parse_note(note)
    return Cosigner.parse(witness.vkey).cosigned(Note(found.text, parse_signatures(line)))


def test_growth_is_cosigned_and_remembered_over_a_restart(opened, log) -> None:
    witness = opened()
    for old, new in ((0, 3), (3, 8), (8, 8), (8, 40)):
        line = witness.add(log.request(old, new))
        assert time_of(witness, log.note(new), line) == 2_000_000_000
    witness = opened(name="")
    assert refusal(witness.add(log.request(8, 40))) == (409, 40)
    assert isinstance(witness.add(log.request(40, 40)), str)


def test_a_log_that_signs_a_hundred_times_does_not_keep_its_witness_from_starting_again(
    opened, log
) -> None:
    note = parse_note(log.note(3))
    often = bytes(Note(note.text, note.signatures * 100))
    assert isinstance(opened().add(b"old 0\n\n" + often), str)
    assert isinstance(opened(name="").add(log.request(3, 8)), str)


def test_an_empty_log_is_cosigned(opened, log) -> None:
    assert isinstance(opened().add(log.request(0, 0)), str)
    other = Checkpoint(ORIGIN, 0, bytes(32)).sign(log.signer)
    assert refusal(opened().add(b"old 0\n\n" + other)) == (409, 0)


def test_a_fork_a_rollback_and_a_stale_size_are_refused(opened, log) -> None:
    witness = opened()
    assert isinstance(witness.add(log.request(0, 20)), str)
    assert refusal(witness.add(log.request(0, 20))) == (409, 20)
    assert refusal(witness.add(log.request(0, 10))) == (409, 20)
    assert refusal(witness.add(log.request(10, 10))) == (409, 20)
    fork = Grown(40, b"other")
    fork.signer = log.signer
    assert refusal(witness.add(fork.request(20, 20))) == (409, 20)
    assert refusal(witness.add(fork.request(20, 30))) == (422, None)
    assert refusal(witness.add(fork.request(0, 30))) == (409, 20)
    assert isinstance(witness.add(log.request(20, 21)), str)


def test_a_wrong_proof_is_refused(opened, log) -> None:
    witness = opened()
    good = encode64(bytes(32))
    assert refusal(witness.add(f"old 0\n{good}\n\n".encode() + log.note(9))) == (422, None)
    assert isinstance(witness.add(log.request(0, 9)), str)
    body = log.request(9, 20)
    lines = body.split(b"\n")
    assert refusal(witness.add(b"\n".join([lines[0], *lines[2:]]))) == (422, None)
    swapped = b"\n".join([lines[0], lines[2], lines[1], *lines[3:]])
    assert refusal(witness.add(swapped)) == (422, None)
    assert refusal(witness.add(f"old 9\n{good}\n\n".encode() + log.note(9))) == (422, None)
    assert isinstance(witness.add(body), str)


def test_other_logs_and_other_keys_are_refused(opened, log) -> None:
    witness = opened()
    stranger = Signer("example.org/other", secrets.token_bytes(32))
    note = Checkpoint(stranger.name, 1, bytes(32)).sign(stranger)
    assert refusal(witness.add(b"old 0\n\n" + note)) == (404, None)
    thief = Signer(ORIGIN, secrets.token_bytes(32))
    note = Checkpoint(ORIGIN, 1, bytes(32)).sign(thief)
    assert refusal(witness.add(b"old 0\n\n" + note)) == (403, None)
    edited = log.note(3).replace(b"\n3\n", b"\n4\n")
    assert refusal(witness.add(b"old 0\n\n" + edited)) == (403, None)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: b"",
        lambda body: body.replace(b"old 0", b"old 00"),
        lambda body: body.replace(b"old 0", b"old -1"),
        lambda body: body.replace(b"old 0", b"old 9223372036854775808"),
        lambda body: body.replace(b"old 0", b"new 0"),
        lambda body: body.replace(b"old 0", b"old  0"),
        lambda body: body.replace(b"old 0\n", b"old 0\nAAAA\n"),
        lambda body: body.replace(b"old 0\n", b"old 0\n" + b"A" * 44 + b"\n"),
        lambda body: body.replace(b"old 0\n", b"old 0\n" + encode64(bytes(32)).encode() * 64),
        lambda body: body.replace(b"old 0\n\n", b"old 0\n"),
        lambda body: body.replace(b"old 0", b"old 4"),
        lambda body: body[:-3],
        lambda body: b"\xff" + body,
    ],
)
def test_a_request_that_is_malformed_or_asks_backwards_is_a_bad_one(opened, log, change) -> None:
    assert refusal(opened().add(change(log.request(0, 3)))) == (400, None)


def test_at_most_63_hashes_are_read() -> None:
    line = f"{encode64(bytes(32))}\n"
    note = b"x\n0\ny\n\n\xe2\x80\x94 x AAAAAAA=\n"
    assert len(parse_request(f"old 0\n{line * 63}\n".encode() + note).proof) == 63
    with pytest.raises(Problem):
        parse_request(f"old 0\n{line * 64}\n".encode() + note)
    assert len(f"old 0\n{line * 63}\n") < MAX_BODY


def test_signatures_of_others_on_the_checkpoint_do_not_matter(opened, log) -> None:
    other = Signer("mirror.example", secrets.token_bytes(32))
    note = parse_note(log.note(5))
    theirs = parse_note(other.sign(note.text)).signatures
    both = bytes(Note(note.text, (*theirs, *note.signatures)))
    assert isinstance(opened().add(b"old 0\n\n" + both), str)


def test_what_was_seen_is_on_disk_before_the_cosignature_leaves(opened, log, monkeypatch) -> None:
    witness = opened()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        witness.add(log.request(0, 5))
    monkeypatch.undo()
    assert isinstance(witness.add(log.request(0, 7)), str)
    assert refusal(opened().add(log.request(0, 7))) == (409, 7)


def test_of_two_forks_that_race_only_one_is_cosigned(opened, log) -> None:
    witness = opened()
    fork = Grown(40, b"other")
    fork.signer = log.signer
    start, answers = threading.Barrier(8), []

    def ask(body: bytes) -> None:
        start.wait(5)
        answers.append(witness.add(body))

    bodies = [each.request(0, 30) for each in (log, fork)] * 4
    threads = [threading.Thread(target=ask, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sum(isinstance(answer, str) for answer in answers) == 1
    assert {refusal(answer) for answer in answers if not isinstance(answer, str)} == {(409, 30)}


def test_a_clock_set_back_makes_no_older_cosignature(opened, log) -> None:
    clock = Clock()
    witness = opened(clock)
    assert isinstance(witness.add(log.request(0, 5)), str)
    clock.at -= 3600
    assert refusal(witness.add(log.request(5, 6))) == (503, None)
    assert refusal(opened(clock).add(log.request(5, 6))) == (503, None)
    clock.at += 3600
    assert isinstance(witness.add(log.request(5, 6)), str)


def lose(what: str, folder: Path) -> None:
    seen = next((folder / "seen").iterdir())
    match what:
        case "list":
            (folder / "origins").unlink()
        case "key":
            (folder / "witness.key").unlink()
        case "file":
            seen.unlink()
        case "edited":
            seen.write_bytes(seen.read_bytes().replace(b"\n9\n", b"\n8\n"))
        case "uncosigned":
            note = parse_note(seen.read_bytes())
            seen.write_bytes(bytes(Note(note.text, note.signatures[:1])))
        case "folder":
            seen.unlink()
            (folder / "seen").rmdir()


@pytest.mark.parametrize("what", ["list", "key", "file", "edited", "uncosigned", "folder"])
def test_a_witness_that_lost_what_it_saw_does_not_start(opened, log, tmp_path, what) -> None:
    witness = opened()
    assert isinstance(witness.add(log.request(0, 9)), str)
    lose(what, tmp_path / "w")
    for _ in range(2):
        with pytest.raises(Problem) as caught:
            opened()
        assert caught.value.code == "PC6008"
    assert "new key" in caught.value.hint


def test_one_process_is_one_witness_and_its_key_is_its_own(opened, log, tmp_path) -> None:
    opened()
    with pytest.raises(Problem) as caught:
        open_witness(tmp_path / "w", "w1.example", {}, sealer=sealer_at(tmp_path), clock=Clock())
    assert caught.value.code == "PC6003"
    key = tmp_path / "w/witness.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in key.read_bytes()
    with pytest.raises(Problem) as caught:
        opened(name="w2.example")
    assert caught.value.code == "PC6002"
