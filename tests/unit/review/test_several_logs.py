"""If these fail, evidence of several processes is that of one of them, or misses what joins two."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256

import msgspec
import pytest
from typer.testing import CliRunner

from portcullis.audit.cosignature import WitnessSigner
from portcullis.audit.log import open_log
from portcullis.audit.note import Note, Signer, parse_note
from portcullis.audit.proof import prove
from portcullis.audit.quorum import parse_quorum
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap import keys_of
from portcullis.bootstrap.evidence import evidence_signer
from portcullis.bootstrap.evidence_logs import evidence_logs
from portcullis.bootstrap.floor import read_by_all
from portcullis.cli.evidence import app
from portcullis.config import Config, load
from portcullis.config.places import audit_directory
from portcullis.core.errors import Problem
from portcullis.identity.sealing import Envelope
from portcullis.review.apart import checked
from portcullis.review.continuous import Watch, saved, unwitnessed
from portcullis.review.deployment import Deployment
from portcullis.review.facts import Facts
from portcullis.review.leaf import name_of
from portcullis.review.logs import Log, folded
from portcullis.review.manifest import MANIFEST, open_manifest
from portcullis.review.signals import tally
from sealers import sealer_at
from unit.review.making import DAY, START, admin, created, event, result


class Place:
    """A state folder with logs of processes; ``now`` is when somebody looks."""

    def __init__(self, root) -> None:
        self.root = root
        (root / "keys").mkdir()
        self.config = Config(trust_domain="example.org", state=root)
        self.now = time.time() + 3600

    def write(self, log, *events) -> None:
        keys, place = self.root / "keys" / log, audit_directory(self.config, log)
        sealer = sealer_at(self.root / "keys")
        with open_log(place, keys, f"example.org/{log}", sealer=sealer) as opened:
            for one in events:
                opened.enqueue(one)

    def log(self, name):
        return audit_directory(self.config, name)

    @property
    def logs(self):
        return evidence_logs(self.config, self.now)

    def facts(self) -> Facts:
        return folded(self.logs, Facts(origin="example.org/control"))[0]

    def watch(self) -> Watch:
        return Watch(lambda _: self.logs, self.root / "facts.json", ("nist-800-53",))


@pytest.fixture
def place(tmp_path) -> Place:
    made = Place(tmp_path)
    made.write("control", created(0), admin(30, "principals.revoke", "agent:a"))
    made.write("gate-1", event(1), result(2, 1), event(5))
    made.write("gate-2", event(10), result(11, 10))
    return made


def look(watching, after=3600, **how):
    at = START + timedelta(seconds=after)
    return watching.look(Deployment(trust_domain="example.org"), at, lambda _: True, **how)


def gaps(outlook) -> dict[str, str]:
    rows = outlook.assessments["nist-800-53"].rows
    return {gap.condition: gap.reason for row in rows for gap in row.gaps}


def test_who_is_registered_in_one_log_and_acts_in_another_is_one_and_the_same(place):
    found = place.facts()
    assert {name: at.size for name, at in found.logs.items()} == {
        "control": 2,
        "gate-1": 3,
        "gate-2": 2,
    }
    (holder,) = found.principals.values()
    assert (holder.created.log, holder.acted.log, holder.state) == ("control", "gate-1", "revoked")
    assert (found.first.log, found.last.log, found.size) == ("control", "control", 7)
    (decided,) = [seen for kind, seen in found.kinds if kind.type == "tool_call"]
    assert (decided.count, decided.first.log, decided.last.log) == (3, "gate-1", "gate-2")
    assert found.breaches == {}
    assert list(found.waiting) == ["gate-1/e5"]


def test_a_call_after_a_cut_is_found_in_whichever_order_the_logs_are_read(place):
    place.write("gate-2", event(40))
    assert place.facts().breaches["acted-while-cut-off"].last.log == "gate-2"


def test_a_result_answers_a_decision_of_its_own_log_alone(place):
    place.write("gate-2", result(12, 5))
    found = place.facts()
    assert found.breaches["result-without-decision"].last.log == "gate-2"
    assert list(found.waiting) == ["gate-1/e5"]


def test_a_gateway_says_of_nobody_who_he_is_and_what_was_approved(place):
    shown = {"server": "orders", "tool": "search"}
    place.write(
        "gate-1",
        created(13, "agent:b"),
        admin(14, "catalogue.pin", "orders.search", parameters=shown),
        admin(15, "principals.resume", "agent:a"),
        admin(16, "catalogue.pin", by="", server="orders", parameters={"tools": {"search": "d"}}),
        event(17, principal="b"),
    )
    found = place.facts()
    assert found.principals["agent:b"].created is None
    assert (found.approved, list(found.pinned)) == ({}, ["orders.search"])
    assert found.principals["agent:a"].state == "revoked"


def test_what_one_log_says_late_is_joined_with_what_was_folded_before(tmp_path):
    place = Place(tmp_path)
    place.write("control", created(0))
    place.write("gate-1", event(1), event(100))
    watching = place.watch()
    assert "acted-while-cut-off" not in gaps(look(watching))
    cut = [admin(60, "principals.suspend", "agent:a"), admin(90, "principals.resume", "agent:a")]
    place.write("control", *cut)
    assert "acted-while-cut-off" not in gaps(look(watching)), "nothing was done in between"
    place.write("gate-1", event(200))
    look(watching)
    place.write("control", admin(150, "principals.revoke", "agent:a"))
    assert "acted-while-cut-off" in gaps(look(watching))
    kept = saved(tmp_path / "facts.json", place.logs)
    assert (kept.late, kept) == (0, place.facts())


def test_looks_at_some_time_and_all_at_once_find_the_same(place):
    watching = place.watch()
    look(watching)
    place.write("gate-2", event(35), result(36, 35))
    place.write("gate-3", event(37))
    place.write("control", created(38, "agent:c"))
    assert look(watching).review.facts == place.facts()
    assert look(place.watch()).review.facts == place.facts()


def test_a_log_that_is_gone_is_said_to_be_missing(place):
    before = look(place.watch())
    assert "log-unverified" not in gaps(before)
    shutil.rmtree(place.log("gate-2"))
    assert place.logs.missing == ("gate-2",)
    for watching in (place.watch(), Watch(lambda _: place.logs, place.root / "new", ("soc2",))):
        found = look(watching)
        assert (found.review.missing, found.assessments.popitem()[1].missing) == (("gate-2",),) * 2
    shutil.rmtree(place.root / "keys" / "gate-2")
    assert gaps(look(place.watch()))["log-unverified"] == "there is no log of gate-2"


def test_a_gateway_that_was_started_and_has_no_log_is_missed(place):
    started = admin(50, "gateway.start", "gate-7", by="", verdict="")
    place.write("control", started)
    assert "log-unverified" not in gaps(look(place.watch(), after=60)), "it has only begun"
    assert gaps(look(place.watch()))["log-unverified"] == "there is no log of gate-7"


@pytest.mark.parametrize("damage", ["checkpoint", "tile", "shorter"])
def test_a_log_that_cannot_be_read_hides_nothing_of_the_others(place, damage):
    watching, log = place.watch(), place.log("gate-1")
    shutil.copytree(log, place.root / "earlier")
    place.write("gate-1", event(15))
    look(watching)
    if damage == "checkpoint":
        (log / "checkpoint").write_bytes(b"nonsense")
    elif damage == "tile":
        place.write("gate-1", event(20))
        shutil.rmtree(log / "tile" / "entries")
    else:
        shutil.rmtree(log)
        (place.root / "earlier").rename(log)
    place.write("gate-2", event(40))
    found = gaps(look(watching))
    assert found["log-unverified"].startswith("the log does not verify: gate-1: ")
    assert "acted-while-cut-off" in found


@pytest.mark.parametrize("kind", ["shorter", "another"])
def test_a_gateway_that_takes_back_what_it_wrote_is_not_believed_again(place, kind):
    watching, log = place.watch(), place.log("gate-1")
    shutil.copytree(log, place.root / "earlier")
    place.write("gate-1", event(40), result(41, 40))
    assert "acted-while-cut-off" in gaps(look(watching))
    shutil.rmtree(log)
    (place.root / "earlier").rename(log)
    if kind == "another":
        place.write("gate-1", event(20), result(21, 20), event(22), result(23, 22))
    watching.verified = checked(place.logs, START)
    assert watching.verified.ok, "it is whole in itself"
    for again in (partial(look, watching, anew=True), partial(look, place.watch())):
        found = gaps(again())
        assert found["log-unverified"].startswith("the log does not verify: gate-1: the log ")
        assert "acted-while-cut-off" in found, "what was known is not forgotten"


def test_a_log_in_the_place_of_another_is_none(place):
    shutil.rmtree(place.log("gate-1"))
    shutil.copytree(place.log("gate-2"), place.log("gate-1"))
    found = look(place.watch())
    assert gaps(found)["log-unverified"] == "there is no log of gate-1"
    assert found.review.facts.size == 4


@pytest.mark.parametrize("year", [1, 9999])
def test_a_time_that_no_clock_shows_ends_no_evaluation(place, year):
    time = datetime(year, 12 if year > 1 else 1, 31 if year > 1 else 1, tzinfo=UTC)
    odd = [msgspec.structs.replace(event(n), time=time) for n in (1, 2)]
    place.write("gate-2", event(40), *odd)
    found = gaps(look(place.watch()))
    assert found["log-unverified"].startswith("the log does not verify: gate-2: entry 3 is dated")
    assert "acted-while-cut-off" in found


def test_a_gateway_that_is_ahead_of_time_does_not_speak_for_the_silent(place):
    place.write("gate-2", event(12, seconds=5 * 365 * DAY))
    month = 30 * DAY
    found = gaps(look(place.watch(), after=month))
    assert found["clock-went-back"].endswith("in the future in the log of gate-2")
    assert "log-silent" in found
    late = gaps(look(place.watch(), after=5 * 365 * DAY - 290))
    assert "clock-went-back" not in late, "clocks differ a little"


def test_what_a_gateway_says_in_the_place_of_who_rules_is_no_evidence_and_is_noticed(place):
    before = place.facts()
    place.write(
        "gate-1",
        created(13, "agent:b"),
        admin(14, "approval.approved", by="operator"),
        admin(15, "evidence.package", "soc2", by=""),
        admin(16, "principals.suspend", "agent:a", by="operator", verdict="deny"),
        admin(17, "sessions.open", by="application"),
    )
    after = place.facts()
    for signal in ("registrations", "human_decisions", "packages", "cut_offs"):
        assert tally(after, signal) == tally(before, signal)
    assert tally(after, "sessions_opened").count == 1
    assert gaps(look(place.watch()))["log-unverified"] == (
        "gateways wrote events that only who rules may write (3)"
    )


def test_a_log_that_has_only_begun_is_no_fault_for_a_minute(place):
    (place.log("gate-2") / "checkpoint").unlink()
    place.now = time.time()
    patient = partial(evidence_logs, place.config, patient=True)
    assert [log.name for log in patient(place.now).each] == ["gate-1", "control"]
    every = ["gate-1", "gate-2", "control"]
    assert [log.name for log in patient(place.now + 3600).each] == every
    assert [log.name for log in place.logs.each] == every, "no package leaves it out"
    with pytest.raises(Problem, match="PC7005"):
        place.facts()


def test_a_log_whose_key_is_none_is_missing(place):
    (place.log("gate-2") / "log.vkey").write_text("nonsense")
    assert place.logs.missing == ("gate-2",)
    assert gaps(look(place.watch()))["log-unverified"] == "there is no log of gate-2"


def test_a_log_that_rests_was_vouched_for_when_its_newest_entry_was(place):
    logs, facts = place.logs, place.facts()
    resting = {log.name: log.resting for log in logs.each}
    assert resting == {"gate-1": True, "gate-2": True, "control": False}
    witness = WitnessSigner("witness.example/w", bytes(32))
    asked = parse_quorum(f"witness w {witness.verifier}\nquorum w\n".encode())

    def found(hours, **vouched):
        notes = {}
        for log in logs.each:
            note = parse_note((log.place / "checkpoint").read_bytes())
            at = int(START.timestamp()) + vouched.get(log.name.replace("-", "_"), 60)
            notes[log.name] = bytes(
                Note(note.text, (*note.signatures, witness.cosign(note.text, at)))
            )
        return unwitnessed(asked, logs, facts, notes, START + timedelta(hours=hours))

    assert found(0.5) == ()
    assert found(5) == ("control",), "the others are written no more"
    assert found(5, control=5 * 3600) == ()
    assert found(0.5, gate_1=-3700) == ("gate-1",), "and were vouched for before their end"
    assert unwitnessed(asked, logs, facts, {}, START) == ("control", "gate-1", "gate-2")
    assert unwitnessed(None, logs, facts, {}, START) is None


def test_the_log_of_a_gate_from_before_is_evidence_too(place):
    place.write("gate", created(0, "agent:old"), event(50, principal="old"))
    assert {log.name for log in place.logs.each} == {"control", "gate", "gate-1", "gate-2"}
    logs = evidence_logs(place.config, place.now, "control")
    assert (logs.own.name, {log.name: log.resting for log in logs.others}["gate"]) == (
        "control",
        True,
    )
    found, _ = folded(logs, Facts(origin="example.org/control"))
    assert found.principals["agent:old"].created.log == "gate"


# The command


def evidence(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def file(place):
    (place.root / "policy").mkdir()
    (place.root / "policy" / "main.yaml").write_text("version: 1\n")
    path = place.root / "portcullis.yaml"
    path.write_text(f"trust_domain: example.org\nstate: {place.root}\n")
    return path


def exported(file, target, *more):
    done = evidence("export", "--framework", "soc2", "-o", target, "-c", file, "--json", *more)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_package_is_of_all_logs_with_a_checkpoint_and_proofs_of_each(place, file, tmp_path):
    said, target = exported(file, tmp_path / "soc2"), tmp_path / "soc2"
    sizes = {"example.org/control": 2, "example.org/gate-1": 3, "example.org/gate-2": 2}
    assert (said["logs"], said["size"], said["missing"]) == (sizes, 7, [])
    assert {one.name for one in (target / "checkpoints").iterdir()} == set(map(name_of, sizes))
    proofs = {one.name.partition(".")[0] for one in (target / "proofs").iterdir()}
    assert proofs == {"control", "gate-1", "gate-2"}
    keys = [f"--log-key={place.log(name_of(origin)) / 'log.vkey'}" for origin in sizes]
    checked = evidence("verify", target, "--key", said["key"], *keys, "--json")
    found = json.loads(checked.stdout)
    assert (found["ok"], found["proofs"]) == (True, len(list((target / "proofs").iterdir())))
    assert found["logs"] == sorted(sizes) == sorted(found["vouched"])
    html = (target / "report.html").read_text()
    assert "2 of example.org/control, 3 of example.org/gate-1, 2 of example.org/gate-2" in html


def test_whose_key_a_log_was_checked_with_is_said_and_a_wrong_one_fails(place, file, tmp_path):
    said, target = exported(file, tmp_path / "soc2"), tmp_path / "soc2"
    shown = evidence("verify", target, "--key", said["key"], "--log-key", vkey(place, "gate-1"))
    assert "example.org/gate-1, with a key that is yours" in shown.stdout
    assert "example.org/gate-2, with a key that is the package's own" in shown.stdout
    other = Signer("example.org/gate-1", bytes(32)).verifier
    wrong = evidence("verify", target, "--key", said["key"], "--log-key", other)
    assert (wrong.exit_code, "gate-1 is another than" in wrong.stdout) == (5, True)
    strange = Signer("example.org/gate-9", bytes(32)).verifier
    wrong = evidence("verify", target, "--key", said["key"], "--log-key", strange)
    assert (wrong.exit_code, "not about the log example.org/gate-9" in wrong.stdout) == (5, True)


def test_a_checkpoint_of_one_log_does_not_stand_for_another(place, file, tmp_path):
    said, target = exported(file, tmp_path / "soc2"), tmp_path / "soc2"
    (target / "checkpoints" / "gate-1").unlink()
    failed = evidence("verify", target, "--key", said["key"])
    assert (failed.exit_code, "checkpoints/gate-1: " in failed.stdout) == (5, True)
    shutil.copy(target / "checkpoints/gate-2", target / "checkpoints/gate-1")
    failed = evidence("verify", target, "--key", said["key"])
    assert (failed.exit_code, "checkpoints/gate-1: " in failed.stdout) == (5, True)


def test_no_package_leaves_out_a_log_in_silence(place, file, tmp_path):
    old = time.time() - 3600
    shutil.rmtree(place.log("gate-2"))
    os.utime(place.root / "keys/gate-2/log.key", (old, old))
    target = tmp_path / "soc2"
    assert exported(file, target)["missing"] == ["gate-2"]
    rows = {
        row["control"]: row for row in json.loads((target / "evidence.json").read_text())["rows"]
    }
    assert (rows["CC6.1"]["state"], rows["CC8.1"]["state"]) == ("gap", "gap")
    assert "there is no log of gate-2" in {row["reason"] for row in rows.values()}
    assert "Not all is known: there is no log of gate-2" in (target / "report.html").read_text()
    assert "none of gate-2, which is missing" in (target / "report.html").read_text()
    tile = next((place.log("gate-1") / "tile").rglob("*.p/*"))
    tile.write_bytes(tile.read_bytes()[::-1])
    refused = evidence("export", "--framework", "soc2", "-o", tmp_path / "x", "-c", file)
    assert (refused.exception.code, (tmp_path / "x").exists()) == ("PC6005", False)
    assert "gate-1: " in refused.exception.detail


def test_no_package_is_of_less_than_was_evaluated(place, file, tmp_path):
    shutil.copytree(place.log("gate-1"), place.root / "earlier")
    place.write("gate-1", event(40))
    facts = place.root / "evidence" / "facts.json"
    look(Watch(lambda _: place.logs, facts, ("soc2",)))
    shutil.rmtree(place.log("gate-1"))
    (place.root / "earlier").rename(place.log("gate-1"))
    refused = evidence("export", "--framework", "soc2", "-o", tmp_path / "x", "-c", file)
    assert (refused.exception.code, (tmp_path / "x").exists()) == ("PC6005", False)
    assert refused.exception.detail == "gate-1: the log ends before what was evaluated of it"


def test_a_proof_under_another_head_than_the_packages_is_no_proof(place, file, tmp_path):
    said, target = exported(file, tmp_path / "soc2"), tmp_path / "soc2"
    place.write("gate-1", event(50), result(51, 50))
    log = Log("gate-1", place.log("gate-1"), own_verifier(place.log("gate-1")))
    changed = min(target.glob("proofs/gate-1.*"))
    changed.write_text(prove(log.place, log.verifier, int(changed.name.split(".")[1])))
    assert "changed" in evidence("verify", target, "--key", said["key"]).stdout
    signer = evidence_signer(
        load(file), "control", "example.org/control", Envelope(keys_of(load(file)))
    )
    old = open_manifest((target / MANIFEST).read_bytes(), signer.verifier)
    path = str(changed.relative_to(target))
    files = old.files | {path: sha256(changed.read_bytes()).hexdigest()}
    new = msgspec.structs.replace(old, files=files)
    (target / MANIFEST).write_bytes(new.sign(signer))
    failed = evidence("verify", target, "--key", said["key"])
    assert (failed.exit_code, f"{path}: under another checkpoint" in failed.stdout) == (5, True)


def test_each_log_is_pruned_no_further_than_it_was_evaluated(place):
    look(place.watch())
    (place.root / "evidence").mkdir()
    (place.root / "facts.json").rename(place.root / "evidence" / "facts.json")
    read = {
        name: read_by_all(place.config, name, place.log(name), lasting=True)
        for name in ("control", "gate-1", "gate-3")
    }
    assert read == {"control": 2, "gate-1": 3, "gate-3": 0}


def vkey(place, name) -> str:
    return (place.log(name) / "log.vkey").read_text().strip()
