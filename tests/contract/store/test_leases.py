"""If these fail, nobody knows which agent had access to which credential."""

from __future__ import annotations

import msgspec
import pytest

from portcullis.core.secret_ports import Rotation, Use
from portcullis.store.leases import SqlLeases

USE = Use(
    reference="env:CRM",
    version="aa",
    agent="shop",
    session="s1",
    upstream="mcp:crm",
    scope="read",
    first=10.0,
    last=20.0,
    count=3,
)


@pytest.fixture
def leases(engine):
    return SqlLeases(engine)


def with_(**fields):
    return msgspec.structs.replace(USE, **fields)


def test_uses_of_the_same_are_one_row(leases):
    leases.add([USE, with_(agent="desk", last=15.0)])
    leases.add([with_(first=5.0, last=12.0, count=2), with_(first=30.0, last=40.0, count=1)])
    assert leases.uses(agent="shop") == (with_(first=5.0, last=40.0, count=6),)
    assert [one.agent for one in leases.uses()] == ["shop", "desk"]


def test_uses_are_found_by_agent_secret_and_time_and_forgotten(leases):
    leases.add([USE, with_(reference="env:MAIL", last=50.0), with_(version="bb", last=30.0)])
    assert {one.version for one in leases.uses(reference="env:CRM")} == {"aa", "bb"}
    assert [one.reference for one in leases.uses(since=40.0)] == ["env:MAIL"]
    assert leases.uses(agent="nobody") == ()
    assert leases.forget(25.0) == 1
    assert len(leases.uses()) == 2


def test_the_last_rotation_stands_and_changes_are_counted(leases):
    before = leases.changes()
    first = Rotation(reference="env:CRM", at=1.0, rotated=False, verified=False, fault="PC7071")
    leases.rotated(first)
    second = Rotation(reference="env:CRM", at=2.0, rotated=True, verified=True)
    leases.rotated(second)
    assert leases.rotations() == {"env:CRM": second}
    assert leases.changes() == before + 2
