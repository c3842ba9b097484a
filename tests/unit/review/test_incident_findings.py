"""If these fail, something that an agent did is never judged before it works again."""

from __future__ import annotations

import msgspec
import pytest

from histories import SHOP, Past, second
from portcullis.core.incident import Subject, digest_of
from portcullis.review.incident_findings import LogFindings
from portcullis.review.incident_groups import EACH, KINDS, OTHERS
from portcullis.review.incident_meaning import Meaning

DAY = 86_400.0
CATALOGUE = Meaning(
    shares={"notes.put": "memory notes", "notes.get": "memory notes", "crm.put": "resource crm"},
    reads={"memory notes": ("notes.get",), "resource crm": ("crm.get",)},
    things={name: frozenset({"id"}) for name in ("notes.put", "notes.get", "crm.put", "crm.get")},
    destinations={"mail.send": frozenset({"to"})},
    digest="sha256:aa",
)


def to(letter: str) -> dict[str, str]:
    return {"arguments.to": f"hmac-sha256:{letter * 64}"}


def thing(letter: str) -> dict[str, str]:
    return {"arguments.id": f"hmac-sha256:{letter * 64}"}


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    made = Past(tmp_path_factory.mktemp("findings"))
    made.meaning = CATALOGUE
    made.call(0, "crm.get")
    made.call(1, "mail.send", risk="external", commitments=to("a"), approval="old")
    # The period begins.
    made.call(DAY, "crm.get")
    for number in range(3):
        made.call(DAY + 1 + number, "files.wipe", verdict="deny", code="PC3002", risk="delete")
    made.call(DAY + 5, "crm.get", findings=("INJECTION:wrap@result", "EMAIL:mask@result"))
    seen = made.call(DAY + 6, "mail.send", risk="external", commitments=to("a"), review=True)
    made.call(DAY + 7, "mail.send", risk="external", commitments=to("b"))
    made.call(DAY + 8, "mail.send", risk="external", commitments=to("b"), approval="a7")
    made.call(DAY + 9, "shell.run", risk="modify", log="gw-2")
    made.call(DAY + 10, "crm.get", source="203.0.113.9:99", credential="svid:01")
    made.admin(DAY + 11, "review.closed", name=seen.id,
               parameters={"turn": 1, "disposition": "expected"})  # fmt: skip
    made.call(DAY + 12, "notes.put", risk="modify", session="s3", commitments=thing("e"))
    made.call(DAY + 13, "notes.get", principal="clerk", session="s7", commitments=thing("e"))
    made.call(DAY + 14, "notes.get", principal="clerk", session="s8", commitments=thing("f"))
    made.call(DAY + 15, "crm.get", principal="helper", session="s3")
    made.event(DAY + 16, "identity", method="token.delegate", principal_kind="agent",
               principal="shop", verdict="allow", source="10.0.0.5:2", credential="t1",
               parameters={"may_act": "agent:deputy"})  # fmt: skip
    made.event(DAY + 17, "identity", method="token.issue", principal_kind="agent",
               principal="deputy", verdict="allow", credential="t2",
               parameters={"chain": ["shop"]})  # fmt: skip
    made.call(DAY + 20, "files.wipe", principal="other", verdict="deny", code="PC3002")
    yield made.written()
    made.close()


def drawn(past: Past, subject: Subject = SHOP):
    return past.findings.read(subject, second(DAY), second(2 * DAY))


def groups(found) -> set[tuple[str, str, str, int]]:
    return {(one.kind, one.name, one.code, one.count) for one in found.findings}


def test_every_kind_of_thing_that_somebody_has_to_judge_is_found(past) -> None:
    assert groups(drawn(past)) == {
        ("denied", "files.wipe", "PC3002", 3),
        ("found", "crm.get", "INJECTION", 1),
        ("found", "crm.get", "EMAIL", 1),
        ("unreviewed", "mail.send", "external", 1),
        ("approved", "mail.send", "external", 1),
        ("new_tool", "shell.run", "modify", 1),
        ("new_tool", "notes.put", "modify", 1),
        ("new_value", "mail.send", "to", 1),
        ("other_host", "certificate", "203.0.113.9", 1),
        ("read_by_others", "deputy acted on its behalf", "", 2),
        ("read_by_others", "clerk read the same thing that it had written", "notes.get", 1),
        ("read_by_others", "clerk read a memory that it had written to", "notes.get", 1),
        ("read_by_others", "helper acted in one of its sessions", "crm.get", 1),
    }


def test_groups_say_where_their_events_stand(past) -> None:
    logs = past.logs()
    (denied,) = (one for one in drawn(past).findings if one.kind == "denied")
    first, last = (logs.event("gate", one) for one in (denied.first, denied.last))
    assert (first.code, last.code) == ("PC3002", "PC3002")
    assert (denied.first_at, denied.last_at) == (second(DAY + 1), second(DAY + 3))
    assert denied.text == "files.wipe (PC3002): was refused, 3 times"
    (other,) = (one for one in drawn(past).findings if one.name == "shell.run")
    assert other.log == "gw-2"


def test_the_same_logs_give_the_same_answer(past) -> None:
    one, two = drawn(past), drawn(past)
    assert one == two
    assert one.digest == digest_of(one.findings)
    assert len({finding.id for finding in one.findings}) == len(one.findings)
    assert one.sizes == {"gate": past.logs().size("gate"), "gw-2": 1}


