"""The role that is mined: each line of it with the evidence that it stands on.

Everything that narrows the agent's present role goes with it: denials, inspection, containment,
data access, limits, environments, obligations. What sends or deletes needs a human, however often
it was seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from portcullis.core.call import Action, RiskClass
from portcullis.core.obligation import Obligations
from portcullis.policy.model import Grant, Policy, Role, Terms
from portcullis.review.mine_evidence import Learned
from portcullis.review.mine_shapes import PATHS, shapes
from portcullis.review.reach import highest

_ASKED: Final = (RiskClass.EXTERNAL, RiskClass.DELETE)
"""The classes that need a human."""
_LONGEST: Final = 2000
_LISTS: Final = {
    Action.TOOL: "allowed_tools",
    Action.MODEL: "models",
    Action.RESOURCE: "allowed_resources",
    Action.PROMPT: "allowed_prompts",
    Action.SERVER_REQUEST: "server_requests",
}
_KEYS: Final = {
    "allowed_tools": "tool",
    "models": "model",
    "provider_features": "feature",
    "allowed_resources": "resource",
    "allowed_prompts": "prompt",
    "server_requests": "request",
}


class Mined(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a list: ``list`` and ``key`` say where it goes, ``terms`` what stands beside.

    ``calls`` in ``sessions``, from ``first`` to ``last``; ``notes`` say what was not bound, and
    why. ``asked``: a human has to let each call through.
    """

    list: str
    key: str
    name: str
    terms: dict[str, Any]
    calls: int
    sessions: int
    first: datetime
    last: datetime
    asked: bool = False
    notes: tuple[str, ...] = ()

    @property
    def evidence(self) -> str:
        """For people: how often, and when."""
        of = f"{self.calls} calls in {self.sessions} sessions"
        return f"{of}, {self.first:%Y-%m-%d} to {self.last:%Y-%m-%d}"


def mined(learned: Sequence[Learned], policy: Policy, role: Role, until: str) -> tuple[Mined, ...]:
    """The entries of the new role. ``until`` is the date on which they end."""
    groups: dict[tuple[str, str], list[Learned]] = {}
    for one in learned:
        for where in _where(one):
            groups.setdefault(where, []).append(one)
    found: list[Mined] = []
    for (kind, name), calls in sorted(groups.items()):
        if kind == "allowed_tools":
            found += _tool(name, calls, policy, role, until)
        else:
            found += _other(kind, name, calls, role, until)
    return tuple(_together(found))


def _where(one: Learned) -> Iterator[tuple[str, str]]:
    """The lists, and the names in them, that a call needs."""
    action = one.asked.call.action
    if action in _LISTS:
        yield _LISTS[action], one.asked.call.name if action is Action.MODEL else one.asked.target
    if action is Action.COMPLETE:
        resource = "://" in one.asked.call.name
        yield "allowed_resources" if resource else "allowed_prompts", one.asked.target
    for feature in one.asked.call.features:
        yield "provider_features", feature


def _tool(
    name: str, calls: list[Learned], policy: Policy, role: Role, until: str
) -> Iterator[Mined]:
    """An entry for each grant that the tool has now, narrowed; one where it has none."""
    listed = next((tool for tool in policy.tools if tool.name.value == name), None)
    rank = list(RiskClass)[highest(listed)] if listed is not None else RiskClass.DELETE
    found = shapes(calls)
    tests = tuple(shape.test for shape in found if shape.test)
    notes = tuple(f"{shape.argument}: {shape.said}" for shape in found)
    for grant in _grants(role, policy, name) or (None,):
        terms = _terms(None if grant is None else grant.terms)
        when, left = _when(terms.pop("when", ""), tests)
        more: tuple[str, ...] = ()
        more += ("a condition in Rego stands as it was",) if isinstance(when, dict) else ()
        more += (f"{left} conditions found no room",) if left else ()
        asked = rank in _ASKED
        yield _entry(
            "allowed_tools",
            name,
            calls,
            _obliged(terms, asked=asked) | ({"when": when} if when else {}),
            until,
            asked=asked,
            notes=notes + more,
        )


def _other(kind: str, name: str, calls: list[Learned], role: Role, until: str) -> Iterator[Mined]:
    grants: Iterable[Grant] = getattr(role, kind)
    fits = [one for one in grants if _matches(one.value, name)]
    exact = [one for one in fits if one.value == name] or fits
    terms = _terms(exact[0].terms) if exact else {}
    yield _entry(kind, name, calls, terms, until)


