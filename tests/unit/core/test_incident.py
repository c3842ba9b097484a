"""If these fail, an incident has a short cut, or a way back."""

import itertools

import pytest

from portcullis.core.errors import Problem
from portcullis.core.incident import (
    ENDS,
    ORDER,
    TRANSITIONS,
    Access,
    Credential,
    Finding,
    Incident,
    Phase,
    Playbook,
    PlaybookStep,
    Rotated,
    Step,
    Subject,
    after,
    digest_of,
    due_of,
)


def test_there_is_one_way_through_and_what_is_not_in_the_table_cannot_happen():
    phase, passed = Phase.OPEN, []
    for step in ORDER:
        assert due_of(phase) is step
        passed.append(phase)
        phase = after(phase, step)
    assert phase is Phase.REINSTATED
    for one, step in itertools.product(Phase, Step):
        if (one, step) in TRANSITIONS:
            reached = after(one, step)
            assert reached in ENDS or passed.index(reached) == passed.index(one) + 1
            continue
        with pytest.raises(Problem) as found:
            after(one, step)
        due = due_of(one)
        said = "it is over" if one in ENDS else f"{due} is due"
        assert (found.value.code, said in found.value.detail) == ("PC7061", True)


@pytest.mark.parametrize(
    ("rotated", "verified", "reason", "settled"),
    [
        (True, True, "", True),
        (True, False, "", False),
        (False, False, "", False),
        (False, False, "changed at the provider", True),
    ],
)
def test_a_credential_is_settled_when_it_was_seen_to_be_another_or_somebody_says_so(
    rotated, verified, reason, settled
):
    access = Access(reference="file:x", source="file", upstream="crm", why="called")
    done = Rotated(reference="file:x", rotated=rotated, verified=verified)
    assert Credential(access=access, rotated=done, reason=reason).settled is settled


def test_a_session_is_due_to_be_closed_where_an_agent_is_due_to_be_reinstated():
    fields = {"id": "i", "playbook": "p", "opened_at": 1.0, "by": "operator:a", "reason": "r"}
    for subject, due in (
        (Subject(agent="a"), Step.REINSTATE),
        (Subject(agent="a", session="s"), Step.CLOSE),
    ):
        one = Incident(subject=subject, since=0.0, phase=Phase.AUDITED, **fields)
        assert one.due is due
        assert one.subject.name == f"{subject.kind}:{subject.value}"


def test_the_digest_is_of_every_finding_in_its_place():
    fields = {"kind": "denied", "log": "gate", "first_at": 1.0, "last_at": 2.0, "last": 1}
    some = [Finding(id=name, first=1, text="x", **fields) for name in "ab"]
    changed = [some[0], Finding(id="b", first=1, text="y", **fields)]
    found = {digest_of(one) for one in (some, some[::-1], some[:1], changed, [])}
    assert len(found) == 5
    assert digest_of(tuple(some)) == digest_of(some)


def test_a_checklist_never_keeps_anybody_from_cutting_off():
    steps = tuple(PlaybookStep(step=one.value, checklist={f"{one}.x": "done"}) for one in ORDER)
    playbook = Playbook(name="p", title="P", steps=steps)
    wanted = {step: len(playbook.before(step)) for step in Step}
    assert wanted == {
        Step.CONTAIN: 0,
        Step.REVOKE: 0,
        Step.ROTATE: 2,
        Step.REAUDIT: 3,
        Step.REINSTATE: 5,
        Step.CLOSE: 4,
        Step.STAND_DOWN: 0,
    }
