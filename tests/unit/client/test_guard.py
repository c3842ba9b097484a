"""If these fail, a decorated tool runs without a yes, runs twice, or tells what was held back."""

import asyncio
import inspect
import os
import threading
import time
import typing
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import date
from functools import partial

import pytest
from aiohttp import web
from pydantic import BaseModel

import client_gate
from guard_api import reports
from portcullis.client.guard import Guard, Held, Refused, ToolError
from portcullis.core.errors import Problem


def raising(problem):
    def answer(_):
        raise problem

    return answer


def held(approval):
    problem = Problem("PC3040", f"approval {approval} is pending")
    problem.approval = approval
    return problem


class Order(BaseModel):
    number: str
    due: date


def test_it_looks_like_the_function_it_guards(guard):
    def refund(order: str, amount: float = 1.0) -> str:
        """Pay back."""
        return order

    async def arefund(order: str) -> str:
        return order

    guarded, aguarded = guard.tool(refund), guard.tool(arefund)
    assert inspect.signature(guarded) == inspect.signature(refund)
    assert typing.get_type_hints(guarded) == typing.get_type_hints(refund)
    assert (guarded.__name__, guarded.__doc__) == ("refund", "Pay back.")
    assert not inspect.iscoroutinefunction(guarded)
    assert inspect.iscoroutinefunction(aguarded)


def test_the_gate_is_told_the_tool_and_every_argument(guard, api):
    @guard.tool(name="pay_back", description="Pays.")
    def refund(order: Order, amount: float = 2.5, *, schema: str = "x") -> str:
        return f"{order.due.year} {amount} {schema}"

    assert refund(Order(number="7", due=date(2031, 5, 4))) == "2031 2.5 x"
    [asked] = api.asked
    assert asked["toolset"] == "shop"
    assert asked["arguments"] == {
        "order": {"number": "7", "due": "2031-05-04"},
        "amount": 2.5,
        "schema": "x",
    }
    assert (asked["tool"]["name"], asked["tool"]["description"]) == ("pay_back", "Pays.")
    schema = asked["tool"]["inputSchema"]
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == ["order", "amount", "schema"]
    assert schema["required"] == ["order"]
    assert schema["properties"]["amount"] == {"type": "number", "default": 2.5}
    assert api.reported == [{"result": "2031 2.5 x", "is_error": False}]


def test_what_runs_is_what_the_gate_gave_back_in_the_types_of_the_function(guard, api):
    api.decide = lambda _: {
        "call": "c",
        "arguments": {"order": {"number": "8", "due": "2032-01-01"}, "amount": 1},
    }

    @guard.tool
    def refund(order: Order, amount: float) -> tuple[Order, float]:
        return order, amount

    assert refund(Order(number="7", due=date(2031, 5, 4)), 99) == (
        Order(number="8", due=date(2032, 1, 1)),
        1.0,
    )


def test_methods_are_called_on_what_they_belong_to(guard, api):
    class Till:
        def __init__(self, rate):
            self.rate = rate

        @guard.tool
        def refund(self, amount: int) -> int:
            return self.rate * amount

        @guard.tool
        async def arefund(self, amount: int) -> int:
            return self.rate * amount

        @classmethod
        @guard.tool
        def make(cls, rate: int) -> int:
            return cls(rate).rate

        @staticmethod
        @guard.tool
        def zero(first: int, /, last: int = 0) -> int:
            return first * last

    assert Till(3).refund(5) == 15
    assert asyncio.run(Till(2).arefund(5)) == 10
    assert (Till.make(4), Till.zero(9)) == (4, 0)
    assert [asked["arguments"] for asked in api.asked] == [
        {"amount": 5},
        {"amount": 5},
        {"rate": 4},
        {"first": 9, "last": 0},
    ]


async def _numbers(count: int):
    yield count


def _generator(count: int):
    yield count


def _variadic(*orders: str) -> str:
    return orders[0]


