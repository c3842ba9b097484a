"""If these fail, an agent's token runs out, or the gate is asked for far too many."""

import asyncio

import pytest

from portcullis.client.tokens import TokenSource, delegation_in
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio


class Clock:
    time = 1000.0

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


class Endpoint:
    def __init__(self):
        self.asked = []
        self.problem = None
        self.answer = {"token_type": "Bearer", "expires_in": 100}

    async def __call__(self, delegation):
        self.asked.append(delegation)
        await asyncio.sleep(0.01)
        if self.problem is not None:
            raise self.problem
        return {"access_token": f"a.b.{len(self.asked)}"} | self.answer


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def endpoint():
    return Endpoint()


@pytest.fixture
def source(endpoint, clock):
    return TokenSource(endpoint, clock)


async def test_a_hundred_callers_ask_the_gate_once(source, endpoint):
    tokens = await asyncio.gather(*(source.token() for _ in range(100)))
    assert endpoint.asked == [""]
    assert len({token.value for token in tokens}) == 1


async def test_callers_on_two_event_loops_do_not_wait_for_one_another(source, endpoint):
    other = asyncio.to_thread(lambda: asyncio.run(source.token()))
    first, second = await asyncio.gather(source.token(), other)
    assert {first.value, second.value} <= {"a.b.1", "a.b.2"}
    assert await asyncio.to_thread(lambda: asyncio.run(source.token())) == await source.token()
    assert len(endpoint.asked) <= 2


async def test_a_token_is_renewed_before_it_expires(source, endpoint, clock):
    first = await source.token()
    clock.time += 74
    assert await source.token() == first
    clock.time += 2
    assert (await source.token()).value != first.value


async def test_a_refused_token_is_never_shown_again(source, endpoint):
    first = await source.token()
    assert (await source.token(spent=first.value)).value != first.value
    assert await source.token(spent=first.value) == await source.token()
    assert len(endpoint.asked) == 2


async def test_a_token_that_is_still_good_outlasts_a_fault_of_the_gate(source, endpoint, clock):
    first = await source.token()
    clock.time += 80
    endpoint.problem = Problem("PC7011", "down")
    assert await source.token() == first
    clock.time += 21
    with pytest.raises(Problem, match="PC7011"):
        await source.token()


async def test_a_refusal_ends_the_use_of_a_token(source, endpoint, clock):
    await source.token()
    clock.time += 80
    endpoint.problem = Problem("PC4001", "revoked")
    with pytest.raises(Problem, match="PC4001"):
        await source.token()


async def test_each_delegation_has_its_own_token(source, endpoint):
    values = {(await source.token(each)).value for each in ("", "a.b.c", "a.b.d", "a.b.c")}
    assert len(values) == 3
    assert endpoint.asked == ["", "a.b.c", "a.b.d"]


async def test_one_caller_who_gives_up_takes_nothing_from_the_others(source, endpoint):
    hasty = asyncio.create_task(source.token())
    patient = asyncio.create_task(source.token())
    await asyncio.sleep(0)
    hasty.cancel()
    assert (await patient).value == "a.b.1"


async def test_delegations_do_not_fill_the_memory(source):
    source_size = 1024
    for number in range(0, source_size + 200, 50):
        await asyncio.gather(*(source.token(f"a.b.{number + each}") for each in range(50)))
    assert len(source._held) <= source_size


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": ""},
        {"access_token": "no token"},
        {"token_type": "N_A"},
        {"expires_in": "1"},
    ],
)
async def test_an_answer_without_a_usable_token_is_a_fault(source, endpoint, answer):
    endpoint.answer |= answer
    with pytest.raises(Problem, match="PC7011"):
        await source.token()


def test_no_token_shows_in_its_representation(source):
    token = asyncio.run(source.token())
    assert token.value not in repr(token)


@pytest.mark.parametrize(
    ("authorization", "key", "found"),
    [
        ("Bearer aa.bb.cc", "", "aa.bb.cc"),
        ("bearer aa.bb.cc", "", "aa.bb.cc"),
        ("", "aa.bb.cc", "aa.bb.cc"),
        ("Bearer aa.bb.cc", "aa.bb.cc", "aa.bb.cc"),
        ("Bearer spiffe", "sk-none", ""),
        ("Bearer spiffe", "aa.bb.cc", "aa.bb.cc"),
        ("Basic aa.bb.cc", "", ""),
        ("", "", ""),
    ],
)
def test_a_delegation_is_told_from_a_placeholder(authorization, key, found):
    assert delegation_in(authorization, key) == found


def test_two_delegations_are_not_guessed_between():
    with pytest.raises(Problem, match="PC2005"):
        delegation_in("Bearer aa.bb.cc", "aa.bb.dd")
