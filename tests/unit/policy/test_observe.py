"""If these fail, observing an agent lets through what it must not, or goes on when it is over."""

from __future__ import annotations

import pytest

from policies import call, context, session_of
from portcullis.catalogue.schema import fault
from portcullis.core.call import Action
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.observe import MOST_SECONDS, require_near
from portcullis.policy.pdp import RegoPdp, compile_files
from portcullis.policy.source import SourceFile

END = 1_793_836_800  # 2026-11-05T00:00:00Z
POLICY = """\
version: 1
windows: {never: {days: [mon], from: "00:00", to: "00:01", zone: UTC}}
agents:
  new: {role: small, observe: {until: "2026-11-05T00:00:00Z", reason: trial}}
  old: {role: small}
roles:
  small:
    allowed_tools: [kb.search, {tool: kb.late, during: never}]
    denied_tools: [kb.secret, "locked.*"]
    models: ["gpt-*"]
    allowed_resources: [{resource: "kb.kb://late/*", during: never}]
tools:
  kb.search: {risk: read}
  kb.late: {risk: read}
  kb.secret: {risk: read}
  kb.read: {risk: read, arguments: {limit: {maximum: 10}}}
  kb.write: {risk: modify}
  kb.send: {risk: external}
  kb.drop: {risk: delete}
  kb.fetch: {risk: read, arguments: {url: {role: destination, carries: true}}}
  kb.grows:
    risk: read
    arguments: {all: {role: selector}}
    raise: [{when: {all: present}, risk: delete}]
  locked.read: {risk: read}
"""


class At:
    def __init__(self, now):
        self.at = now

    def now(self):
        return self.at


def compiled(text=POLICY):
    return compile_files((SourceFile("policy/p.yaml", text),), fault, RegorusEngine())


COMPILED = compiled()
CLOCK = At(END - 60)
PDP = RegoPdp(COMPILED, RegorusEngine(), clock=CLOCK)


@pytest.fixture(autouse=True)
def while_it_is_observed():
    CLOCK.at = END - 60


def asked(target, agent="new", session=None, **more):
    found = PDP.decide(call(target=target, **more), context(agent=agent, session=session))
    return ("observed" if found.observed else "allow") if isinstance(found, Allow) else found.code


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("kb.search", "allow"),
        ("kb.read", "observed"),
        ("kb.write", "observed"),
        ("kb.send", "PC3001"),
        ("kb.drop", "PC3001"),
        ("kb.fetch", "PC3001"),
        ("kb.grows", "PC3001"),
        ("kb.unlisted", "PC3001"),
        ("kb.late", "PC3001"),
        ("kb.secret", "PC3002"),
        ("locked.read", "PC3002"),
    ],
)
def test_only_reads_and_changes_that_nobody_decided_on_are_let_through(target, expected):
    assert asked(target) == expected
    assert asked(target, agent="old") == ("PC3001" if expected == "observed" else expected)


def test_bounds_and_the_task_s_grant_hold_for_what_is_observed():
    assert asked("kb.read", arguments={"limit": 11}) == "PC3012"
    narrow = session_of(agent="new", grant=("kb.search",))
    assert asked("kb.read", session=narrow) == "PC3007"


def test_it_ends_by_the_clock_and_does_not_begin_sooner_than_it_may_last():
    for at, expected in (
        (END - 1, "observed"),
        (END, "PC3001"),
        (END + MOST_SECONDS, "PC3001"),
        (END - MOST_SECONDS, "observed"),
        (END - MOST_SECONDS - 1, "PC3001"),
    ):
        CLOCK.at = at
        assert asked("kb.read") == expected, at
    unclocked = RegoPdp(COMPILED, RegorusEngine())
    assert not isinstance(unclocked.decide(call(target="kb.read"), context(agent="new")), Allow)


@pytest.mark.parametrize(
    ("action", "target", "expected"),
    [
        (Action.RESOURCE, "kb.kb://page/1", "observed"),
        (Action.RESOURCE, "kb.kb://late/1", "PC3001"),
        (Action.RESOURCE, "kb.kb://page/../1", "PC3001"),
        (Action.RESOURCE, "locked.x://page/1", "PC3001"),
        (Action.PROMPT, "kb.hello", "observed"),
        (Action.LIST, "other.tools", "observed"),
        (Action.LIST, "locked.tools", "PC3001"),
        (Action.MODEL, "up.claude-9", "PC3005"),
        (Action.SERVER_REQUEST, "kb.sampling/createMessage", "PC3001"),
    ],
)
def test_what_is_no_tool_is_observed_only_where_it_reads(action, target, expected):
    assert asked(target, action=action) == expected


def test_a_client_is_shown_what_is_observed_and_nothing_else():
    tools = ("search", "read", "write", "send", "drop", "late", "secret", "unlisted")
    shown = PDP.visible("tools", "kb", tools, context(agent="new"))
    assert shown == {"search", "read", "write"}
    CLOCK.at = END
    assert PDP.visible("tools", "kb", tools, context(agent="new")) == {"search"}
    assert PDP.visible("prompts", "kb", ("hello",), context(agent="new")) == frozenset()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{until: "2026-11-05T00:00:00Z"}', "has no reason"),
        ("{reason: trial}", "has no until"),
        ('{until: "tomorrow", reason: trial}', "not a date"),
        ('{until: "2026-11-05", reason: trial, tools: all}', "unknown key tools"),
    ],
)
def test_what_does_not_say_its_end_and_why_does_not_load(written, said):
    wrong = POLICY.replace('{until: "2026-11-05T00:00:00Z", reason: trial}', written)
    with pytest.raises(Problem) as refused:
        compiled(wrong)
    assert said in refused.value.detail


def test_an_end_that_is_too_far_ahead_is_refused():
    require_near(COMPILED.observed, END - MOST_SECONDS)
    with pytest.raises(Problem) as refused:
        require_near(COMPILED.observed, END - MOST_SECONDS - 1)
    assert (refused.value.code, "new" in refused.value.detail) == ("PC7040", True)


HIDDEN = """\
version: 1
agents: {new: {role: small, observe: {until: "2026-11-05T00:00:00Z", reason: trial}}}
roles:
  small: {allowed_tools: [kube.get], data_access: {namespaces: [monitoring]}}
tools:
  crm.find: {risk: read, obligations: {mask: {iban: mask}}}
  kube.get: {risk: read, data: {namespaces: {argument: namespace}}}
  kube.dump: {risk: read}
  kube.version: {risk: read, data: none}
"""


def test_what_masks_and_data_access_could_not_hold_for_is_not_observed():
    pdp = RegoPdp(compiled(HIDDEN), RegorusEngine(), clock=CLOCK)

    def observed(action, *targets):
        found = (pdp.decide(call(action, target=one), context(agent="new")) for one in targets)
        return [isinstance(one, Allow) for one in found]

    for action in (Action.RESOURCE, Action.COMPLETE):
        assert observed(action, "crm.f://x", "kube.f://x", "kb.f://x") == [False, False, True]
    assert observed(Action.PROMPT, "crm.p", "kube.p", "kb.p") == [False, False, True]
    assert observed(Action.TOOL, "crm.find", "kube.version", "kube.dump") == [True, True, False]
    assert pdp.masks("crm", context(agent="new"))
    assert pdp.visible("tools", "kube", ["dump", "version"], context(agent="new")) == {"version"}
