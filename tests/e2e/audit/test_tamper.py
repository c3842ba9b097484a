"""What somebody can try who holds the log's disk and its key, and who catches it.

The table in ``docs/audit.md`` lists these attacks by their names, in this order.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

import tampering
from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.cosignature import WitnessSigner
from portcullis.audit.journal import Journal, Tail, segment_path
from portcullis.audit.keys import load_signer
from portcullis.audit.note import Note, Signer, encode64, parse_note
from portcullis.audit.proof import prove, verify_proof
from portcullis.audit.pruned import PRUNE, parameters
from portcullis.audit.quorum import parse_quorum
from portcullis.audit.shrink import encode
from portcullis.audit.tiles import pack, unpack
from portcullis.audit.verify import Outcome, Report, load_verifier, verify
from portcullis.audit.witness import KEY_FILE, Refusal
from portcullis.bootstrap.witness import _unsealed
from portcullis.cli.audit import app
from portcullis.core.errors import Problem
from portcullis.core.event import EventType
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope
from tampering import KEPT, ORIGIN, SIZE, WITNESSES, Scene, edited, event, other, root_of
from witnesses import Clock

DOCS = Path(__file__).parents[3] / "docs/audit.md"
ATTACKS: dict[str, tuple[str, Callable[[Scene], None]]] = {}
"""Name -> who catches it, and the attack with the proof that it is caught."""


def attack(name: str, by: str) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    def note(function: Callable[[Scene], None]) -> Callable[[Scene], None]:
        assert name not in ATTACKS
        ATTACKS[name] = by, function
        return function

    return note


def empty(scene: Scene, numbers: Iterable[int]) -> None:
    """Take entries out of their bundle: the first is enough."""
    path = scene.log / "tile/entries/000"
    gone = frozenset(numbers)
    entries = [b"" if n in gone else e for n, e in enumerate(unpack(path.read_bytes()))]
    path.write_bytes(pack(entries))


def pruned(scene: Scene, numbers: Sequence[int], *, days: float) -> bytes:
    """The record of a pruning, as a gate writes it ``days`` from now."""
    act = event(5000, datetime.now(UTC) + timedelta(days=days))
    said = parameters(numbers, {"tool_call": datetime.now(UTC).timestamp()}, {"tool_call": 0.0})
    return encode(replace(act, type=EventType.ADMIN, method=PRUNE, parameters=said))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return tampering.build(tmp_path_factory.mktemp("log"))


def test_an_untouched_log_passes_all_that_the_attacks_are_held_against(built: Scene) -> None:
    report = built.verify(kept=True, witnesses=True, max_age=3600)
    assert report.ok, report.reasons
    assert {report.integrity, report.completeness, report.freshness} == {Outcome.PASSED}
    assert (report.size, report.published, report.events.decisions) == (SIZE, SIZE, SIZE // 2)
    assert len(report.cosigned) >= 2


def caught(report: Report, *reasons: str, integrity: bool = True) -> None:
    assert not report.ok
    assert (report.integrity is Outcome.FAILED) is integrity, report
    for reason in reasons:
        assert any(reason in said for said in report.reasons), report.reasons


def refused(answer: str | Refusal, status: int) -> None:
    assert isinstance(answer, Refusal), answer
    assert answer.status == status


# What the public key alone shows.


@attack("an entry is edited", "verify")
def _(scene: Scene) -> None:
    bundle = scene.log / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b'"crm"', b'"src"', 1))
    caught(scene.verify(), "root that was signed", "tile/0/000")


@attack("a hash is edited", "verify")
def _(scene: Scene) -> None:
    tile = scene.log / "tile/0/001"
    tile.write_bytes(tile.read_bytes()[::-1])
    caught(scene.verify(), "tile/0/001: not the hashes")


@attack("entries are swapped", "verify")
def _(scene: Scene) -> None:
    bundle = scene.log / "tile/entries/001"
    first, second, *rest = unpack(bundle.read_bytes())
    bundle.write_bytes(pack([second, first, *rest]))
    caught(scene.verify(), "root that was signed")


@attack("a bundle is shortened", "verify")
def _(scene: Scene) -> None:
    bundle = scene.log / "tile/entries/001"
    bundle.write_bytes(pack(unpack(bundle.read_bytes())[:-1]))
    caught(scene.verify(), "not 256 entries")


@attack("a tile is cut short", "verify")
def _(scene: Scene) -> None:
    tile = scene.log / "tile/0/001"
    tile.write_bytes(tile.read_bytes()[:-32])
    caught(scene.verify(), "tile/0/001: not 256 hashes")


@attack("the unfinished tile and bundle are replaced by others that fit each other", "verify")
def _(scene: Scene) -> None:
    width = SIZE % 256
    entries = [other(number) for number in range(width)]
    (scene.log / f"tile/entries/002.p/{width}").write_bytes(pack(entries))
    hashes = b"".join(map(tampering.leaf_hash, entries))
    (scene.log / f"tile/0/002.p/{width}").write_bytes(hashes)
    caught(scene.verify(), "root that was signed")


@attack("a bundle is deleted", "verify")
def _(scene: Scene) -> None:
    (scene.log / "tile/entries/001").unlink()
    caught(scene.verify(), "tile/entries/001: missing")


@attack("the journal tells another story", "verify")
def _(scene: Scene) -> None:
    segment_path(scene.log / "journal", 0).unlink()
    journal = Journal(scene.log / "journal", Tail(0, 0, 0))
    journal.append(edited(scene.entries()))
    journal.close()
    caught(scene.verify(), "the journal disagree")


@attack("the checkpoint's size is edited", "verify")
def _(scene: Scene) -> None:
    scene.show(scene.note.replace(b"\n700\n", b"\n699\n"))
    caught(scene.verify(), "signature does not verify")


@attack("the log is rewritten and signed with another key", "verify --key")
def _(scene: Scene) -> None:
    thief = Signer(ORIGIN, secrets.token_bytes(32))
    scene.rewrite(edited(scene.entries()), thief)
    (scene.log / "log.vkey").write_text(f"{thief.verifier}\n")
    assert verify(scene.log, load_verifier(str(scene.log / "log.vkey"))).ok
    caught(scene.verify(), "not signed by the expected key")


@attack("the checkpoint of another log is shown", "verify")
def _(scene: Scene) -> None:
    seed = scene.signer._seed
    elsewhere = Signer("example.org/other", seed)
    note = Checkpoint(elsewhere.name, SIZE, root_of(scene.entries())).sign(elsewhere)
    (scene.log / "checkpoint").write_bytes(note)
    caught(scene.verify(), "not signed by the expected key")


# What the holder of the log's key writes, and the events give away.


@attack("an entry is written twice", "verify")
def _(scene: Scene) -> None:
    entries = scene.entries()
    scene.rewrite([*entries, entries[7]])
    caught(scene.verify(), "1 entries stand twice: entry 700", integrity=False)


@attack("a decision is left out and its result stays", "verify")
def _(scene: Scene) -> None:
    entries = scene.entries()
    scene.rewrite(entries[:10] + entries[11:])
    caught(scene.verify(), f"1 results without a decision: {event(11).id}", integrity=False)


@attack("what is no event is written", "verify")
def _(scene: Scene) -> None:
    scene.rewrite([*scene.entries(), b'{"id":'])
    caught(scene.verify(), "1 entries are no events: entry 700", integrity=False)


@attack("an event of a session is left out", "verify")
def _(scene: Scene) -> None:
    session = [
        encode(replace(event(1000 + 2 * number), session="s1", sequence=number))
        for number in (1, 2, 3, 4)
    ]
    entries = scene.entries()
    scene.rewrite([*entries, *session])
    assert scene.verify().ok
    scene.rewrite([*entries, *session[:2], session[3]])
    caught(scene.verify(), "1 gaps in the events of a session, before: ", integrity=False)


@attack("entries are emptied without a record", "verify")
def _(scene: Scene) -> None:
    empty(scene, range(256))
    caught(scene.verify(), "256 entries are gone and no event says so: 0, 1,", integrity=False)


@attack("one entry more is emptied than the record says", "verify")
def _(scene: Scene) -> None:
    scene.rewrite([*scene.entries(), pruned(scene, range(100), days=0)])
    empty(scene, range(100))
    assert scene.verify().ok
    empty(scene, [100])
    caught(scene.verify(), "1 entries are gone and no event says so: 100", integrity=False)


@attack("a record prunes what policy had to keep", "verify --keep-days")
def _(scene: Scene) -> None:
    scene.rewrite([*scene.entries(), pruned(scene, range(100), days=0.9)])
    empty(scene, range(100))
    assert scene.verify(keep_days=0.5).ok
    caught(scene.verify(keep_days=30), "what is 0.9 days old, not 30", integrity=False)


@attack("a record of a pruning is dated ahead", "verify")
def _(scene: Scene) -> None:
    scene.rewrite([*scene.entries(), pruned(scene, range(100), days=400)])
    empty(scene, range(100))
    caught(scene.verify(), "prunes at a time that had not come", integrity=False)


@attack("a record prunes entries that are yet to come", "verify")
def _(scene: Scene) -> None:
    entries = scene.entries()
    scene.rewrite([*entries[:100], pruned(scene, range(110, 120), days=0), *entries[100:]])
    empty(scene, range(110, 120))
    caught(scene.verify(), "10 entries are gone and no event says so: 110", integrity=False)


# What a checkpoint that was kept shows.


@attack("the log is rewritten and signed with its own key", "verify --checkpoint")
def _(scene: Scene) -> None:
    scene.rewrite(edited(scene.entries()))
    assert scene.verify().ok
    caught(scene.verify(kept=True), "are not those of the checkpoint held", integrity=False)


@attack("the log is cut short and signed again", "verify --checkpoint")
def _(scene: Scene) -> None:
    scene.rewrite(scene.entries()[: KEPT - 100])
    assert scene.verify().ok
    caught(scene.verify(kept=True), "covers 600 entries, the log 500", integrity=False)


@attack("the log is emptied and begun anew", "verify --checkpoint")
def _(scene: Scene) -> None:
    scene.rewrite([other(2000 + number) for number in range(SIZE)])
    assert scene.verify().ok
    caught(scene.verify(kept=True), "are not those of the checkpoint held", integrity=False)


@attack("the gate's clock is set back", "verify --checkpoint --witnesses")
def _(scene: Scene) -> None:
    before = datetime.now(UTC) - timedelta(hours=1)
    entries = [*scene.entries(), other(SIZE, before), other(SIZE + 1, before)]
    scene.rewrite(entries)
    note = scene.note
    lines = []
    for name in WITNESSES:
        with scene.witness(name) as witness:
            answer = witness.add(scene.request(seen(scene, name), note))
            assert isinstance(answer, str), answer
            lines.append(answer)
    scene.show(note, *lines)
    report = scene.verify(kept=True, witnesses=True)
    caught(report, "before it can have been made", integrity=False)
    assert report.freshness is Outcome.FAILED


def seen(scene: Scene, name: str) -> int:
    """What a witness has cosigned last; two of three suffice, so the third may be behind."""
    state = next((scene.root / name / "seen").iterdir())
    return int(state.read_bytes().split(b"\n")[1])


# What the witnesses show.


@attack("the log is put back to an older state", "verify --max-age")
def _(scene: Scene) -> None:
    shutil.rmtree(scene.log)
    (scene.root / "backup").rename(scene.log)
    assert scene.verify(kept=True, witnesses=True).ok
    report = scene.verify(witnesses=True, max_age=300, later=3600)
    caught(report, "seconds ago", integrity=False)
    assert report.freshness is Outcome.FAILED


@attack("a checkpoint is shown without a quorum", "verify --witnesses")
def _(scene: Scene) -> None:
    note = parse_note(scene.note)
    (scene.log / "checkpoint").write_bytes(bytes(Note(note.text, note.signatures[:2])))
    caught(scene.verify(witnesses=True), "no quorum of witnesses", integrity=False)


@attack("the checkpoint is deleted, the signed head left", "verify --witnesses")
def _(scene: Scene) -> None:
    (scene.log / "checkpoint").unlink()
    caught(scene.verify(witnesses=True), "no checkpoint is published", integrity=False)


@attack("a fork is shown to a second reader", "verify --witnesses")
def _(scene: Scene) -> None:
    reader = scene.copy(scene.root.with_name("second"))
    reader.rewrite(edited(scene.entries()))
    assert scene.verify(witnesses=True).ok
    caught(reader.verify(witnesses=True), "no quorum of witnesses", integrity=False)


@attack("cosignatures are moved to another checkpoint", "verify --witnesses")
def _(scene: Scene) -> None:
    lines = parse_note(scene.note).signatures[1:]
    scene.rewrite(edited(scene.entries()))
    scene.show(scene.note, *(line.line() for line in lines))
    caught(scene.verify(witnesses=True), "does not verify", integrity=False)


@attack("a cosignature is dated ahead, to stay fresh", "verify --witnesses")
def _(scene: Scene) -> None:
    lines = []
    for name in WITNESSES:
        signer = stolen(scene, name)
        lines.append(signer.cosign(parse_note(scene.note).text, 2**33).line())
    bare = parse_note(scene.note)
    scene.show(bytes(Note(bare.text, bare.signatures[:1])), *lines)
    caught(scene.verify(witnesses=True), "no quorum of witnesses", integrity=False)


def stolen(scene: Scene, name: str) -> WitnessSigner:
    """A witness' own key, for what only its operator can do."""
    folder = scene.root / name
    assert not _unsealed(folder)
    sealer = Envelope(FileKeyManager(folder / "keys/master.key", create=False))
    return load_signer(folder, KEY_FILE, name, WitnessSigner, create=False, sealer=sealer)


