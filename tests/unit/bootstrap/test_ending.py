"""What the gate keeps of sessions in memory is gone soon after their end."""

import asyncio

import pytest

from portcullis.bootstrap import firewall
from portcullis.bootstrap.firewall import ending
from portcullis.core.errors import Problem
from portcullis.store.vaults import LocalVaults

pytestmark = pytest.mark.anyio


class Clock:
    def now(self):
        return 1.0

    monotonic = now


class Sessions:
    def __init__(self):
        self.open = {"one", "two"}
        self.settled = 0

    async def settle(self):
        self.settled += 1
        if self.settled == 1:
            raise Problem("PC9002", "locked")

    def is_open(self, session_id):
        return session_id in self.open


async def test_placeholders_are_forgotten_when_their_session_has_ended(monkeypatch):
    monkeypatch.setattr(firewall, "_LOOK_SECONDS", 0.001)
    vaults, sessions = LocalVaults(Clock()), Sessions()
    for name in ("one", "two"):
        vaults.vault(name).hide("A", name)
    watching = asyncio.create_task(ending([vaults], sessions))
    await asyncio.sleep(0.01)
    assert vaults.vault("two").reveal("<A_1>") == "two"
    sessions.open.remove("two")
    await asyncio.sleep(0.05)
    watching.cancel()
    assert sessions.settled > 1, "it is tried again"
    assert vaults.vault("one").reveal("<A_1>") == "one"
    assert vaults.vault("two").reveal("<A_1>") is None
