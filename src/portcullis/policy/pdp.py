"""The policy decision point: asks the engine, and turns whatever is not an answer into a Deny."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from portcullis.core.call import Action, Call, Context, RiskClass
from portcullis.core.codes import CODES
from portcullis.core.containment import Containment, ToolModel
from portcullis.core.egress import EgressTerms
from portcullis.core.inspection import Profile
from portcullis.core.limits import Limit
from portcullis.core.principal import PrincipalKind, TaskBound
from portcullis.core.quarantine import Quarantine
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.bounds import Fragment
from portcullis.policy.compiler import compile_policy
from portcullis.policy.containment import contained, models
from portcullis.policy.egress import terminated
from portcullis.policy.engine import (
    DECISION,
    PROFILE,
    VISIBLE,
    CompiledPolicy,
    Engine,
    EngineFault,
    RegorusEngine,
)
from portcullis.policy.grammar import parse
from portcullis.policy.inspection import CHANNELS, STRICTEST, profile
from portcullis.policy.model import Policy
from portcullis.policy.source import SourceFile, read


class _Principal(msgspec.Struct):
    kind: PrincipalKind
    id: str
    session: str | None


class _Session(msgspec.Struct):
    id: str
    agent: str
    user: str
    subject: dict[str, Any]
    grant: tuple[str, ...] | None
    bounds: tuple[TaskBound, ...]


class _Question(msgspec.Struct):
    """The input of a decision; arguments are a tool's, or those of egress."""

    action: Action
    server: str
    name: str
    arguments: dict[str, Any]
    features: tuple[str, ...]
    principal: _Principal
    session: _Session | None


class _Listing(msgspec.Struct):
    """The input of a question of visibility."""

    kind: str
    server: str
    names: Sequence[str]
    principal: _Principal
    session: _Session | None


class _Answer(msgspec.Struct):
    """The engine's answer; what does not have this form is not an answer."""

    allow: bool
    reason: str
    rule: str
    risk: RiskClass
    code: str = ""
    clear: tuple[str, ...] = ()
    egress: EgressTerms | None = None


_ARGUED: Final = frozenset({Action.TOOL, Action.EGRESS})
"""The actions whose arguments are policy's business."""
_EXACT: Final = 2**53
"""From here on a float stands for many integers, and the engine finds it equal to all of them."""
_AT_ONCE: Final = 64
"""Names of a list that the engine is asked about at once: its budget bounds how many."""
_SHORT: Final = 2048
"""Longest question, in bytes, whose answer is remembered."""

_encode = msgspec.json.Encoder().encode
_answer = msgspec.json.Decoder(_Answer).decode
_names = msgspec.json.Decoder(frozenset[str]).decode
_profile = msgspec.json.Decoder(Profile).decode


def compile_files(
    files: tuple[SourceFile, ...], fragment: Fragment, engine: Engine
) -> CompiledPolicy:
    """Compile policy files. Raises Problem PC7002 or PC7003 with file, line and caret.

    ``fragment`` says what is wrong with a JSON Schema fragment, or None.
    """
    policy = parse(files, fragment)
    bundle = compile_policy(policy)
    return CompiledPolicy(
        bundle=bundle,
        digest=bundle.digest(),
        program=engine.compile(bundle),
        schemas={tool.name.value: tool.schemas for tool in policy.tools if tool.schemas},
        tolerated={
            tool.name.value: {
                argument: frozenset(entry.value for entry in entries)
                for argument, entries in tool.tolerated.items()
            }
            for tool in policy.tools
            if tool.tolerated
        },
        entities=_entities(policy),
        profiles=tuple(profile(policy.inspection, role.inspection) for role in policy.roles),
        models=models(policy),
        containments=_containments(policy),
        roles={agent.name.value: agent.role.value for agent in policy.agents},
        terminated={
            role.name.value: terminated(role.egress) for role in policy.roles if role.egress
        },
        limits=policy.limits,
        quarantine=policy.quarantine.rules(),
    )


def _containments(policy: Policy) -> dict[str, Containment]:
    roles = {role.name.value: role.containment for role in policy.roles}
    found = {
        agent.name.value: contained((policy.containment, roles.get(agent.role.value)))
        for agent in policy.agents
    }
    return {agent: one for agent, one in found.items() if one is not None}


def _entities(policy: Policy) -> dict[str, str]:
    """Every entity that some ``inspection:`` names, and where."""
    return {
        name: str(entry.place)
        for inspection in (policy.inspection, *(role.inspection for role in policy.roles))
        for channel in CHANNELS
        for name, entry in inspection.tables.get(channel, {}).items()
        if name.isupper()
    }


def load(folder: Path, fragment: Fragment, engine: Engine | None = None) -> CompiledPolicy:
    """Read and compile a policy folder; see ``source.read`` and ``compile_files``."""
    return compile_files(read(folder), fragment, engine or RegorusEngine())


class _InForce(msgspec.Struct, frozen=True):
    """A policy and what it has answered: each question's bytes and the verdict.

    What policy may call is pure (``engine.BUILTINS``), so the same question has the same answer
    for as long as the policy is in force.
    """

    policy: CompiledPolicy
    answers: dict[bytes, Allow | Deny]
    profiles: dict[str, Profile]


