"""Whatever is done in whatever order: states follow the table, and a call runs once at most."""

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import StaticPool, create_engine, event

from portcullis.core.approval import TRANSITIONS, Approval, State, Verb
from portcullis.core.call import RiskClass
from portcullis.store.approvals import SqlApprovals
from portcullis.store.tables import METADATA

CALLS = st.sampled_from("xy")
LIFE = 10.0


def engine():
    """SQLite in memory, which begins transactions as the gate's does."""
    made = create_engine("sqlite://", poolclass=StaticPool)

    @event.listens_for(made, "connect")
    def connected(connection, record):
        connection.isolation_level = None

    @event.listens_for(made, "begin")
    def begun(connection):
        connection.exec_driver_sql("BEGIN")

    METADATA.create_all(made)
    return made


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.engine = engine()
        self.store = SqlApprovals(self.engine)
        self.now = 100.0
        self.numbers = itertools.count()
        self.states = {}
        self.approvals, self.runs = {}, {}

    def teardown(self):
        self.engine.dispose()

    @rule(call=CALLS)
    def asks(self, call):
        one = Approval(
            id=f"id{next(self.numbers)}",
            state=State.PENDING,
            binding=call * 64,
            agent="shop-1",
            session="",
            action="tool",
            server="mail",
            name="send",
            risk=RiskClass.DELETE,
            created_at=self.now,
            expires_at=self.now + LIFE,
        )
        claimed = self.store.claim(one, b"s", most=5, now=self.now)
        if claimed.outcome == "asked":
            self.states[one.id] = State.PENDING
        if claimed.outcome == "consumed":
            assert claimed.approval.expires_at > self.now
            assert claimed.approval.binding == call * 64
            self.runs[claimed.approval.id] = self.runs.get(claimed.approval.id, 0) + 1

    @rule(verb=st.sampled_from(Verb), data=st.data())
    def moves(self, verb, data):
        if not self.states:
            return
        chosen = data.draw(st.sampled_from(sorted(self.states)))
        before = self.store.get(chosen)
        moved = self.store.move(chosen, verb, now=self.now, by="bea")
        allowed = TRANSITIONS.get((before.state, verb))
        over = before.expires_at <= self.now and verb in {Verb.APPROVE, Verb.CONSUME}
        assert (moved.state if moved else None) == (None if over else allowed)
        if moved is not None and verb is Verb.CONSUME:
            self.runs[chosen] = self.runs.get(chosen, 0) + 1
        if moved is not None and verb is Verb.APPROVE:
            self.approvals[chosen] = self.approvals.get(chosen, 0) + 1

    @rule(seconds=st.floats(0.1, 12.0))
    def waits(self, seconds):
        self.now += seconds

    @invariant()
    def states_follow_the_table_and_only_what_was_approved_ran_once(self):
        steps = {(was, to) for (was, _), to in TRANSITIONS.items()}
        for one in self.store.list(tuple(State), 1000):
            was = self.states[one.id]
            reached = {was} | {to for start, to in steps if start is was}
            reached |= {to for start, to in steps if start in reached}
            assert one.state in reached
            self.states[one.id] = one.state
            assert self.runs.get(one.id, 0) == (one.state is State.CONSUMED)
            assert self.runs.get(one.id, 0) <= self.approvals.get(one.id, 0) <= 1


TestStates = Machine.TestCase
TestStates.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
