"""``inherits:`` of roles, read from the top down: a role stands below those that it names.

A role has all that its parents have, and what they deny it cannot grant. The parents' terms stay
with what they grant; where a role names environments, they bound all that it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar

from portcullis.policy.data_access import joined_data_access
from portcullis.policy.link import denies
from portcullis.policy.model import (
    ContainmentLayer,
    Environments,
    Grant,
    Inspection,
    Role,
)
from portcullis.policy.obligations import joined_obligations
from portcullis.policy.resource_limits import joined_limits
from portcullis.policy.source import Faults

_GRANTS: Final = (
    "allowed_tools",
    "models",
    "provider_features",
    "allowed_resources",
    "allowed_prompts",
    "server_requests",
)
_Item = TypeVar("_Item")


def resolve(roles: Iterable[Role], faults: Faults) -> tuple[Role, ...]:
    """The roles with all that they inherit; what cannot be resolved is a fault."""
    known: dict[str, Role] = {}
    roles = tuple(roles)
    everything = {role.name.value for role in roles}
    for role in roles:
        parents = []
        for entry in role.inherits:
            if entry.value in known:
                parents.append(known[entry.value])
            elif entry.value in everything:
                hint = "A role stands below those that it inherits from, and never inherits itself."
                faults.add(entry.place, f"{entry.value} does not stand above", hint)
            else:
                names = ", ".join(known) or "none"
                hint = f"Roles above: {names}."
                faults.add(entry.place, f"unknown role {entry.value}", hint)
        known[role.name.value] = _resolved(role, parents, faults)
    return tuple(known.values())


def _resolved(role: Role, parents: list[Role], faults: Faults) -> Role:
    denied = _distinct([*(d for parent in parents for d in parent.denied_tools)])
    for entry in role.allowed_tools:
        if denies(replace(role, denied_tools=denied), entry.value):
            faults.add(
                entry.place, f"{entry.value} is denied by a role that {role.name.value} inherits"
            )
    always = {
        (_list(grant), grant.value): parent.name.value
        for parent in parents
        for grant in parent.grants()
        if grant.terms.plain and _list(grant) != "egress"
    }
    for grant in role.grants():
        giver = always.get((_list(grant), grant.value))
        if giver and grant.terms.obligations is None:
            hint = "A role only adds to what it inherits."
            faults.add(grant.place, f"{grant.value} is granted always by the role {giver}", hint)
        asked, bound = grant.terms.environments, role.environments
        if asked is not None and bound is not None and not set(asked.names) & set(bound.names):
            hint = f"The role holds in: {', '.join(bound.names)}."
            faults.add(asked.entry.place, f"{role.name.value} holds in none of these", hint)
    for name in ("inspection", "containment"):
        saying = [parent for parent in parents if getattr(parent, name) not in (None, Inspection())]
        distinct = [one for one in saying if getattr(one, name) != getattr(saying[0], name)]
        if distinct:
            faults.add(
                role.name.place,
                f"{role.name.value} inherits {name} from {saying[0].name.value} and"
                f" {distinct[0].name.value}",
                "At most one of a role's parents says it.",
            )
    lists: dict[str, Any] = {
        name: _grants(
            (grant for one in (*parents, role) for grant in getattr(one, name)), role.environments
        )
        for name in _GRANTS
    }
    permissions = [one for parent in (*parents, role) for one in parent.permissions]
    egress = [rule for one in (*parents, role) for rule in one.egress]
    layers = [*(one.containment for one in parents), role.containment]
    inspections = [*(one.inspection for one in parents), role.inspection]
    obligations, access, limit = role.obligations, role.data_access, role.limit
    for parent in parents:
        obligations = joined_obligations(parent.obligations, obligations)
        access = joined_data_access(parent.data_access, access)
        limit = joined_limits(parent.limit, limit, role.name.value)
    return replace(
        role,
        **lists,
        obligations=obligations,
        data_access=access,
        limit=limit,
        permissions=_distinct(
            replace(one, entry=_bounded(one.entry, role.environments)) for one in permissions
        ),
        denied_tools=_distinct([*denied, *role.denied_tools]),
        egress=_distinct(
            replace(one, host=_bounded(one.host, role.environments)) for one in egress
        ),
        containment=_contained([layer for layer in layers if layer is not None]),
        inspection=_inspected(inspections),
    )


def _list(grant: Grant) -> str:
    """The list of a role that a grant stands in."""
    return grant.path.split(".")[2].partition("[")[0]


def _distinct(items: Iterable[_Item]) -> tuple[_Item, ...]:
    """Each once: what comes by two ways from the same line is the same."""
    return tuple(dict.fromkeys(items))


def _grants(grants: Iterable[Grant], bound: Environments | None) -> tuple[Grant, ...]:
    return _distinct(_bounded(grant, bound) for grant in grants)


def _bounded(grant: Grant, bound: Environments | None) -> Grant:
    """The grant within the role's environments."""
    own = grant.terms.environments
    if bound is None or (own is not None and set(own.names) <= set(bound.names)):
        return grant
    kept = bound.names if own is None else tuple(n for n in own.names if n in bound.names)
    return replace(grant, terms=replace(grant.terms, environments=Environments(kept, bound.entry)))


def _contained(layers: list[ContainmentLayer]) -> ContainmentLayer | None:
    """One layer that says what all say, the last where two do."""
    if not layers:
        return None
    found = layers[0]
    for layer in layers[1:]:
        treatments = dict(found.treatments)
        for kind, table in layer.treatments.items():
            treatments[kind] = {**treatments.get(kind, {}), **table}
        found = ContainmentLayer(
            treatments,
            found.never if layer.never is None else layer.never,
            found.approvals if layer.approvals is None else layer.approvals,
        )
    return found


def _inspected(layers: list[Inspection]) -> Inspection:
    found = layers[0]
    for layer in layers[1:]:
        tables = dict(found.tables)
        for channel, table in layer.tables.items():
            tables[channel] = {**tables.get(channel, {}), **table}
        found = Inspection(
            tables,
            found.envelope if layer.envelope is None else layer.envelope,
            found.canaries if layer.canaries is None else layer.canaries,
            found.links if layer.links is None else layer.links,
        )
    return found
