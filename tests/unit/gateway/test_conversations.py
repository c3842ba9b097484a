"""If this fails, a server's process goes on for a session of somebody who was killed."""

import asyncio
from types import SimpleNamespace

import pytest

from portcullis.core.principal import Session
from portcullis.gateway.live import GRACE
from portcullis.gateway.mcp_conversations import Conversations

pytestmark = pytest.mark.anyio


def session(name, agent):
    return Session(
        id=name,
        agent=agent,
        application="web",
        user="u",
        prompt="p",
        subject={},
        grant=None,
        opened_at=0,
        expires_at=2e9,
    )


class Feed:
    """Cuts off ``shop-1``, whatever is done in sessions of its included."""

    def reason(self, principal, session):
        return "cut" if "shop-1" in {principal.id, session.agent if session else ""} else None


async def test_whoever_works_in_a_session_of_somebody_who_is_cut_off_loses_the_process():
    conversations, closed = Conversations(SimpleNamespace()), []

    def opened(agent, of):
        async def close(*, at_once):
            assert at_once
            closed.append((agent, of))

        one = SimpleNamespace(
            key=f"{agent}:{of}",
            owner=("agent", agent, of and f"s-{of}"),
            session=session(f"s-{of}", of) if of else None,
            close=close,
        )
        conversations._open[one.key] = one

    for agent, of in (
        ("shop-1", ""),
        ("shop-1", "shop-1"),
        ("helper", "shop-1"),
        ("helper", ""),
        ("helper", "helper"),
    ):
        opened(agent, of)
    conversations.sweep(Feed())
    await asyncio.sleep(GRACE * 1.5)
    assert sorted(closed) == [("helper", "shop-1"), ("shop-1", ""), ("shop-1", "shop-1")]
    assert len(conversations) == 2
