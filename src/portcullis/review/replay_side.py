"""One of the two policies that are compared: it decides, and says what of it a call is about.

A *slice* is all that decides on one agent's calls of one thing, without the lines that it stands
in. Where the slices of two policies are equal, every such call is decided the same, whatever its
arguments are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

from portcullis.catalogue.schema import fault
from portcullis.core.call import Action
from portcullis.core.verdict import Allow
from portcullis.policy.compiler import compile_policy
from portcullis.policy.data_access import Binding
from portcullis.policy.engine import CompiledPolicy, RegorusEngine
from portcullis.policy.expressions import Not, Path, Several, Tree
from portcullis.policy.grammar import parse
from portcullis.policy.model import Bound, BoundKind, Grant, Policy, Role, Tool
from portcullis.policy.pdp import PRODUCTION, RegoPdp, compile_files
from portcullis.policy.source import SourceFile
from portcullis.review.loosened import holds
from portcullis.review.replay_asked import Asked

_PLACE: Final = re.compile(r" @ [^@\s]+:\d+$")
_RULES: Final = ("roles.", "agents.", "tools.", "custom.")
"""How the rules begin that verdicts name."""
_COMMENT: Final = re.compile(r"(?m)^# \S+:\d+ .*$")
"""Where a generated rule comes from."""
_CUSTOM: Final = "custom/"
_FIXED: Final = frozenset({"decide.rego", "bounds.rego"})
_TOOL: Final = "tools/"
_LISTS: Final = (
    *("allowed_tools", "models", "provider_features", "allowed_resources", "allowed_prompts"),
    "server_requests",
)
_BESIDE: Final = ("inspection", "containment", "obligations", "data_access")
_CACHED: Final = 65_536


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says to a call; two that are equal have the same effect.

    ``terms`` are what goes with an allow (obligations, terms of egress), as JSON.
    """

    allowed: bool
    code: str = ""
    risk: str = ""
    terms: str = ""

    def __str__(self) -> str:
        """For people: ``allow read`` or ``deny PC3001``."""
        more = " with other terms" if self.terms else ""
        return f"allow {self.risk}{more}" if self.allowed else f"deny {self.code}"