@attack("one witness of three cosigns a fork", "verify --witnesses")
def _(scene: Scene) -> None:
    scene.rewrite(edited(scene.entries()))
    text = parse_note(scene.note).text
    liar = stolen(scene, WITNESSES[0])
    scene.show(scene.note, liar.cosign(text, int(Clock(datetime.now(UTC).timestamp()).at)).line())
    report = scene.verify(witnesses=True)
    caught(
        report, "no quorum of witnesses cosigned the checkpoint: w1.example did", integrity=False
    )


@attack("one witness of three has its state put back", "verify --witnesses")
def _(scene: Scene) -> None:
    name = WITNESSES[0]
    shutil.rmtree(scene.root / name)
    (scene.root / f"{name}.backup").rename(scene.root / name)
    entries = edited(scene.entries(), number=KEPT + 50)
    scene.rewrite(entries)
    note, lines = scene.note, []
    for each in WITNESSES:
        with scene.witness(each) as witness:
            answer = witness.add(scene.request(seen(scene, each), note))
            lines += [answer] if isinstance(answer, str) else []
    assert [line.split()[1] for line in lines] == [name]
    scene.show(note, *lines)
    caught(scene.verify(witnesses=True), "no quorum of witnesses", integrity=False)


@attack("the log's own key is named as its witness", "the policy")
def _(scene: Scene) -> None:
    seed = scene.signer._seed
    itself = WitnessSigner("w.example", seed)
    text = f"log {scene.verifier}\nwitness w {itself.verifier}\nquorum w\n"
    with pytest.raises(Problem) as found:
        parse_quorum(text.encode())
    assert found.value.code == "PC6006"


