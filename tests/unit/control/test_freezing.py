"""If these fail, an agent asks without end by having others ask for it."""

import msgspec
import pytest

from portcullis.core.approval import Approval, State
from portcullis.core.call import Context, RiskClass

pytestmark = pytest.mark.anyio

ASKED = Approval(
    id="",
    state=State.PENDING,
    binding="",
    agent="",
    session="s1",
    action="tool",
    server="mail",
    name="send",
    risk=RiskClass.DELETE,
    created_at=0.0,
    expires_at=4e9,
)


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_who_sends_others_to_ask_is_frozen_when_they_were_denied_too_often(world):
    store = world.services.approval_parts.store
    bea = Context(
        principal=world.principal("operator", "bea"),
        session=None,
        source="test",
        trace_id="0" * 32,
        received_at=0.0,
    )
    for number in range(3):
        name = f"helper-{number}"
        asked = {"id": name, "binding": name, "agent": name, "chain": ("desk-1", "boss-1")}
        store.claim(msgspec.structs.replace(ASKED, **asked), b"x", most=9, now=1.0)
        assert store.frozen() == ()
        await world.services.approvals("control").deny(bea, name, "no")
    assert store.frozen() == ("boss-1", "desk-1")
    frozen = [one.name for one in world.recorder.events if one.method == "approval.frozen"]
    assert sorted(frozen) == ["agent:boss-1", "agent:desk-1"]