class At:
    """A clock that stands where it is set: the time of the call that is replayed."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.at

    def monotonic(self) -> float:
        """The same: nothing passes in between."""
        return self.at


class Side:
    """A policy to replay calls against. Raises Problem PC7002 for one that does not compile."""

    def __init__(self, files: tuple[SourceFile, ...], environment: str = PRODUCTION) -> None:
        self.policy: Policy = parse(files, fault)
        self._clock = At()
        engine = RegorusEngine()
        self.compiled: CompiledPolicy = compile_files(files, fault, engine)
        self._engine, self._environment = engine, environment
        self._pdp = self._deciding(self.compiled)
        self._at_best: RegoPdp | None = None
        self._tools = {tool.name.value: tool for tool in self.policy.tools}
        data = msgspec.json.decode(self.compiled.bundle.data)
        known: dict[str, Any] = data["policy"]
        self._agents: dict[str, Any] = known["agents"]
        self._roles: dict[str, Any] = known["roles"]
        self._catalogue: dict[str, Any] = known["catalogue"]
        apart = {"agents", "roles", "catalogue"}
        self._rest = {key: value for key, value in known.items() if key not in apart}
        self._others = {key: value for key, value in data.items() if key != "policy"}
        self._modules = dict(self.compiled.bundle.modules)
        self._cached = lru_cache(_CACHED)(self._slice)
        self._of_role = lru_cache(_CACHED)(self._role_slice)
        self._general = self._for_all()

    @property
    def digest(self) -> str:
        """The policy's digest."""
        return self.compiled.digest

    def _deciding(self, policy: CompiledPolicy) -> RegoPdp:
        return RegoPdp(policy, self._engine, environment=self._environment, clock=self._clock)

    def _best(self) -> RegoPdp:
        """The same policy in which every condition holds and all data is in reach.

        Nobody's own Rego denies in it: what it refuses, this policy refuses whatever is not known.
        """
        if self._at_best is None:
            bundle = compile_policy(unconditional(self.policy))
            best = msgspec.structs.replace(
                self.compiled,
                bundle=bundle,
                digest=bundle.digest(),
                program=self._engine.compile(bundle),
            )
            self._at_best = self._deciding(best)
        return self._at_best

    def decide(
        self,
        asked: Asked,
        arguments: dict[str, Any],
        subject: dict[str, Any],
        *,
        at_best: bool = False,
    ) -> Decided:
        """What this policy says to a call at its time, with these values in place of unknowns.

        ``at_best``: if every condition held.
        """
        self._clock.at = asked.time.timestamp()
        call = msgspec.structs.replace(asked.call, arguments=arguments)
        context = asked.context
        if context.session is not None and subject:
            user = subject.get("", "")
            members = {name: value for name, value in subject.items() if name}
            session = msgspec.structs.replace(context.session, user=user, subject=members)
            context = msgspec.structs.replace(context, session=session)
        verdict = (self._best() if at_best else self._pdp).decide(call, context)
        if not isinstance(verdict, Allow):
            return Decided(allowed=False, code=verdict.code)
        obliged, egress = verdict.obligations, verdict.egress
        terms = "" if obliged is None and egress is None else _json([obliged, egress])
        return Decided(allowed=True, risk=str(verdict.risk or ""), terms=terms)

    def bounds(self, asked: Asked) -> tuple[Bound, ...]:
        """The bounds of the tool that is called whose outcome the log does not tell."""
        tool = self._tools.get(asked.target)
        if asked.call.action is not Action.TOOL or tool is None:
            return ()
        session = asked.context.session is not None
        return tuple(
            bound
            for bound in tool.bounds
            if bound.argument in asked.unknown or (bound.session and session)
        )

    def beside(self, agent: str) -> dict[str, Any]:
        """What an agent's role says beside its grants, as the rules have it."""
        role = self._roles.get(self.compiled.roles.get(agent, ""), {})
        return {key: _without(role[key]) for key in _BESIDE if key in role}

    def tool(self, name: str) -> Tool | None:
        """What this policy's catalogue says of a tool."""
        return self._tools.get(name)

    def opaque(self, asked: Asked) -> bool:
        """Whether something other than bounds goes by what is not known of a call."""
        session = asked.context.session is not None
        if not asked.unknown and not session:
            return False
        if self.policy.handwritten:
            return True
        tool = self._tools.get(asked.target) if asked.call.action is Action.TOOL else None
        if tool is not None and any(self._bound(one, asked) for one in tool.data or ()):
            return True
        return any(_unsettled(grant, asked) for grant in self._grants(asked, tool))

    def _bound(self, binding: Binding, asked: Asked) -> bool:
        """Whether the role's data access goes by what is not known of the call."""
        paths = (binding.argument[:1], binding.everything[:1])
        return any(path and path[0] in asked.unknown for path in paths) or any(
            one.session
            for role in self._role(asked)
            for one in (role.data_access.dimensions.values() if role.data_access else ())
        )

    def _role(self, asked: Asked) -> Iterator[Role]:
        name = self.compiled.roles.get(asked.agent)
        yield from (role for role in self.policy.roles if role.name.value == name)

    def _grants(self, asked: Asked, tool: Tool | None) -> Iterator[Grant]:
        """The grants on terms that may be about this call."""
        meant = None if tool is None or not tool.verb else (tool.verb, tool.resource)
        for role in self._role(asked):
            for one in role.permissions:
                if (one.verb, one.resource) == meant:
                    yield one.entry
            for grant in role.grants():
                if grant.value in {asked.target, asked.call.name} or "*" in grant.value:
                    yield grant
            yield from (one.host for one in role.egress if asked.call.action is Action.EGRESS)

    def slice(self, asked: Asked) -> bytes:
        """All that decides on calls of this thing by this agent."""
        tool = asked.target if asked.call.action is Action.TOOL else ""
        return self._cached(asked.agent, tool)

    def _slice(self, agent: str, tool: str) -> bytes:
        one = self._agents.get(agent, {})
        role = str(one.get("role", "")) if isinstance(one, dict) else ""
        apart = {key: value for key, value in one.items() if key not in {"role", "rule"}}
        module = _bare(self._modules.get(f"{_TOOL}{tool}.rego", ""))
        found = [apart, self._catalogue.get(tool)]
        return _digest(_plain(found), module, self._of_role(role), self._general)

    def _role_slice(self, role: str) -> str:
        return _digest(_plain(self._roles.get(role))).hex()

    def _for_all(self) -> str:
        """What decides on everybody's calls: hand-written Rego as it is written, conditions, ..."""
        modules = [
            text if name.startswith(_CUSTOM) else _bare(text)
            for name, text in sorted(self._modules.items())
            if not name.startswith(_TOOL) and name not in _FIXED
        ]
        return _digest(_plain([self._rest, self._others]), *modules).hex()


