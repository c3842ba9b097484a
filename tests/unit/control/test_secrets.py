"""If these fail, a secret is not rotated when it is due, or is without a record."""

from __future__ import annotations

import pytest

from portcullis.control.containment import by_itself
from portcullis.control.records import Records
from portcullis.control.secrets import HOUR, Brokered, Configured, SecretParts
from portcullis.core.errors import Problem
from portcullis.core.incident import Rotated
from portcullis.core.secret_ports import Rotation
from portcullis.store.engine import open_sqlite
from portcullis.store.leases import SqlLeases

pytestmark = pytest.mark.anyio

CRM = "file:/keys/crm"


class Clock:
    at = 1_000_000.0

    def now(self):
        return self.at

    def monotonic(self):
        return self.at


class Rotations:
    """What rotates; ``fault`` makes that fail."""

    def __init__(self, leases, clock):
        self.leases, self.clock, self.fault, self.asked = leases, clock, "", []

    async def access(self, subject, since):
        return ()

    async def rotate(self, reference):
        self.asked.append(reference)
        good = not self.fault
        self.leases.rotated(
            Rotation(
                reference=reference,
                at=self.clock.at,
                rotated=good,
                verified=good,
                fault=self.fault,
            )
        )
        return Rotated(reference=reference, rotated=good, verified=good, fault=self.fault)


class Recorder:
    def __init__(self):
        self.events = []

    async def durable(self, event):
        self.events.append(event)


@pytest.fixture
def made(tmp_path):
    engine = open_sqlite(tmp_path / "portcullis.db")
    clock, leases, recorder = Clock(), SqlLeases(engine), Recorder()
    rotations = Rotations(leases, clock)
    parts = SecretParts(
        broker=None,
        leases=leases,
        configured={
            CRM: Configured(reference=CRM, upstreams=("crm",), every=24 * HOUR, hook=True),
            "env:X": Configured(reference="env:X", upstreams=("x",)),
        },
        rotations=rotations,
        keep_seconds=10 * HOUR,
    )
    records = Records(gateway="g", recorder=recorder, clock=clock, new_id=lambda: "id")
    yield Brokered(parts, records, clock, "schedule"), rotations, recorder, clock
    engine.dispose()


async def test_a_secret_is_due_when_it_is_old_enough_and_not_before(made):
    brokered, rotations, recorder, clock = made
    assert await brokered.due() == ()
    clock.at += 23.9 * HOUR
    assert await brokered.due() == ()
    clock.at += 0.2 * HOUR
    assert await brokered.due() == (CRM,)
    await brokered.rotate(by_itself(clock.at), CRM, "it is due")
    assert rotations.asked == [CRM]
    assert [one.method for one in recorder.events] == ["secret.rotate", "secret.rotated"]
    assert await brokered.due() == ()
    clock.at += 24 * HOUR
    assert await brokered.due() == (CRM,)


async def test_what_failed_is_tried_again_within_the_hour_and_shown(made):
    brokered, rotations, _, clock = made
    await brokered.due()
    rotations.fault = "PC7071"
    clock.at += 24 * HOUR
    await brokered.rotate(by_itself(clock.at), CRM, "it is due")
    clock.at += 0.9 * HOUR
    assert await brokered.due() == ()
    clock.at += 0.2 * HOUR
    assert await brokered.due() == (CRM,)
    shown = {one.secret.reference: one for one in await brokered.list()}
    assert (shown[CRM].fault, shown[CRM].rotated) == ("PC7071", 0.0)


async def test_a_secret_that_is_not_configured_is_never_handed_to_a_program(made):
    brokered, rotations, recorder, clock = made
    with pytest.raises(Problem) as caught:
        await brokered.rotate(by_itself(clock.at), "file:/etc/shadow", "please")
    assert caught.value.code == "PC5069"
    assert rotations.asked == []
    assert recorder.events == []
