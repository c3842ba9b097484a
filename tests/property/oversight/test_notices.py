"""If this fails, a channel ends up with something that is not so, or gets one id for two things."""

from functools import partial

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from portcullis.config.notifications import WebhookChannel
from portcullis.core.approval import TRANSITIONS, Approval, State, Verb
from portcullis.core.call import RiskClass
from portcullis.oversight.notices import (
    delivered,
    drafted,
    filing,
    given_up,
    message,
    put_off,
    stage,
    withdrawn,
)

CHANNEL = WebhookChannel(kind="webhook", url="https://x.example/in", secrets=("env:K",))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("verb"), st.sampled_from(["a", "b", "c"]), st.sampled_from(list(Verb))),
        st.tuples(st.just("mark"), st.sampled_from(["a", "b", "c"]), st.booleans()),
        st.tuples(
            st.just("send"),
            st.sampled_from(["taken", "lost", "answer lost", "died", "refused"]),
            st.none(),
        ),
    ),
    max_size=30,
)


def asked(name):
    return Approval(
        id=name,
        state=State.PENDING,
        binding=name,
        agent="shop-1",
        session="s1",
        action="tool",
        server="mail",
        name="send",
        risk=RiskClass.EXTERNAL,
        created_at=1.0,
        expires_at=9e9,
    )


class Peer:
    """What arrived: the bodies under each id, and how things stand by the last of them."""

    def __init__(self):
        self.by_id = {}
        self.shown = {}

    def take(self, sent):
        new = sent.id not in self.by_id
        self.by_id.setdefault(sent.id, set()).add(msgspec.json.encode(sent))
        if new:
            self.shown = {one.id: one.stage for one in sent.subjects}


def attempt(peer, notice, outcome, now):
    """One attempt to tell, as ``oversight.telling`` makes it; the notice after it."""
    if notice is None or notice.state != "due":
        return notice
    fresh = not notice.draft
    notice = drafted(now, "https://console.example", CHANNEL, notice)
    if outcome in {"taken", "answer lost", "died"}:
        peer.take(message(notice))
    if outcome == "taken":
        return delivered("ref", "webhook", now, 0.0, notice)
    if outcome == "refused":
        return given_up("no", now, 0.0, notice)
    if outcome == "died":
        return notice
    certain = fresh and outcome == "lost"
    return (withdrawn if certain else put_off)("away", now, notice)


@given(STEPS)
def test_whatever_befalls_calls_and_channels_the_channel_ends_up_knowing_how_things_are(steps):
    approvals = {name: asked(name) for name in "abc"}
    peer, notice, now = Peer(), None, 10.0
    filed = partial(filing, "ops", CHANNEL, spacing=0.0)
    for approval in approvals.values():
        notice = filed(approval, now=now).filed(notice)
    for kind, what, how in steps:
        now += 1
        if kind == "send":
            notice = attempt(peer, notice, what, now)
            continue
        approval = approvals[what]
        if kind == "mark":
            field = "reminded_at" if how else "escalated_at"
            changed = {field: now} if approval.state is State.PENDING else {}
        else:
            found = TRANSITIONS.get((approval.state, how))
            changed = {"state": found, "settled_at": now} if found else {}
        approvals[what] = msgspec.structs.replace(approval, **changed)
        notice = filed(approvals[what], now=now).filed(notice)
    failed = notice.state == "failed"
    for _ in range(3):
        now += 1
        notice = attempt(peer, notice, "taken", now)
    assert all(len(bodies) == 1 for bodies in peer.by_id.values())
    if not failed:
        wanted = {
            name: "approved" if stage(one) == "consumed" else stage(one)
            for name, one in approvals.items()
        }
        assert peer.shown == wanted