def test_what_was_not_projected_yet_is_found_all_the_same(tmp_path, past) -> None:
    made = Past(tmp_path)
    made.call(DAY, "files.wipe", verdict="deny", code="PC3002")
    made.written(projected=False)
    found = drawn(made)
    assert ("denied", "files.wipe", "PC3002", 1) in groups(found)
    assert found.sizes == {"gate": 1}
    made.close()


def test_one_session_is_judged_by_itself(past) -> None:
    found = groups(drawn(past, Subject(agent="shop", session="s3")))
    assert ("new_tool", "notes.put", "modify", 1) in found
    assert not {one for one in found if one[0] in {"denied", "other_host", "found"}}


def test_whoever_makes_noise_hides_nothing_but_noise(tmp_path) -> None:
    made = Past(tmp_path)
    for number in range(3 * EACH):
        made.call(DAY + number, f"noise.t{number}", verdict="deny", code="PC3002")
    made.call(DAY + 3 * EACH, "mail.send", risk="external")
    made.written()
    found = drawn(made)
    assert ("unreviewed", "mail.send", "external", 1) in groups(found)
    assert ("denied", OTHERS, "", 2 * EACH) in groups(found)
    assert found.beyond == 2 * EACH
    assert sum(one.count for one in found.findings if one.kind == "denied") == 3 * EACH
    made.close()


def test_a_history_that_is_too_long_is_not_passed_over_in_silence(tmp_path) -> None:
    made = Past(tmp_path)
    for number in range(12):
        made.call(DAY + number, "crm.get")
    made.written()
    found = LogFindings(made.happened, made.logs, Meaning, most=5).read(SHOP, 0.0, 0.0)
    (unread,) = (one for one in found.findings if one.kind == "unread")
    assert unread.first == 5
    assert "more than is looked at" in unread.text
    made.close()


def test_whoever_floods_the_log_first_hides_nothing_but_the_flood(tmp_path) -> None:
    made = Past(tmp_path)
    for number in range(60):
        made.call(DAY + number, "crm.get")
        made.call(DAY + number, f"none.t{number}", verdict="deny", code="PC3002")
    made.call(DAY + 90, "mail.send", risk="external")
    made.written()
    drawing = LogFindings(made.happened, made.logs, Meaning, most=21)
    found = groups(drawing.read(SHOP, 0.0, 0.0))
    assert ("unreviewed", "mail.send", "external", 1) in found
    assert {one for one in found if one[0] == "unread"} == {
        ("unread", "crm.get", "read", 50),
        ("unread", "", "PC3002", 50),
    }
    made.close()


@pytest.mark.parametrize("projected", [True, False], ids=["rows", "tail"])
def test_a_stolen_credential_that_proved_nothing_is_found(tmp_path, projected) -> None:
    made = Past(tmp_path)
    made.call(DAY, "crm.get", credential="t1")
    for at, credential in ((1, "t1"), (2, "t2"), (3, "sha256:00")):
        made.event(DAY + at, "error", method="POST /mcp", verdict="deny", code="PC2047",
                   credential=credential, source="198.51.100.7:9")  # fmt: skip
    if projected:
        made.written()
    else:
        made.written(projected=False)
        made.happened.names = lambda *_: ("credential:t1",)
    found = groups(drawn(made))
    assert ("denied", "somebody who showed a credential of its", "PC2047", 1) in found
    assert ("other_host", "token", "198.51.100.7", 1) in found
    if projected:
        kinds = [one.kind for one in made.timeline.read(SHOP, 0.0, 0.0).rows]
        assert kinds == ["read", "denied"]
    made.close()


def test_names_that_others_chose_are_bounded_and_printable(tmp_path) -> None:
    made = Past(tmp_path)
    made.call(DAY, "crm." + "x" * 240, verdict="deny", code="PC3002\x1b[2J", reason="<b>")
    made.written()
    (one,) = drawn(made).findings
    assert len(one.name) <= 80
    assert one.code == "PC3002\\x1b[2J"
    assert one.text.isprintable()
    made.close()


def test_the_radius_says_what_cannot_be_known(past) -> None:
    radius = past.radius.draw(SHOP, second(DAY))
    assert [one.how for one in radius.reached] == ["delegated", "session", "thing", "memory"]
    assert {one.tool: one.count for one in radius.written} == {
        "mail.send": 3, "shell.run": 1, "notes.put": 1,
    }  # fmt: skip
    said = " ".join(radius.limits)
    assert "around the gate" in said
    assert "mail.send, shell.run" in said
    blind = Past.radius.fget(_with(past, Meaning())).draw(SHOP, second(DAY))
    assert "No policy can be read" in " ".join(blind.limits)
    assert {one.how for one in blind.reached} == {"delegated", "session"}
    assert msgspec.json.encode(blind)


def _with(past: Past, meaning: Meaning) -> Past:
    other = Past.__new__(Past)
    other.__dict__ |= past.__dict__ | {"meaning": meaning}
    return other


def test_every_finding_has_words(past) -> None:
    assert {one.kind for one in drawn(past).findings} <= KINDS.keys()
