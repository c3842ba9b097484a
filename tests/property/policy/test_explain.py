"""What ``policy decide --explain`` says was decided: all steps hold just where it allows."""

import json

import pytest

from effort import examples
from policies import asked_of
from policy_questions import drawn, of, questions
from portcullis.policy.engine import DECISION, RegorusEngine
from portcullis.policy.explain import explained


def well_formed(asked):
    """Whether the gate itself could ask this."""
    principal, session = asked.get("principal"), asked.get("session", 0)
    texts = [asked.get(name) for name in ("action", "server", "name", "environment")]
    return (
        all(isinstance(one, str) for one in texts)
        and isinstance(principal, dict)
        and set(principal) == {"kind", "id", "session"}
        and isinstance(principal["id"], str)
        and isinstance(asked.get("arguments"), dict)
        and isinstance(asked.get("features"), list)
        and (session is None or (isinstance(session, dict) and len(session) == 6))
    )


@pytest.mark.nightly
def test_the_steps_hold_exactly_where_the_decision_allows():
    engine, seen = RegorusEngine(), set()
    for seed in range(examples(10)):
        policy, source = drawn(seed)
        for asked in filter(well_formed, questions(source, 12)):
            question = asked_of(of(DECISION, asked))
            answer = json.loads(engine.evaluate(policy, DECISION, question))
            steps = explained(policy.bundle, question.text.encode())
            outer = [step for step in steps if not step.depth]
            assert all(step.held for step in outer) == answer["allow"], (seed, asked, answer, steps)
            assert all(step.held for step in outer[:-1])
            if answer["rule"] and outer[-1].rule:
                assert outer[-1].rule == answer["rule"], (seed, asked, answer, steps)
            seen.add(answer.get("code", "allow"))
    assert {"allow", "PC3001", "PC3002", "PC3005", "PC3009", "PC3016"} <= seen
