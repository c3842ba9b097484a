"""What policy would let an agent call: the engine is asked for every agent and tool.

Conditions and windows count as if they held, and nobody's own Rego denies: this is what could be
allowed at some time of the day, with some arguments, in some session. Environments, and dates that
have passed, count.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from portcullis.catalogue.schema import fault
from portcullis.core.call import Context, RiskClass
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.policy.compiler import compile_policy
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.grammar import parse
from portcullis.policy.model import Grant, Policy
from portcullis.policy.pdp import RegoPdp, compile_parsed
from portcullis.policy.source import SourceFile
from portcullis.review.reach import highest
from portcullis.review.replay_side import At, unconditional

_CLASSES: Final = tuple(RiskClass)
_LISTS: Final = (
    *("allowed_tools", "models", "provider_features", "allowed_resources", "allowed_prompts"),
    "server_requests",
)


class Effective:
    """Answers for one policy at one time. Raises Problem PC7002 for what does not compile."""

    def __init__(
        self,
        files: tuple[SourceFile, ...],
        environment: str,
        now: float,
    ) -> None:
        self.policy: Policy = parse(files, fault)
        engine = RegorusEngine()
        compiled = compile_parsed(self.policy, engine)
        self.digest = compiled.digest
        bundle = compile_policy(_always(self.policy))
        program = engine.compile(bundle)
        clock = At()
        clock.at = now
        self._now = now
        best = msgspec.structs.replace(
            compiled, bundle=bundle, digest=bundle.digest(), program=program
        )
        self._pdp = RegoPdp(best, engine, environment=environment, clock=clock)
        self._agents = {agent.name.value: agent for agent in self.policy.agents}
        self._known: dict[tuple[str, bool, str, frozenset[str]], tuple[str, ...]] = {}
        self._tools = {tool.name.value: tool for tool in self.policy.tools}

    def tools(self, agent: str, names: frozenset[str]) -> tuple[str, ...]:
        """Which of these tools, qualified by their server, the agent may call; by name.

        Without conditions, agents of one role differ only in when they end and are observed.
        """
        wanted = names
        one = self._agents.get(agent)
        if one is None:
            return ()
        ended = one.expires is not None and one.expires.seconds <= self._now
        kind = one.role.value, ended, "" if one.observe is None else agent, wanted
        if kind not in self._known:
            self._known[kind] = self._asked(agent, wanted)
        return self._known[kind]

    def _asked(self, agent: str, names: frozenset[str]) -> tuple[str, ...]:
        servers: dict[str, list[str]] = {}
        for name in sorted(names):
            server, _, tool = name.partition(".")
            servers.setdefault(server, []).append(tool)
        context, found = self._context(agent), list[str]()
        for server, some in servers.items():
            shown = self._pdp.visible("tools", server, some, context)
            found += (f"{server}.{tool}" for tool in shown)
        return tuple(sorted(found))

    def risk(self, name: str) -> RiskClass:
        """The highest class that some arguments make of a tool; delete for an unknown one."""
        tool = self._tools.get(name)
        return RiskClass.DELETE if tool is None else _CLASSES[highest(tool)]

    def _context(self, agent: str) -> Context:
        who = Principal(
            kind=PrincipalKind.AGENT, id=agent, credential="review", expires_at=self._now + 1
        )
        return Context(
            principal=who, session=None, source="review", trace_id="", received_at=self._now
        )


def _always(policy: Policy) -> Policy:
    """The policy with conditions and windows taken away."""
    plain = unconditional(policy)

    def open_(grant: Grant) -> Grant:
        return replace(grant, terms=replace(grant.terms, during=None))

    roles = []
    for role in plain.roles:
        lists: dict[str, Any] = {name: tuple(map(open_, getattr(role, name))) for name in _LISTS}
        permissions = tuple(replace(one, entry=open_(one.entry)) for one in role.permissions)
        egress = tuple(replace(one, host=open_(one.host)) for one in role.egress)
        roles.append(replace(role, **lists, permissions=permissions, egress=egress))
    return replace(plain, roles=tuple(roles))