# What a witness refuses.


@attack("a rewritten log is given to a witness", "the witness: 409")
def _(scene: Scene) -> None:
    scene.rewrite(edited(scene.entries()))
    with scene.witness(WITNESSES[0]) as witness:
        refused(witness.add(scene.request(SIZE)), 409)
        refused(witness.add(scene.request(0)), 409)


@attack("a shortened log is given to a witness", "the witness: 409")
def _(scene: Scene) -> None:
    scene.rewrite(scene.entries()[:KEPT])
    with scene.witness(WITNESSES[0]) as witness:
        refused(witness.add(scene.request(KEPT)), 409)


@attack("the log's key is stolen and used on another machine", "the witness: 422")
def _(scene: Scene) -> None:
    last = seen(scene, WITNESSES[0])
    scene.rewrite([other(3000 + number) for number in range(SIZE + 50)])
    with scene.witness(WITNESSES[0]) as witness:
        refused(witness.add(scene.request(last)), 422)


@attack("a witness is told a stale old size", "the witness: 409")
def _(scene: Scene) -> None:
    with scene.witness(WITNESSES[0]) as witness:
        answer = witness.add(scene.request(seen(scene, WITNESSES[0]) - 50))
    refused(answer, 409)


@attack("an earlier request is replayed to a witness", "the witness: 409")
def _(scene: Scene) -> None:
    first = (scene.root / "backup/checkpoint").read_bytes()
    with scene.witness(WITNESSES[0]) as witness:
        refused(witness.add(b"old 0\n\n" + first), 409)


