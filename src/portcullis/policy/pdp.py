"""The policy decision point: asks the engine, and turns whatever is not an answer into a Deny."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from portcullis.core.call import Call, Context, RiskClass
from portcullis.core.codes import CODES
from portcullis.core.containment import Containment, ToolModel
from portcullis.core.egress import EgressTerms
from portcullis.core.inspection import Profile
from portcullis.core.limits import Limit
from portcullis.core.obligation import Obligations
from portcullis.core.ports import Clock
from portcullis.core.quarantine import Quarantine
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.bounds import Fragment
from portcullis.policy.compiler import compile_policy
from portcullis.policy.containment import contained, models
from portcullis.policy.data_link import ANYWHERE, masking
from portcullis.policy.egress import terminated
from portcullis.policy.engine import (
    DECISION,
    PROFILE,
    VISIBLE,
    CompiledPolicy,
    Engine,
    EngineFault,
    Input,
    RegorusEngine,
    handwritten,
)
from portcullis.policy.grammar import parse
from portcullis.policy.inspection import CHANNELS, STRICTEST, profile
from portcullis.policy.model import Policy
from portcullis.policy.observe import Observe
from portcullis.policy.question import Listing, asked, encode, who
from portcullis.policy.source import SourceFile, read
from portcullis.policy.windows import Calendar, Now


class _Answer(msgspec.Struct):
    """The engine's answer; what does not have this form is not an answer."""

    allow: bool
    reason: str
    rule: str
    risk: RiskClass
    code: str = ""
    clear: tuple[str, ...] = ()
    egress: EgressTerms | None = None
    obligations: Obligations | None = None
    observed: bool = False


PRODUCTION: Final = "production"
"""The environment of a gate whose configuration names none."""
_AT_ONCE: Final = 64
"""Names of a list that the engine is asked about at once: its budget bounds how many."""
_SHORT: Final = 2048
"""Longest question, in bytes, whose answer is remembered."""

_NO_SERVER: Final[frozenset[str]] = frozenset()

_answer = msgspec.json.Decoder(_Answer).decode
_names = msgspec.json.Decoder(frozenset[str]).decode
_profile = msgspec.json.Decoder(Profile).decode


def compile_files(
    files: tuple[SourceFile, ...], fragment: Fragment, engine: Engine
) -> CompiledPolicy:
    """Compile policy files. Raises Problem PC7002 or PC7003 with file, line and caret.

    ``fragment`` says what is wrong with a JSON Schema fragment, or None.
    """
    with _uncollected():
        return compile_parsed(parse(files, fragment), engine)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing that a policy is made of is garbage before it is made; looking takes a third."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def compile_parsed(policy: Policy, engine: Engine) -> CompiledPolicy:
    """Compile a policy that the grammar accepted. Raises Problem PC7002."""
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
        profiles=_profiles(policy),
        models=models(policy),
        containments=_containments(policy),
        roles={agent.name.value: agent.role.value for agent in policy.agents},
        terminated={
            role.name.value: terminated(role.egress) for role in policy.roles if role.egress
        },
        limits=policy.limits,
        masking=_masking(policy),
        quarantine=policy.quarantine.rules(),
        windows=policy.windows,
        moments=_moments(policy),
        observed=tuple(
            (agent.name.value, agent.observe)
            for agent in policy.agents
            if agent.observe is not None
        ),
    )


def _profiles(policy: Policy) -> tuple[Profile, ...]:
    """Those of the roles, each once: most roles have the same."""
    found = (profile(policy.inspection, role.inspection) for role in policy.roles)
    return tuple({encode(one): one for one in found}.values())


def _moments(policy: Policy) -> tuple[int, ...]:
    """Every instant that the policy compares the time to."""
    dated = [agent.expires for agent in policy.agents]
    dated += [grant.terms.until for role in policy.roles for grant in role.grants()]
    observed = [agent.observe for agent in policy.agents if agent.observe is not None]
    dated += [one.until for one in observed]
    begins = {one.begin for one in observed}
    return tuple(sorted({one.seconds for one in dated if one is not None} | begins))


