"""If these fail, somebody's no is not heard, or nobody is asked about those acted for."""

import pytest

from policies import call, chained, context, session_of
from portcullis.checks.opinion import Opinion
from portcullis.core.call import Action
from portcullis.core.errors import Problem
from portcullis.core.verdict import PASS

pytestmark = pytest.mark.anyio


class Asked:
    def __init__(self, name, *no, actions=(Action.TOOL,)):
        self.name, self.actions = name, frozenset(actions)
        self.no, self.about = no, []

    async def allows(self, asked, around):
        self.about.append((around.principal.id, around.session and around.session.agent))
        if self.no == ("silent",):
            raise Problem("PC3037", "nothing")
        return around.principal.id not in self.no


async def verdict(check, asked=None, around=None):
    asked, around = asked or call(), around or context()
    return check.judge(asked, around, await check.prepare(asked, around))


async def test_all_have_to_say_yes():
    assert await verdict(Opinion([Asked("a"), Asked("b")])) is PASS
    denied = await verdict(Opinion([Asked("a"), Asked("b", "support-1")]))
    assert (denied.code, denied.reason) == ("PC3036", "the PDP b does not allow it")


async def test_it_is_asked_about_its_actions_only():
    one = Asked("a", "support-1")
    assert await verdict(Opinion([one]), call(Action.LIST, "kb.tools")) is PASS
    assert one.about == []


async def test_each_agent_that_is_acted_for_is_asked_about_in_its_own_name():
    around = chained(context("shop", session_of("lead"), bound_to="session"), "lead")
    one = Asked("a", "lead")
    assert (await verdict(Opinion([one]), None, around)).code == "PC3036"
    assert sorted(one.about) == [("lead", "lead"), ("shop", "shop")]


async def test_who_says_nothing_is_a_fault_and_nothing_asked_is_none():
    with pytest.raises(Problem):
        await verdict(Opinion([Asked("a", "silent"), Asked("b")]))
    assert Opinion([Asked("a")]).judge(call(), context(), None).code == "PC3037"
