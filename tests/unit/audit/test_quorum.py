from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest

from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.cosignature import WitnessSigner
from portcullis.audit.note import Note, Signer, parse_note
from portcullis.audit.quorum import cosigned_by, load_quorum, parse_quorum
from portcullis.core.errors import Problem

DOCS = Path(__file__).parents[3] / "docs" / "audit.md"
NOW = 2_000_000_000
LOG = Signer("example.com/log", secrets.token_bytes(32))
SIGNERS = {
    name: WitnessSigner(f"{name}.example", secrets.token_bytes(32))
    for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3")
}
LINES = [f"witness {name} {signer.verifier}" for name, signer in SIGNERS.items()]
NESTED = "\n".join(
    [
        "# two operators",
        f"log {LOG.verifier} https://log.example/",
        "",
        *LINES,
        "group X-witnesses 2 X1 X2 X3",
        "\tgroup Y-witnesses any Y1  Y2\tY3  ",
        "group X-and-Y all X-witnesses Y-witnesses",
        "quorum X-and-Y",
    ]
)


def cosigned(**times: int) -> bytes:
    note = parse_note(Checkpoint(LOG.name, 5, bytes(32)).sign(LOG))
    lines = [SIGNERS[name].cosign(note.text, time) for name, time in times.items()]
    return bytes(Note(note.text, (*note.signatures, *lines)))


def test_the_example_of_the_specification_is_read() -> None:
    quorum = parse_quorum(NESTED.encode())
    assert list(quorum.witnesses) == list(SIGNERS)
    assert [str(log.verifier) for log in quorum.logs] == [str(LOG.verifier)]
    assert quorum.logs[0].url == "https://log.example"
    assert quorum.groups["X-and-Y"].least == 2


def test_the_policy_that_the_documentation_shows_is_read() -> None:
    shown = DOCS.read_text().partition("    log example.org/gate+")
    lines = (shown[1] + shown[2]).partition("\n\n")[0]

    def key(name: re.Match[str]) -> str:
        kind = Signer if name[1].endswith("/gate") else WitnessSigner
        return str(kind(name[1], secrets.token_bytes(32)).verifier)

    quorum = parse_quorum(re.sub(r"(\S+)\+\.\.\.", key, lines).encode())
    assert len(quorum.logs) == 1
    assert list(quorum.witnesses) == ["w1", "w2", "w3"]
    assert quorum.groups[quorum.quorum].least == 2


@pytest.mark.parametrize(
    ("names", "met"),
    [
        ("X1 X2 Y1", True),
        ("X2 X3 Y3", True),
        ("X1 X2 X3", False),
        ("X1 Y1 Y2 Y3", False),
        ("", False),
        ("X1 X2 X3 Y1 Y2 Y3", True),
    ],
)
def test_a_nested_quorum_needs_each_of_its_parts(names: str, *, met: bool) -> None:
    note = cosigned(**dict.fromkeys(names.split(), NOW))
    assert parse_quorum(NESTED.encode()).met(note, NOW).met is met


def test_a_checkpoint_is_as_fresh_as_its_quorum_not_as_its_latest_witness() -> None:
    quorum = parse_quorum(("\n".join(LINES) + "\ngroup g 2 X1 X2 X3\nquorum g\n").encode())
    found = quorum.met(cosigned(X1=NOW - 500, X2=NOW - 300, X3=NOW, Y1=NOW), NOW)
    assert found.time == NOW - 300
    assert found.times["X3"] == NOW


def test_a_cosignature_from_the_future_does_not_count() -> None:
    quorum = parse_quorum(f"{LINES[0]}\nquorum X1\n".encode())
    assert quorum.met(cosigned(X1=NOW + 30), NOW).met
    assert not quorum.met(cosigned(X1=NOW + 3600), NOW).met


def test_a_forged_cosignature_of_a_known_witness_is_an_error() -> None:
    forged = cosigned(X1=NOW).replace(b"\n5\n", b"\n6\n")
    with pytest.raises(Problem) as caught:
        parse_quorum(NESTED.encode()).met(forged, NOW)
    assert caught.value.code == "PC6005"