def unconditional(policy: Policy) -> Policy:
    """A policy without conditions, data access and hand-written Rego."""

    def plain(grant: Grant) -> Grant:
        return replace(grant, terms=replace(grant.terms, when=None))

    roles = []
    for role in policy.roles:
        lists: dict[str, Any] = {name: tuple(map(plain, getattr(role, name))) for name in _LISTS}
        permissions = tuple(replace(one, entry=plain(one.entry)) for one in role.permissions)
        egress = tuple(replace(one, host=plain(one.host)) for one in role.egress)
        roles.append(
            replace(role, **lists, permissions=permissions, egress=egress, data_access=None)
        )
    tools = tuple(replace(tool, data=None) for tool in policy.tools)
    return replace(policy, roles=tuple(roles), tools=tools, handwritten=())


def _unsettled(grant: Grant, asked: Asked) -> bool:
    """Whether a grant's condition looks at an unknown argument, or at who the session is for."""
    when = grant.terms.when
    if when is None:
        return False
    if when.tree is None:
        return True
    return any(
        path.parts[0] == "session"
        or (path.argued and (len(path.parts) < 2 or path.parts[1] in asked.unknown))  # noqa: PLR2004
        for path in _paths(when.tree)
    )


def _paths(tree: Tree) -> Iterator[Path]:
    """All that an expression looks at."""
    if isinstance(tree, Not):
        yield from _paths(tree.inner)
    elif isinstance(tree, Several):
        for inner in tree.inner:
            yield from _paths(inner)
    else:
        right = tree.right if isinstance(tree.right, tuple) else (tree.right,)
        yield from (one for one in (tree.left, *right) if isinstance(one, Path))


def _plain(value: Any) -> str:
    """JSON without the places in it."""
    return _json(_without(value))


def _without(value: Any, *, values: bool = False) -> Any:
    """The same with rules that do not say their line; ``values`` are a policy's own texts."""
    if isinstance(value, dict):
        return {
            key: _without(item, values=key != "rule" and (values or key == "bounds"))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without(item, values=values) for item in value]
    if isinstance(value, str) and not values and value.startswith(_RULES):
        return _PLACE.sub("", value)
    return value


def _bare(module: str) -> str:
    """A module without its comments, which say where it comes from."""
    return _COMMENT.sub("", module)


def _digest(*parts: str) -> bytes:
    found = blake2b(digest_size=16)
    for part in parts:
        found.update(f"{len(part)}:{part}".encode())
    return found.digest()


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def witnesses(bounds: tuple[Bound, ...]) -> Iterator[tuple[str, Any]]:
    """A value for each bounded argument that holds its bounds, where there is one."""
    by_name: dict[str, list[Bound]] = {}
    for bound in bounds:
        by_name.setdefault(bound.argument, []).append(bound)
    for name, mine in by_name.items():
        kinds = {bound.kind: bound.value for bound in mine}
        some = kinds.get("enum", [kinds.get("equals", _number(kinds))])
        own = [bound for bound in mine if bound.kind != "required"]
        yield name, next((one for one in some if all(holds(b, one) for b in own)), some[0])


def _number(kinds: dict[BoundKind, Any]) -> Any:
    """A number within its bounds or, where there are none, a text that begins as it has to."""
    return kinds.get("minimum", kinds.get("maximum", kinds.get("prefix", "")))