@attack("a wrong consistency proof is given to a witness", "the witness: 422")
def _(scene: Scene) -> None:
    last = seen(scene, WITNESSES[0])
    scene.rewrite([*scene.entries(), other(SIZE)])
    body = scene.request(last).replace(
        b"\n", b"\n" + encode64(secrets.token_bytes(32)).encode() + b"\n", 1
    )
    with scene.witness(WITNESSES[0]) as witness:
        refused(witness.add(body), 422)


@attack("a checkpoint that the log did not sign is given to a witness", "the witness: 403")
def _(scene: Scene) -> None:
    thief = Signer(ORIGIN, secrets.token_bytes(32))
    note = scene.sign(SIZE, root_of(scene.entries()), thief)
    with scene.witness(WITNESSES[0]) as witness:
        refused(witness.add(scene.request(seen(scene, WITNESSES[0]), note)), 403)


@attack("a witness' clock is set back", "the witness: 503")
def _(scene: Scene) -> None:
    with scene.witness(WITNESSES[0], Clock(1_000_000_000.0)) as witness:
        refused(witness.add(scene.request(seen(scene, WITNESSES[0]))), 503)


@attack("a witness' state is deleted, its key left", "the witness does not start")
def _(scene: Scene) -> None:
    shutil.rmtree(scene.root / WITNESSES[0] / "seen")
    with pytest.raises(Problem) as found, scene.witness(WITNESSES[0]):
        pass
    assert found.value.code == "PC6008"