def _keywords(**orders: str) -> str:
    return orders["a"]


def _opaque(lock: threading.Event) -> str:
    return str(lock)


def _unfit(order: str = None) -> str:  # noqa: RUF013 - the point
    return order


def _nowhere(order: "Nowhere") -> str:  # noqa: F821 - the point
    return order


@pytest.mark.parametrize(
    "function",
    [_numbers, _generator, _variadic, _keywords, _opaque, _unfit, _nowhere, classmethod(_unfit)],
)
def test_what_cannot_be_guarded_is_refused_before_it_is_ever_called(guard, function):
    with pytest.raises(TypeError):
        guard.tool(function)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: web.Response(status=500, text="oops"),
        lambda _: web.Response(status=302, headers={"location": "/v1/elsewhere"}),
        lambda _: {"call": "c"},
        lambda _: {"call": "", "arguments": {}},
        lambda _: {"arguments": {"order": "7"}},
        lambda _: [],
        raising(Problem("PC3001", "not granted")),
        raising(Problem("PC9001", "a check failed")),
    ],
)
def test_without_a_yes_nothing_runs(guard, api, answer):
    ran = []
    api.decide = answer

    @guard.tool
    def refund(order: str) -> str:
        ran.append(order)
        return order

    with pytest.raises(Refused) as raised:
        refund("7")
    assert (ran, raised.value.ran, api.reported) == ([], False, [])
    assert len(api.asked) == 1


def test_arguments_that_do_not_fit_are_not_even_asked_about(guard, api):
    @guard.tool
    def refund(amount: float) -> str:
        return "paid"

    for wrong in ({"amount": "much"}, {"amount": 1, "more": 2}, {}):
        with pytest.raises((ValueError, TypeError)):
            refund(**wrong)
    assert api.asked == []


def test_a_result_that_the_gate_withholds_is_not_returned(guard, api):
    api.judge = raising(Problem("PC3023", "held"))
    ran = []

    @guard.tool
    def refund(order: str) -> str:
        ran.append(order)
        return "secret"

    with pytest.raises(Refused) as raised:
        refund("7")
    assert raised.value.ran
    assert "has run" in raised.value.message
    assert (ran, len(api.reported)) == (["7"], 1)


def test_a_changed_result_comes_in_the_type_that_was_promised_or_not_at_all(guard, api):
    @guard.tool
    def read(number: str) -> Order:
        return Order(number=number, due=date(2031, 5, 4))

    @guard.tool
    def untyped(number: str):
        return {"number": number}

    api.judge = lambda _: {"result": {"number": "[MASKED]", "due": "2031-05-04"}}
    assert read("7") == Order(number="[MASKED]", due=date(2031, 5, 4))
    assert untyped("7") == {"number": "[MASKED]", "due": "2031-05-04"}
    api.judge = lambda _: {"result": {"number": "7", "due": "[MASKED]"}}
    with pytest.raises(Refused, match="PC5009") as raised:
        read("7")
    assert raised.value.ran


def test_a_result_that_was_not_changed_is_the_very_one(guard):
    made = {"a": [1, 2.5, None, Order(number="7", due=date(2031, 5, 4))]}

    @guard.tool
    def read() -> dict[str, list[int | float | Order | None]]:
        return made

    assert read() is made


@pytest.mark.parametrize(
    "result",
    [threading.Event(), b"\xff", "\ud800", range(3), [2**63], "a\0b"],
    ids=["object", "bytes", "surrogate", "range", "large", "nul"],
)
def test_a_result_that_is_no_json_is_withheld_as_one_of_a_tool_that_ran(guard, api, result):
    @guard.tool
    def read():
        return result

    with pytest.raises(Refused, match="PC1020") as raised:
        read()
    assert raised.value.ran
    assert api.reported[0]["is_error"] is True


