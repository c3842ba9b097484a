"""What of a candidate no canary tests: what holds for all sessions together, until it is active."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import structs

from portcullis.core.release import Untested
from portcullis.policy.engine import CompiledPolicy

_MOST: Final = 20


def untested(active: CompiledPolicy, candidate: CompiledPolicy) -> tuple[Untested, ...]:
    """The parts that differ and are the active policy's in every session, with what is in them.

    ``limits`` by name; ``tools`` that mean something else (what containment asks); ``schemas`` of
    tools; ``roles``: agents that limits and kills count under another role; ``egress``: roles for
    whom TLS ends at other hosts; ``quarantine``. At most 20 names of each.
    """
    return tuple(
        Untested(part=part, names=names[:_MOST])
        for part, was, now in _parts(active, candidate)
        if (names := tuple(sorted(_differing(was, now))))
    )


def _parts(
    active: CompiledPolicy, candidate: CompiledPolicy
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    yield "limits", _limits(active), _limits(candidate)
    yield "tools", active.models, candidate.models
    yield "schemas", _schemas(active), _schemas(candidate)
    yield "roles", active.roles, candidate.roles
    yield "egress", active.terminated, candidate.terminated
    yield "quarantine", _quarantine(active), _quarantine(candidate)


def _differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    return {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}


def _limits(policy: CompiledPolicy) -> dict[str, Any]:
    return {one.name: structs.replace(one, place="") for one in policy.limits}


def _quarantine(policy: CompiledPolicy) -> dict[str, Any]:
    return {"quarantine": policy.quarantine}


def _schemas(policy: CompiledPolicy) -> dict[str, Any]:
    names = policy.schemas.keys() | policy.tolerated.keys()
    return {name: (policy.schemas.get(name), policy.tolerated.get(name)) for name in names}
