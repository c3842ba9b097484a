"""Evaluating all the time: nothing is read twice, nothing is told twice, nothing is forgotten."""

from __future__ import annotations

import secrets
from datetime import timedelta

import msgspec
import pytest

from portcullis.audit.cosignature import WitnessSigner
from portcullis.audit.note import Note, parse_note
from portcullis.audit.quorum import parse_quorum
from portcullis.core.errors import Problem
from portcullis.review.continuous import Watch, save, saved, witnessed
from portcullis.review.deployment import Deployment
from portcullis.review.facts import Facts
from portcullis.review.logs import folded
from portcullis.review.subject import Verified
from unit.review.making import ORIGIN, START, admin, created, event, facts, result

SETTINGS = Deployment(trust_domain="example.org")
FRAMEWORKS = ("soc2", "gdpr")
SOUND = [created(0), event(1), result(2, 1)]
ALWAYS = {"tool-not-approved"}  # nobody approved the tool in any of these logs


def watch(place, frameworks=FRAMEWORKS) -> Watch:
    return Watch(lambda _: place.logs, place.facts, frameworks)


def moved(found: Facts, **change) -> Facts:
    """The same facts at another position."""
    at = msgspec.structs.replace(found.logs["gate"], **change)
    return msgspec.structs.replace(found, logs={"gate": at})


def look(watching, *, settings=SETTINGS, rest=lambda _: True):
    return watching.look(settings, START + timedelta(minutes=1), rest)


def changes(outlook) -> set[tuple[str, bool]]:
    return {
        (change.condition, change.gap is not None)
        for change in outlook.changes
        if change.condition not in ALWAYS
    }


def test_a_gap_is_told_when_it_opens_and_when_it_closes_and_not_in_between(place):
    place.write(SOUND)
    watching = watch(place)
    assert changes(look(watching)) == set()
    place.write([created(3, "agent:b", owner="")])
    opened = look(watching)
    assert changes(opened) == {("agent-without-owner", True)}
    (change,) = [one for one in opened.changes if one.condition not in ALWAYS]
    assert change.controls == {"soc2": ("CC6.2",), "gdpr": ("30",)}
    assert changes(look(watching)) == set()
    place.write([admin(4, "principals.revoke", "agent:b")])
    assert changes(look(watching)) == {("agent-without-owner", False)}


def test_after_a_restart_only_what_the_log_does_not_say_yet_is_told(place):
    opened = {"parameters": {"state": "opened"}, "by": "", "verdict": ""}
    place.write([*SOUND, created(3, "agent:b", owner="")])
    place.write(
        admin(n, "evidence.gap", name, **opened)
        for n, name in enumerate(("agent-without-owner", "tool-not-approved", "log-silent"), 4)
    )
    assert changes(look(watch(place))) == {("log-silent", False)}


def test_what_cannot_be_evaluated_stays_as_it_was_told(place):
    place.write(SOUND)
    watching = watch(place)
    watching.verified = Verified(at=START, ok=False, size=3, reasons=("a tile is missing",))
    assert changes(look(watching)) == {("log-unverified", True)}
    watching.verified = None
    assert changes(look(watching)) == set()
    watching.verified = Verified(at=START, ok=True, size=3)
    assert changes(look(watching)) == {("log-unverified", False)}


def test_only_what_is_new_is_read(place, monkeypatch):
    place.write([created(0), *(event(n, verdict="deny") for n in range(1, 600))])
    look(watch(place))
    kept = saved(place.facts, place.logs)
    assert kept.size == 600
    place.write([event(600, verdict="deny")])
    (place.log / "tile/entries/000").unlink()  # read no more
    new, notes = folded(place.logs, kept)
    assert new.size == 601
    assert notes["gate"] == (place.log / "checkpoint").read_bytes()
    with pytest.raises(Problem):
        folded(place.logs, Facts(origin=ORIGIN))


def test_facts_of_another_log_or_form_are_made_anew(place, tmp_path):
    place.write(SOUND)
    good = facts(SOUND)
    save(place.facts, good)
    assert saved(place.facts, place.logs) == good
    nothing = Facts(origin=ORIGIN)
    other = msgspec.structs.replace(good, revision=0)
    for change in ({"tail": bytes(32)}, {"origin": "other"}, {"size": 99}, None):
        save(place.facts, moved(good, **change) if change else other)
        assert saved(place.facts, place.logs) == nothing
    for damage in (b"", b"[]", b"\xff\xfe"):
        place.facts.write_bytes(damage)
        assert saved(place.facts, place.logs) == nothing
    assert saved(tmp_path / "none", place.logs) == nothing


def test_the_facts_are_for_their_owner_alone(place):
    place.write(SOUND)
    look(watch(place))
    assert place.facts.stat().st_mode & 0o777 == 0o600


def test_a_gate_that_stops_does_not_wait_for_a_long_log(place):
    place.write([created(0), *(event(n, verdict="deny") for n in range(1, 900))])
    rests: list[float] = []

    def rest(seconds):
        rests.append(seconds)
        return len(rests) < 2

    watching = watch(place)
    assert look(watching, rest=rest) is None
    assert saved(place.facts, place.logs).size == 512
    assert min(rests) > 0
    assert look(watching).review.facts.size == 900


def test_a_cosignature_counts_only_as_the_quorum_says(place):
    place.write(SOUND)
    note = parse_note((place.log / "checkpoint").read_bytes())
    witness = WitnessSigner("witness.example/w", secrets.token_bytes(32))
    lines = f"witness w {witness.verifier}\nquorum %s\n"
    asked, nobody = (parse_quorum((lines % name).encode()) for name in ("w", "none"))
    now = int(START.timestamp())
    cosigned = Note(note.text, (*note.signatures, witness.cosign(note.text, now)))
    assert witnessed(None, bytes(cosigned), START) is None
    assert witnessed(nobody, bytes(cosigned), START) is None
    assert witnessed(asked, bytes(note), START) is False
    assert witnessed(asked, bytes(cosigned), START) is True
    moved = Note(note.text, (*note.signatures, witness.cosign("another\n1\nAAAA\n", now)))
    assert witnessed(asked, bytes(moved), START) is False


def test_witnesses_that_have_been_away_for_an_hour_vouch_for_nothing(place):
    place.write(SOUND)
    note = parse_note((place.log / "checkpoint").read_bytes())
    witness = WitnessSigner("witness.example/w", secrets.token_bytes(32))
    asked = parse_quorum(f"witness w {witness.verifier}\nquorum w\n".encode())
    cosignature = witness.cosign(note.text, int(START.timestamp()))
    cosigned = bytes(Note(note.text, (*note.signatures, cosignature)))
    assert witnessed(asked, cosigned, START + timedelta(minutes=59)) is True
    later = START + timedelta(minutes=61)
    assert witnessed(asked, cosigned, later) is False
    assert witnessed(asked, cosigned, later, START) is True


@pytest.mark.parametrize("size", [-1, -5, 0])
def test_facts_of_an_impossible_size_are_made_anew(place, size):
    place.write(SOUND)
    found, _ = folded(place.logs, Facts(origin=ORIGIN))
    save(place.facts, moved(found, size=size))
    assert saved(place.facts, place.logs) == Facts(origin=ORIGIN)