def test_failures_are_judged_and_raised_as_they_are(guard, api):
    @guard.tool
    def fail(order: str) -> str:
        raise KeyError(order)

    @guard.tool
    async def afail(order: str) -> str:
        raise KeyError(order)

    with pytest.raises(KeyError):
        fail("7")
    with pytest.raises(KeyError):
        asyncio.run(afail("7"))
    assert api.reported == [{"result": "KeyError: '7'", "is_error": True}] * 2
    api.judge = lambda _: {"result": "KeyError: [MASKED]"}
    with pytest.raises(ToolError, match="MASKED") as raised:
        fail("7")
    assert raised.value.__context__ is None
    api.judge = raising(Problem("PC3022", "an injection"))
    with pytest.raises(Refused) as withheld:
        fail("7")
    assert withheld.value.ran


def test_a_refusal_after_the_tool_ran_says_so_also_when_the_guard_is_closed(api):
    guards = [Guard(toolset="shop", url=api.url) for _ in range(3)]

    async def slow(_):
        await asyncio.sleep(5)

    def close():
        guards[0].close()

    with pytest.raises(Refused) as within:
        guards[0].tool(close)()
    api.judge = slow
    threading.Timer(0.3, guards[1].close).start()
    with pytest.raises(Refused, match="PC70") as meanwhile:
        guards[1].tool(lambda: "done")()

    @guards[2].tool
    async def done():
        return "done"

    threading.Timer(0.3, guards[2].close).start()
    with pytest.raises(Refused, match="PC70") as awaited:
        asyncio.run(done())
    assert [each.value.ran for each in (within, meanwhile, awaited)] == [True] * 3


def test_a_yes_that_nobody_waits_for_is_given_back(guard, api):
    ran = []

    @guard.tool
    async def refund(order: str) -> str:
        ran.append(order)
        return order

    async def slow(body):
        await asyncio.sleep(0.2)
        return {"call": "c", "arguments": body["arguments"]}

    async def go():
        task = asyncio.create_task(refund("7"))
        await client_gate.until(lambda: api.asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    api.decide = slow
    asyncio.run(go())
    [reported] = reports(api, 1)
    assert reported["is_error"] is True
    assert ran == []


def test_a_thread_outside_of_the_session_does_not_act_without_one(api):
    def in_thread(work):
        with ThreadPoolExecutor() as pool:
            return pool.submit(work).result(10)

    with Guard(toolset="shop", url=api.url) as guard:
        refund = guard.tool(lambda: "paid")
        assert in_thread(refund) == "paid"  # no sessions, no rule
        with guard.session("ada"):
            with pytest.raises(Refused, match="no session"):
                in_thread(refund)
            assert in_thread(partial(copy_context().run, refund)) == "paid"
        with pytest.raises(Refused, match="no session"):
            refund()
    with Guard(toolset="shop", url=api.url, sessionless=True) as guard, guard.session("ada"):
        assert in_thread(guard.tool(lambda: "paid")) == "paid"
    with Guard(toolset="shop", url=api.url, delegation="own") as guard, guard.session("ada"):
        assert in_thread(guard.tool(lambda: "paid")) == "paid"
    assert api.asked_in == [None, "Bearer ada", None, "Bearer own"]


def test_it_waits_for_a_human_as_long_as_it_was_told_to(guard, api):
    answers = [held("a-1"), held("a-1")]

    def decide(body):
        if answers:
            raise answers.pop()
        return {"call": "c", "arguments": body["arguments"]}

    api.decide = decide

    @guard.tool(wait=20)
    def refund(order: str) -> str:
        return "paid"

    began = time.monotonic()
    assert refund("7") == "paid"
    assert time.monotonic() - began >= 1.0
    assert api.asked[0] == api.asked[1] == api.asked[2]
    api.decide = raising(held("a-2"))
    for wait, asked in ((0, 1), (0.6, 2)):
        api.asked.clear()
        with pytest.raises(Held) as raised:
            guard.tool(wait=wait)(refund.__wrapped__)("7")
        assert raised.value.approval == "a-2"
        assert len(api.asked) == asked


def test_a_sync_tool_may_be_called_on_a_running_loop_and_in_many_threads(guard):
    @guard.tool
    def refund(order: str) -> str:
        return order

    async def go():
        direct = refund("0")
        return [direct, *await asyncio.gather(*(asyncio.to_thread(refund, f"{n}") for n in "1234"))]

    assert asyncio.run(go()) == list("01234")
    assert asyncio.run(go()) == list("01234")  # and on the next loop


def test_a_task_has_its_own_session(api):
    with Guard(toolset="shop", url=api.url, delegation="own", key="local") as guard:

        @guard.tool
        async def refund(order: str) -> str:
            await asyncio.sleep(0.01)
            return order

        async def serve(user):
            with guard.session(user):
                await refund(user)

        async def go():
            await asyncio.gather(serve("ada"), serve("bea"))
            await refund("nobody")

        asyncio.run(go())
    assert sorted(api.sessions) == sorted(
        (f"Bearer {name}", "local") for name in ("ada", "bea", "own") for _ in ("asked", "reported")
    )
    orders = [asked["arguments"]["order"] for asked in api.asked]
    assert dict(zip(orders, api.asked_in, strict=True)) == {
        "ada": "Bearer ada",
        "bea": "Bearer bea",
        "nobody": "Bearer own",
    }


def test_a_cancelled_tool_is_reported_and_one_that_waits_never_runs(guard, api):
    ran = []

    @guard.tool
    async def slow(order: str) -> str:
        ran.append(order)
        await asyncio.sleep(30)
        return order

    async def cancel(until):
        task = asyncio.create_task(slow("7"))
        await client_gate.until(until)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel(lambda: ran))
    for _ in range(200):
        if api.reported:
            break
        time.sleep(0.01)
    assert api.reported == [{"result": "CancelledError", "is_error": True}]
    ran.clear()
    api.asked.clear()

    async def never(_):
        await asyncio.sleep(1)

    api.decide = never
    asyncio.run(cancel(lambda: api.asked))
    assert ran == []