class RegoPdp:
    """Implements ``core.ports.PolicyDecisionPoint``.

    A decision sees one policy wholly: its verdict carries the digest of the policy that made it.
    ``swap`` takes effect with the next decision, on every thread. At most ``remember`` answers to
    short questions are kept, faults never.
    """

    def __init__(self, policy: CompiledPolicy, engine: Engine, *, remember: int = 4096) -> None:
        self._force = _InForce(policy, {}, {})
        self._engine = engine
        self._remember = remember

    @property
    def digest(self) -> str:
        """``sha256:`` hex of the policy in force."""
        return self._force.policy.digest

    def swap(self, policy: CompiledPolicy) -> None:
        """Put another policy in force."""
        self._force = _InForce(policy, {}, {})

    def decide(self, call: Call, context: Context) -> Allow | Deny:
        """Judge a call; every fault and every undefined answer is a Deny PC9001."""
        force = self._force
        try:
            question = _encode(
                _Question(
                    call.action,
                    call.server,
                    call.name,
                    _comparable(call.arguments) if call.action in _ARGUED else {},
                    call.features,
                    *_who(context, f"{call.server}.{call.name}"),
                )
            )
            known = force.answers.get(question)
            if known is not None:
                return known
            verdict = self._ask(force.policy, question)
        except (EngineFault, msgspec.MsgspecError, TypeError, ValueError):
            return _fault(force.policy)
        if self._remember and len(question) <= _SHORT:
            if len(force.answers) >= self._remember:
                force.answers.clear()
            force.answers[question] = verdict
        return verdict

    def _ask(self, policy: CompiledPolicy, question: bytes) -> Allow | Deny:
        answer = _answer(self._engine.evaluate(policy, DECISION, question.decode()))
        if answer.allow:
            return Allow(
                rule=answer.rule,
                reason=answer.reason,
                risk=answer.risk,
                clear=answer.clear,
                policy=policy.digest,
                egress=answer.egress,
            )
        if answer.code not in CODES:
            raise ValueError(answer.code)
        return Deny(
            code=answer.code,
            reason=answer.reason,
            rule=answer.rule,
            risk=answer.risk,
            policy=policy.digest,
        )

    def visible(
        self, kind: str, server: str, names: Sequence[str], context: Context
    ) -> frozenset[str]:
        """Which of a server's names the agent may be shown; on a fault, none."""
        found: frozenset[str] = frozenset()
        try:
            for start in range(0, len(names), _AT_ONCE):
                some = names[start : start + _AT_ONCE]
                listing = _Listing(kind, server, some, *_who(context))
                found |= _names(
                    self._engine.evaluate(self._force.policy, VISIBLE, _encode(listing).decode())
                )
        except (EngineFault, msgspec.MsgspecError, TypeError, ValueError):
            return frozenset()
        return found

    def model(self, server: str, tool: str) -> ToolModel | None:
        """What the policy in force says that a tool means; None for one that it does not list."""
        return self._force.policy.models.get(f"{server}.{tool}")

    def role_of(self, agent: str) -> str | None:
        """The role that the policy in force gives an agent; None for one that it does not name."""
        return self._force.policy.roles.get(agent)

    def terminated(self, agent: str) -> tuple[str, ...]:
        """The hosts whose TLS ends at the gate for an agent, as the policy in force writes them."""
        return self._force.policy.terminated.get(self.role_of(agent) or "", ())

    def quarantine(self) -> Quarantine:
        """What the policy in force lets through of whoever is isolated."""
        return self._force.policy.quarantine

    def roles(self) -> frozenset[str]:
        """The roles that the policy in force gives to agents."""
        return frozenset(self._force.policy.roles.values())

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits of the policy in force."""
        return self._force.policy.limits

    def memories(self, server: str) -> tuple[str, ...]:
        """The memories that tools of a server read or write."""
        models = self._force.policy.models.values()
        known = (one.memory for one in models if one.tool.partition(".")[0] == server)
        return tuple({memory.store: None for memory in known if memory is not None})

    def containment(self, context: Context) -> Containment | None:
        """What is done about questions of provenance for this agent; None when none are asked."""
        return self._force.policy.containments.get(context.principal.id)

    def profile(self, context: Context) -> Profile:
        """What is done with what is found for this agent; on a fault, the strictest."""
        force, agent = self._force, context.principal.id
        known = force.profiles.get(agent)
        if known is not None:
            return known
        try:
            question = _encode({"principal": _who(context)[0]}).decode()
            found = _profile(self._engine.evaluate(force.policy, PROFILE, question))
        except (EngineFault, msgspec.MsgspecError, TypeError, ValueError):
            return STRICTEST
        if len(force.profiles) >= self._remember:
            force.profiles.clear()
        force.profiles[agent] = found
        return found


def _who(context: Context, tool: str = "") -> tuple[_Principal, _Session | None]:
    """Who asks; of the task's bounds, those of ``tool``."""
    principal, session = context.principal, context.session
    return (
        _Principal(principal.kind, principal.id, principal.session),
        None
        if session is None
        else _Session(
            session.id,
            session.agent,
            session.user,
            session.subject,
            session.grant,
            session.bounds.get(tool, ()),
        ),
    )


def _comparable(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, in which a float that is no exact number equals nothing and has no size."""
    return {
        name: {"float": value} if type(value) is float and abs(value) >= _EXACT else value
        for name, value in arguments.items()
    }


def _fault(policy: CompiledPolicy) -> Deny:
    return Deny(
        code="PC9001",
        reason="the policy could not be evaluated",
        risk=RiskClass.DELETE,
        policy=policy.digest,
    )