def _entry(
    kind: str,
    name: str,
    calls: Sequence[Learned],
    terms: dict[str, Any],
    until: str,
    *,
    asked: bool = False,
    notes: tuple[str, ...] = (),
) -> Mined:
    times = [one.asked.time for one in calls]
    sessions = {
        one.asked.id if one.asked.context.session is None else one.asked.context.session.id
        for one in calls
    }
    ends = min(filter(None, (until, terms.get("until"))))
    return Mined(
        list=kind,
        key=_KEYS[kind],
        name=name,
        terms=terms | {"until": ends},
        calls=len(calls),
        sessions=len(sessions),
        first=min(times),
        last=max(times),
        asked=asked,
        notes=notes,
    )


def _grants(role: Role, policy: Policy, name: str) -> tuple[Grant, ...]:
    """The grants of a tool in the role as it is, its parents' included."""
    tool = next((one for one in policy.tools if one.name.value == name), None)
    found = [one for one in role.allowed_tools if one.value == name]
    if tool is not None and tool.verb:
        wanted = (tool.verb, tool.resource)
        found += [one.entry for one in role.permissions if (one.verb, one.resource) == wanted]
    return tuple(found)


def _terms(terms: Terms | None) -> dict[str, Any]:
    """The terms of a grant as they are written."""
    if terms is None:
        return {}
    found: dict[str, Any] = {}
    if terms.when is not None:
        when = terms.when
        found["when"] = {"rego": when.rego} if when.tree is None else when.entry.value
    if terms.during is not None:
        found["during"] = terms.during.value
    if terms.environments is not None:
        found["environments"] = list(terms.environments.names)
    if terms.until is not None:
        found["until"] = terms.until.entry.value
    if terms.obligations is not None:
        found["obligations"] = written(terms.obligations)
    return found


def written(obligations: Obligations) -> dict[str, Any]:
    """Obligations as a policy says them."""
    found: dict[str, Any] = {}
    if obligations.mask:
        found["mask"] = {".".join(one.path): one.treatment.value for one in obligations.mask}
    if obligations.log:
        found["log"] = list(obligations.log)
    if obligations.by_risk and not obligations.approvers:
        found["approvers"] = dict(obligations.by_risk)
    elif obligations.approvers:
        found["approvers"] = obligations.approvers
    return found


def _obliged(terms: dict[str, Any], *, asked: bool) -> dict[str, Any]:
    """With at least one approver, where a human is to be asked."""
    obligations = dict(terms.get("obligations", {}))
    people = obligations.get("approvers", 0)
    if asked and isinstance(people, dict):
        at_least = {one.value: max(1, people.get(one.value, 0)) for one in _ASKED}
        obligations["approvers"] = people | at_least
    elif asked:
        obligations["approvers"] = max(1, people)
    return terms | ({"obligations": obligations} if obligations else {})


def _when(had: Any, tests: tuple[str, ...]) -> tuple[Any, int]:
    """The grant's own condition and the new ones; how many of these found no room."""
    if isinstance(had, Mapping):
        return dict(had), len(tests)
    parts, left = ([f"({had})"] if had else []), 0
    for test in tests:
        if len(" and ".join([*parts, test])) > _LONGEST:
            left += 1
        else:
            parts.append(test)
    return " and ".join(parts), left


def _matches(glob: str, name: str) -> bool:
    """Whether an entry with ``*`` for any characters names it."""
    head, star, rest = glob.partition("*")
    if not star:
        return glob == name
    tail = rest.rpartition("*")[2]
    return name.startswith(head) and name.endswith(tail)


def _together(found: list[Mined]) -> list[Mined]:
    """Resources below one folder become one entry, once there are enough of them."""
    kept = [one for one in found if one.list != "allowed_resources"]
    folders: dict[str, list[Mined]] = {}
    for one in found:
        if one.list == "allowed_resources":
            folders.setdefault(one.name[: one.name.rfind("/") + 1], []).append(one)
    for folder, some in folders.items():
        same = all(one.terms == some[0].terms for one in some)
        if len(some) < PATHS or not folder.partition("://")[2].strip("/") or not same:
            kept += some
            continue
        kept.append(
            msgspec.structs.replace(
                some[0],
                name=f"{folder}*",
                calls=sum(one.calls for one in some),
                sessions=max(one.sessions for one in some),
                first=min(one.first for one in some),
                last=max(one.last for one in some),
                notes=(f"{len(some)} resources below one folder",),
            )
        )
    return sorted(kept, key=lambda one: (one.list, one.name))