# What a gate refuses to go on with.


def stopped(scene: Scene, reason: str) -> None:
    with pytest.raises(Problem, match=reason) as found, scene.started():
        pass
    assert found.value.code == ("PC6032" if "has seen" in reason else "PC6002")


@attack("log and database are put back together", "the gate does not start")
def _(scene: Scene) -> None:
    shutil.rmtree(scene.log)
    (scene.root / "backup").rename(scene.log)
    stopped(scene, "has seen 700 entries, this log holds 600")


@attack("the log is rewritten while the gate is down", "the gate does not start")
def _(scene: Scene) -> None:
    scene.rewrite(edited(scene.entries()))
    stopped(scene, "has seen another history")


@attack("the journal alone is put back", "the gate does not start")
def _(scene: Scene) -> None:
    shutil.rmtree(scene.log / "journal")
    shutil.copytree(scene.root / "backup/journal", scene.log / "journal")
    stopped(scene, "the journal holds 600 entries, 700 have been signed")


@attack("a segment of the journal is deleted", "the gate does not start")
def _(scene: Scene) -> None:
    segment_path(scene.log / "journal", 0).unlink()
    stopped(scene, "holds 0 entries")


@attack("the log is deleted, its key left", "the gate does not start")
def _(scene: Scene) -> None:
    shutil.rmtree(scene.log)
    stopped(scene, "moved or deleted")


