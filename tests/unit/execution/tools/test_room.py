"""If this fails, one agent keeps the gate's own tools from all others."""

import contextlib

import pytest

from portcullis.core.errors import Problem
from portcullis.execution.tools.room import Room


def full(room, whose):
    with contextlib.suppress(Problem), room.taken(whose):
        return False
    return True


def test_nobody_has_more_than_his_share_and_a_place_is_given_back():
    room = Room(8)
    with contextlib.ExitStack() as one, contextlib.ExitStack() as others:
        for _ in range(2):
            one.enter_context(room.taken("agent:one"))
        with pytest.raises(Problem, match="PC5025"), room.taken("agent:one"):
            pytest.fail("it had more than its share")
        for number in range(6):
            assert not full(room, f"agent:{number}")
            others.enter_context(room.taken(f"agent:{number}"))
        assert full(room, "agent:new")
        with pytest.raises(Problem) as refused, room.taken("agent:new"):
            pytest.fail("there was room")
        assert refused.value.code == "PC5006"
        one.close()
        assert not full(room, "agent:one")
