"""However logs are read, in pieces and anew, the queue is what they say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from databases import new_database
from portcullis.core.review import State
from unit.store.test_reviews import OPEN, World, act, flagged

ENTRIES = 3
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["flag", "closed", "reopened", "reminded", "plain"]),
        st.integers(1, ENTRIES),
        st.sampled_from(["gate", "mcp-mail"]),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    made = new_database(tmp_path_factory.mktemp("reviews") / "portcullis.db")
    yield made
    made.dispose()


def written(steps: list[tuple[str, int, str]]) -> tuple[dict[str, list[Any]], dict[int, State]]:
    """The logs after these steps, as a gate writes them, and what each entry is then."""
    logs: dict[str, list[Any]] = {"gate": [], "mcp-mail": []}
    states: dict[int, State] = {}
    turns = dict.fromkeys(range(1, ENTRIES + 1), 0)
    for number, (what, entry, log) in enumerate(steps, 100):
        if what == "flag" and entry not in states:
            logs[log].append(flagged(entry))
            states[entry] = State.OPEN
        elif what in {"closed", "reopened"} and entry in states:
            turns[entry] += 1
            logs["gate"].append(act(number, entry, what, turns[entry]))
            states[entry] = State.CLOSED if what == "closed" else State.OPEN
        elif what == "reminded" and entry in states:
            logs["gate"].append(act(number, entry, what, 0))
        elif what == "plain":
            logs[log].append(flagged(number, review=False))
    return logs, states


@given(steps=STEPS, cuts=st.lists(st.integers(1, 4), min_size=1, max_size=4), twice=st.booleans())
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_queue_is_what_the_logs_say(engine, steps, cuts, twice) -> None:
    logs, states = written(steps)
    world = World(engine)
    for _ in range(2 if twice else 1):
        for log, events in reversed(logs.items()):
            world.projection.restart(log)
            rest, turn = list(events), 0
            while rest:
                size = cuts[turn % len(cuts)]
                world.read(log, *rest[:size])
                rest, turn = rest[size:], turn + 1
    assert {int(one.id, 16): one.state for one in world.all()} == states
    assert set(world.ids(OPEN)) == {one for one, state in states.items() if state is State.OPEN}
