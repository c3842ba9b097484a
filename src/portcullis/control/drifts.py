"""Alarms about drift, each with the release that widened what the agent may."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from portcullis.control.alerts import Alerting
from portcullis.control.incidents_opening import agent_of
from portcullis.control.releases import Releasing
from portcullis.core.alert import UNRESOLVED, Alert, Wanted
from portcullis.core.release import Release, Stage

RULE: Final = "policy-drift"
STANDING: Final = Wanted(states=UNRESOLVED, rule=RULE)
_ENDED: Final = frozenset({Stage.SUPERSEDED, Stage.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Drift:
    """An agent may more than was confirmed. ``release`` is None where it is not known any more.

    ``back`` says that what was in force before the alarm began is in force again.
    """

    alert: Alert
    agent: str
    release: Release | None
    back: bool


async def drifts(alerting: Alerting, releasing: Releasing) -> tuple[Drift, ...]:
    """Those that nobody has resolved: what was taken back since is not among them."""
    found = await alerting.list(STANDING)
    releases = await releasing.list() if found else ()
    return tuple(one for one in (drift(alert, releases) for alert in found) if not one.back)


def drift(alert: Alert, releases: Iterable[Release]) -> Drift:
    """What an alert is about, by the release that was in force when it was raised last."""
    known = tuple(releases)
    first, last = (_in_force(known, at) for at in (alert.first_at, alert.last_at))
    back = _back(known, first) and _back(known, last)
    return Drift(alert, agent_of(alert.group), last, back)


def _in_force(releases: tuple[Release, ...], at: float) -> Release | None:
    """What was in force at a time.

    A release that was left and came back counts from then on: it is what is active.
    """
    then = [
        one
        for one in releases
        if 0 < one.active_at <= at and not (one.stage in _ENDED and one.changed_at < at)
    ]
    active = next((one for one in releases if one.stage is Stage.ACTIVE), None)
    return max(then, key=lambda one: one.active_at, default=active)


def _back(releases: tuple[Release, ...], release: Release | None) -> bool:
    """Whether it was rolled back, or the folder holds again what it held before."""
    if release is None or release.stage is Stage.ACTIVE:
        return False
    if release.stage is Stage.ROLLED_BACK:
        return True
    active = next((one for one in releases if one.stage is Stage.ACTIVE), None)
    earlier = {one.text for one in releases if 0 < one.active_at < release.active_at}
    return active is not None and active.text in earlier