# What a proof shows.


def proof(scene: Scene) -> str:
    return prove(scene.log, scene.verifier, 42)


@attack("the entry of a proof is altered", "verify-proof")
def _(scene: Scene) -> None:
    text = proof(scene)
    good = verify_proof(text, scene.verifier, scene.quorum, datetime.now(UTC).timestamp())
    assert len(good.cosigned) >= 2
    told = encode64(good.entry.replace(b'"crm"', b'"src"'))
    with pytest.raises(Problem, match="not in the tree"):
        verify_proof(text.replace(encode64(good.entry), told), scene.verifier)


@attack("a proof is given another place in the log", "verify-proof")
def _(scene: Scene) -> None:
    with pytest.raises(Problem, match="not in the tree"):
        verify_proof(proof(scene).replace("index 42", "index 43"), scene.verifier)


@attack("a proof is made of a log rewritten with its own key", "verify-proof --witnesses")
def _(scene: Scene) -> None:
    scene.rewrite(edited(scene.entries()))
    text = proof(scene)
    assert b'"kb"' in verify_proof(text, scene.verifier).entry
    with pytest.raises(Problem, match="no quorum"):
        verify_proof(text, scene.verifier, scene.quorum, datetime.now(UTC).timestamp())


@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_attack_is_caught(name: str, built: Scene, tmp_path: Path) -> None:
    _, run = ATTACKS[name]
    run(built.copy(tmp_path / "scene"))


def test_the_table_of_attacks_in_the_documentation_is_this_one() -> None:
    assert len(ATTACKS) >= 25
    rows = re.findall(r"^\| ([^|]+) \| `?([^|`]+)`? \|$", DOCS.read_text(), re.MULTILINE)
    shown = [(name, by) for name, by in rows if name in ATTACKS]
    assert shown == [(name, by) for name, (by, _) in ATTACKS.items()]


def test_the_commands_take_policy_and_kept_checkpoint_and_exit_with_5(
    built: Scene, tmp_path: Path
) -> None:
    scene = built.copy(tmp_path / "scene")
    policy, kept = tmp_path / "policy", tmp_path / "kept"
    policy.write_text(f"log {scene.verifier}\n{(scene.root / 'policy').read_text()}")
    kept.write_bytes(scene.kept)

    def run(*words: object) -> Result:
        return CliRunner().invoke(app, [*map(str, words), "--witnesses", str(policy), "--json"])

    good = run("verify", scene.log, "--checkpoint", kept, "--max-age", 3600)
    assert good.exit_code == 0, good.output
    said = json.loads(good.stdout)
    assert {said[part] for part in ("integrity", "completeness", "freshness")} == {"passed"}
    assert said["key_given"] is True  # the policy names it
    assert set(said["cosigned"]) <= set(WITNESSES)
    plain = CliRunner().invoke(app, ["verify", str(scene.log), "--witnesses", str(policy)])
    assert "a quorum vouched for it" in plain.stdout
    assert "cosigned by w" in plain.stdout

    text = tmp_path / "event.tlog-proof"
    text.write_text(proof(scene))
    proven = run("verify-proof", text)
    assert proven.exit_code == 0
    assert len(json.loads(proven.stdout)["cosigned"]) >= 2
    scene.rewrite(edited(scene.entries()))
    text.write_text(proof(scene))
    for words in (("verify-proof", text), ("verify", scene.log)):
        assert run(*words).exit_code == 5
    without = CliRunner().invoke(app, ["verify-proof", str(text)]).exception
    assert isinstance(without, Problem)
    assert without.code == "PC7004"
