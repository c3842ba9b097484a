"""Decisions that may take long are made beside the event loop, one of an agent's at a time."""

import asyncio
import threading

import pytest

from policies import call, context, policy_of
from portcullis.checks.aside import Aside
from portcullis.checks.authorize import Authorize
from portcullis.checks.validate import Validate
from portcullis.core.verdict import Deny
from portcullis.policy.custom import Custom
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp

SECONDS = 60
MAIN = """\
version: 1
agents: {a: {role: r}, b: {role: r}}
roles: {r: {allowed_tools: [kb.a]}}
"""
NIGHT = """\
package portcullis.custom.night

deny contains {"reason": "not now"} if input.arguments.n == 6
"""


@pytest.fixture
def asked(monkeypatch):
    """Who asked the packages, and on which thread; those of ``a`` wait for ``asked.on``."""

    class Asked(list):
        on = threading.Event()

    seen = Asked()

    def slow(self, question):
        del self
        agent = "a" if '"id":"a"' in question else "b"
        seen.append((agent, threading.get_ident()))
        if agent == "a":
            assert seen.on.wait(SECONDS)
        return question[:-1] + ',"denials":[]}'

    monkeypatch.setattr(Custom, "with_denials", slow)
    yield seen
    seen.on.set()


async def until(holds):
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - another thread makes it so
            await asyncio.sleep(0.005)


def pdp_with(*rego):
    names = ("main.yaml", *(f"r{n}.rego" for n in range(len(rego))))
    return RegoPdp(policy_of(MAIN, *rego, names=names), RegorusEngine())


def test_an_agent_that_has_packages_asked_holds_up_nobody_but_itself(asked):
    pdp = pdp_with(NIGHT)
    aside = Aside(pdp)
    check = Authorize(pdp, aside)

    async def run():
        mine = [call(target="kb.a", arguments={"n": n}) for n in range(3)]
        waiting = [asyncio.create_task(check.prepare(one, context("a"))) for one in mine]
        await until(lambda: asked)
        waiting[0].cancel()  # whoever goes away does not get another thread by it
        async with asyncio.timeout(SECONDS):
            facts = await check.prepare(mine[0], context("b"))
        meanwhile = [agent for agent, _ in asked]
        asked.on.set()
        await asyncio.wait(waiting, timeout=SECONDS)
        return check.judge(mine[0], context("b"), facts), meanwhile, waiting

    verdict, meanwhile, waiting = asyncio.run(run())
    assert verdict.rule.startswith("roles.r.allowed_tools[0]")
    assert sorted(meanwhile) == ["a", "b"]
    assert waiting[0].cancelled()
    assert all(one.done() for one in waiting)
    assert [agent for agent, _ in asked] == [*meanwhile, "a", "a"]
    assert threading.get_ident() not in {thread for _, thread in asked}
    assert not aside._turns


def test_what_the_packages_deny_is_denied_and_by_whomever_it_is_asked():
    pdp = pdp_with(NIGHT)
    check, asks = Authorize(pdp), call(target="kb.a", arguments={"n": 6})
    facts = asyncio.run(check.prepare(asks, context("a")))
    assert check.judge(asks, context("a"), facts) == check.judge(asks, context("a"), None)
    assert check.judge(asks, context("a"), facts).code == "PC3019"


def test_a_call_that_fits_nothing_is_no_way_around(asked):
    class Nothing:
        def refusal(self, server, name):
            return None

    pdp = pdp_with(NIGHT)
    check, asks = Validate(Nothing(), pdp), call(target="kb.hidden", arguments={"n": 1})
    asked.on.set()
    facts = asyncio.run(check.prepare(asks, context("a")))
    denied = check.judge(asks, context("a"), facts)
    assert isinstance(denied, Deny)
    assert denied.code == "PC3001"
    assert threading.get_ident() not in {thread for _, thread in asked}


def test_a_policy_without_packages_has_no_threads():
    pdp = pdp_with()
    aside = Aside(pdp)
    check = Authorize(pdp, aside)
    assert asyncio.run(check.prepare(call(target="kb.a"), context("a"))) is None
    assert aside._threads is None
