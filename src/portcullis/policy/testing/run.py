"""Asks a policy what its cases ask, and says where the answer is another than expected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from portcullis.core.call import Action
from portcullis.core.obligation import Obligations
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.engine import CompiledPolicy, Engine
from portcullis.policy.pdp import RegoPdp
from portcullis.policy.testing.model import Case, Expected, Outcome

_FAULT: Final = "PC9001"
"""What could not be evaluated is refused: no denial that anybody meant."""


class Standing(msgspec.Struct, frozen=True):
    """A clock that stands. Implements ``core.ports.Clock``."""

    at: float

    def now(self) -> float:
        """When it stopped, in seconds since the epoch."""
        return self.at

    def monotonic(self) -> float:
        """The same: no time passes."""
        return self.at


def run(
    cases: Iterable[Case], policy: CompiledPolicy, engine: Engine, *, now: float
) -> Iterator[Outcome]:
    """The outcome of each case, in their order. ``now`` is when those are asked that do not say."""
    points: dict[tuple[str, float], RegoPdp] = {}
    for case in cases:
        place = case.environment, now if case.at is None else case.at
        pdp = points.get(place)
        if pdp is None:
            pdp = points[place] = RegoPdp(
                policy, engine, remember=0, environment=place[0], clock=Standing(place[1])
            )
        yield _outcome(case, pdp)


def _outcome(case: Case, pdp: RegoPdp) -> Outcome:
    call, context, visible = case.call, case.context, None
    verdict = pdp.decide(call, context)
    if call.action is Action.LIST and case.expected.visible is not None:
        shown = pdp.visible(call.name, call.server, case.names, context)
        visible = tuple(name for name in case.names if name in shown)
    wrong = (
        *_wrong(case.expected, verdict),
        *_hidden(case.expected, visible),
        *_limited(case.expected, _limits(pdp, context.principal.id)),
    )
    return Outcome(
        case=case.name,
        origin=case.place.origin,
        verdict=verdict,
        visible=visible,
        wrong=wrong,
    )


def path_of(rule: str) -> str:
    """The path of a verdict's rule: ``roles.x.models[0]``."""
    return rule.partition(" ")[0]


def _wrong(expected: Expected, verdict: Allow | Deny) -> Iterator[str]:
    allowed = isinstance(verdict, Allow)
    said = "allow" if allowed else "deny"
    code = verdict.code if isinstance(verdict, Deny) else None
    faulty = code == _FAULT and expected.code != _FAULT
    if expected.verdict is not None and (expected.verdict != said or faulty):
        yield f"expected {expected.verdict}, got {said}{f' {code}' if code else ''}"
    elif expected.code is not None and expected.code != code:
        yield f"expected {expected.code}, got {code or said}"
    if expected.rule is not None and not begins(verdict.rule, expected.rule):
        yield f"expected the rule {expected.rule}, got {verdict.rule or 'none'}"
    if expected.risk is not None and expected.risk != verdict.risk:
        yield f"expected the risk {expected.risk}, got {verdict.risk}"
    if isinstance(verdict, Allow):
        yield from _obliged(expected, verdict.obligations or Obligations())


def begins(rule: str, expected: str) -> bool:
    """Whether a rule is the expected one, or below it: ``roles.x.models`` has ``[0]`` below it."""
    rest = rule.removeprefix(expected)
    return rest != rule and (not rest or rest[0] in " .[")


def _obliged(expected: Expected, found: Obligations) -> Iterator[str]:
    masks = {".".join(mask.path): mask.treatment.value for mask in found.mask}
    rows = {scope.name: frozenset(scope.values) for scope in found.rows}
    for name, wanted, got in (
        ("mask", expected.masks, masks),
        ("log", expected.log, frozenset(found.log)),
        ("approvers", expected.approvers, found.approvers),
        ("rows", expected.rows, rows),
    ):
        if wanted is not None and wanted != got:
            yield f"expected the obligation {name} {_said(wanted)}, got {_said(got)}"


def _hidden(expected: Expected, visible: tuple[str, ...] | None) -> Iterator[str]:
    if expected.visible is None or visible is None:
        return
    for name in sorted(expected.visible - set(visible)):
        yield f"expected {name} to be visible"
    for name in sorted(set(visible) - expected.visible):
        yield f"expected {name} to be hidden"


def _limited(expected: Expected, found: dict[str, int]) -> Iterator[str]:
    if expected.limits is not None and expected.limits != found:
        yield f"expected the limits {_said(expected.limits)}, got {_said(found)}"


def _limits(pdp: RegoPdp, agent: str) -> dict[str, int]:
    """The ``resource_limits`` of an agent's role, as they are written."""
    named = f"role.{pdp.role_of(agent)}"
    limit = next((one for one in pdp.limits if one.name == named), None)
    if limit is None:
        return {}
    found = {ceiling.measure.value: ceiling.amount for ceiling in limit.ceilings}
    return found | ({} if limit.session_seconds is None else {"seconds": limit.session_seconds})


def _said(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