def _masking(policy: Policy) -> dict[str, frozenset[str]]:
    watched = {agent.role.value for agent in policy.agents if agent.observe is not None}
    names = {role.name.value: role for role in policy.roles}
    return {
        name: masking(role, policy.tools, observed=name in watched) for name, role in names.items()
    }


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

    Of a long question that would take long, the digest stands for the bytes.

    What policy may call is pure (``engine.BUILTINS``), so the same question has the same answer
    for as long as the policy is in force.
    """

    policy: CompiledPolicy
    calendar: Calendar
    answers: dict[bytes, Allow | Deny]
    profiles: dict[str, Profile]
    lasting: bool

    @classmethod
    def begin(cls, policy: CompiledPolicy) -> _InForce:
        """One that has answered nothing yet."""
        lasting = handwritten(policy.bundle)
        return cls(policy, Calendar(policy.windows, policy.moments), {}, {}, lasting)


class RegoPdp:
    """Implements ``core.ports.PolicyDecisionPoint``.

    A decision sees one policy wholly: its verdict carries the digest of the policy that made it.
    ``swap`` takes effect with the next decision, on every thread. At most ``remember`` answers to
    short questions are kept, faults never. ``environment`` is the gate's. Without a ``clock`` no
    window is open and no date lies ahead: what a policy ties to time does not hold.
    """

    def __init__(
        self,
        policy: CompiledPolicy,
        engine: Engine,
        *,
        remember: int = 4096,
        environment: str = PRODUCTION,
        clock: Clock | None = None,
    ) -> None:
        self._force = _InForce.begin(policy)
        self._engine = engine
        self._remember = remember
        self._environment = environment
        self._clock = clock

    @property
    def digest(self) -> str:
        """``sha256:`` hex of the policy in force."""
        return self._force.policy.digest

    def swap(self, policy: CompiledPolicy) -> None:
        """Put another policy in force."""
        self._force = _InForce.begin(policy)

    def decide(self, call: Call, context: Context) -> Allow | Deny:
        """Judge a call; every fault and every undefined answer is a Deny PC9001."""
        force = self._force
        try:
            question = self._question(force, call, context)
            short = len(question) <= _SHORT
            key = question if short or not force.lasting else hashlib.sha256(question).digest()
            known = force.answers.get(key)
            if known is not None:
                return known
            asked = Input(question.decode(), context.principal.id, (f"{call.server}.{call.name}",))
            verdict = self._ask(force.policy, asked)
        except (EngineFault, msgspec.MsgspecError, TypeError, ValueError):
            return _fault(force.policy)
        if self._remember and (short or force.lasting):
            if len(force.answers) >= self._remember:
                force.answers.clear()
            force.answers[key] = verdict
        return verdict

    def question(self, call: Call, context: Context) -> bytes:
        """The input document of a decision about a call, as JSON.

        Raises msgspec.MsgspecError, TypeError or ValueError for what no JSON can say.
        """
        return self._question(self._force, call, context)

    def _question(self, force: _InForce, call: Call, context: Context) -> bytes:
        return encode(asked(call, context, self._environment, self._now(force)))

    def _now(self, force: _InForce) -> Now:
        """What policy sees of time; a policy that speaks of none sees none."""
        if self._clock is None or force.calendar.idle:
            return Now()
        return force.calendar.at(self._clock.now())

    def _ask(self, policy: CompiledPolicy, asked: Input) -> Allow | Deny:
        answer = _answer(self._engine.evaluate(policy, DECISION, asked))
        if answer.allow:
            return Allow(
                rule=answer.rule,
                reason=answer.reason,
                risk=answer.risk,
                clear=answer.clear,
                policy=policy.digest,
                egress=answer.egress,
                obligations=answer.obligations,
                observed=answer.observed,
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
        force = self._force
        found: frozenset[str] = frozenset()
        try:
            for start in range(0, len(names), _AT_ONCE):
                some = names[start : start + _AT_ONCE]
                listing = Listing(
                    kind, server, some, *who(context), self._environment, *self._now(force)
                )
                text, tools = encode(listing).decode(), [f"{server}.{name}" for name in some]
                asked = Input(text, context.principal.id, tools)
                found |= _names(self._engine.evaluate(force.policy, VISIBLE, asked))
        except (EngineFault, msgspec.MsgspecError, TypeError, ValueError):
            return frozenset()
        return found

    def lasting(self, context: Context) -> bool:  # noqa: ARG002 - a canary's may be another
        """Whether a decision may take long: hand-written packages are asked in a process."""
        return self._force.lasting

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

    def observed(self) -> tuple[tuple[str, Observe], ...]:
        """The agents that the policy in force has observed, and until when."""
        return self._force.policy.observed

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits of the policy in force."""
        return self._force.policy.limits

    def masks(self, server: str, context: Context) -> bool:
        """Whether any result of a server is masked for the caller, or for whom it acts."""
        known, principal = self._force.policy.masking, context.principal
        roles = (self.role_of(agent) or "" for agent in (principal.id, *principal.chain))
        return any(not known.get(role, _NO_SERVER).isdisjoint((server, ANYWHERE)) for role in roles)

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
            question = encode({"principal": who(context)[0]}).decode()
            asked = Input(question, agent)
            found = _profile(self._engine.evaluate(force.policy, PROFILE, asked))
        except (EngineFault, msgspec.MsgspecError, TypeError, ValueError):
            return STRICTEST
        if len(force.profiles) >= self._remember:
            force.profiles.clear()
        force.profiles[agent] = found
        return found


def _fault(policy: CompiledPolicy) -> Deny:
    return Deny(
        code="PC9001",
        reason="the policy could not be evaluated",
        risk=RiskClass.DELETE,
        policy=policy.digest,
    )