def test_a_log_that_cosigns_itself_does_not_count_where_the_policy_names_no_log() -> None:
    seed = secrets.token_bytes(32)
    log, itself = Signer("example.com/log", seed), WitnessSigner("w.example", seed)
    note = parse_note(Checkpoint(log.name, 5, bytes(32)).sign(log))
    shown = bytes(Note(note.text, (*note.signatures, itself.cosign(note.text, NOW))))
    policy = parse_quorum(f"witness w {itself.verifier}\nquorum w\n".encode())
    with pytest.raises(Problem) as raised:
        cosigned_by(policy, log.verifier, shown, NOW)
    assert "own key" in raised.value.detail


def test_a_policy_may_need_nobody() -> None:
    quorum = parse_quorum(b"quorum none\n")
    assert quorum.met(cosigned(), NOW).met


UNREADABLE = [
    ("", 1, "no quorum"),
    (f"{LINES[0]}\n", 2, "no quorum"),
    (f"{LINES[0]}\nquorum X1\nquorum X1\n", 3, "one line"),
    (f"quorum X1\n{LINES[0]}\n", 1, "no line before"),
    (f"{LINES[0]}\n{LINES[0]}\nquorum X1\n", 2, "taken"),
    (f"{LINES[0]}\n{LINES[0].replace('X1', 'X9', 1)}\nquorum X1\n", 2, "already"),
    (f"log {LOG.verifier}\nlog {LOG.verifier}\nquorum none\n", 2, "already"),
    (f"{LINES[0]}\ngroup g 2 X1\nquorum g\n", 2, "from 1 to 1"),
    (f"{LINES[0]}\ngroup g 0 X1\nquorum g\n", 2, "from 1 to 1"),
    (f"{LINES[0]}\ngroup g 01 X1\nquorum g\n", 2, "from 1 to 1"),
    (f"{LINES[0]}\ngroup g any\nquorum g\n", 2, "expected: group"),
    (f"{LINES[0]}\ngroup g any X1 X1\nquorum g\n", 2, "twice"),
    (f"{LINES[0]}\ngroup g any X1\ngroup h any X1\nquorum h\n", 3, "twice"),
    (f"{LINES[0]}\ngroup g any none\nquorum g\n", 2, "no line before"),
    (f"{LINES[0]}\ngroup g any g\nquorum g\n", 2, "no line before"),
    (f"{LINES[0].replace('X1', 'none', 1)}\nquorum none\n", 1, "taken"),
    (f"witness A {LOG.verifier}\nquorum A\n", 1, "0x04"),
    (f"log {SIGNERS['X1'].verifier}\nquorum none\n", 1, "0x01"),
    (f"{LINES[0]} ftp://w.example\nquorum X1\n", 1, "URL"),
    (f"{LINES[0]} http://a:b@w.example\nquorum X1\n", 1, "URL"),
    (f"{LINES[0]} http://w.example more\nquorum X1\n", 1, "expected: witness"),
    ("quorum none\r\n", 1, "control"),
    ("sealed quorum\n", 1, "expected log"),
]


@pytest.mark.parametrize(("text", "line", "said"), UNREADABLE, ids=range(len(UNREADABLE)))
def test_a_policy_that_can_be_read_in_two_ways_names_its_line(text, line, said) -> None:
    with pytest.raises(Problem) as caught:
        parse_quorum(text.encode(), "file")
    assert caught.value.code == "PC6006"
    if said != "control":
        assert caught.value.detail.startswith(f"file:{line}: ")
    assert said in caught.value.detail


def test_a_witness_with_the_logs_own_key_is_refused() -> None:
    seed = secrets.token_bytes(32)
    log, witness = Signer("l.example", seed), WitnessSigner("w.example", seed)
    with pytest.raises(Problem, match="already"):
        parse_quorum(f"log {log.verifier}\nwitness W {witness.verifier}\nquorum W\n".encode())


def test_names_are_octets() -> None:
    text = b"\n".join(
        [
            LINES[0].replace("X1", "\u212a", 1).encode(),
            LINES[1].encode().replace(b"X2", b"\xff\xfe", 1),
        ]
    )
    quorum = parse_quorum(text + b"\ngroup K all \xe2\x84\xaa \xff\xfe\nquorum K\n")
    assert quorum.groups["K"].least == 2


def test_a_policy_file_that_cannot_be_read_is_named(tmp_path) -> None:
    with pytest.raises(Problem) as caught:
        load_quorum(tmp_path / "none")
    assert caught.value.code == "PC6006"
    assert "none" in caught.value.detail