def test_a_process_that_was_forked_from_one_that_asked_is_refused(guard):
    @guard.tool
    def refund(order: str) -> str:
        return order

    assert refund("7") == "7"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            refund("8")
        except Refused as refused:
            os.write(writing, refused.code.encode())
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 100) == b"PC7004"
    os.close(reading)
    os.waitpid(child, 0)


def test_a_closed_guard_refuses_and_leaves_no_thread(api):
    guard = Guard(toolset="shop", url=api.url)

    @guard.tool
    def refund(order: str) -> str:
        return order

    assert refund("7") == "7"
    guard.close()
    guard.close()
    with pytest.raises(Refused, match="closed"):
        refund("7")
    assert "portcullis-guard" not in {thread.name for thread in threading.enumerate()}


def test_it_says_where_it_wants_to_be_told_the_gate(monkeypatch, api):
    monkeypatch.delenv("PORTCULLIS_URL", raising=False)
    with pytest.raises(Problem) as raised:
        Guard(toolset="shop")
    assert "PORTCULLIS_URL" in raised.value.hint
    with pytest.raises(Problem, match="plain http only on this machine"):
        Guard(toolset="shop", url="http://gate.example:7300")
    monkeypatch.setenv("PORTCULLIS_URL", api.url)
    with Guard(toolset="shop") as guard:
        assert guard.tool(lambda: 7)() == 7


def test_a_gate_that_is_slow_or_gone_is_a_refusal(api):
    async def slow(_):
        await asyncio.sleep(0.6)

    api.decide = slow
    ran = []
    for options in ({"url": api.url, "timeout": 0.1}, {"url": "http://127.0.0.1:9"}):
        with Guard(toolset="shop", **options) as guard, pytest.raises(Refused, match="PC7011"):
            guard.tool(lambda: ran.append(1))()
    assert ran == []
