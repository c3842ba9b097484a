"""The ``resource_limits:`` of a role: so many calls, tokens and seconds in each session."""

from __future__ import annotations

from typing import Final

import yaml

from portcullis.core.limit_told import Measure
from portcullis.core.limits import MOST, Ceiling, Dimension, Limit, Window
from portcullis.policy.yaml import Entry, Reader

KEYS: Final = ("calls", "tokens", "seconds")
_MOST: Final = {"calls": MOST, "tokens": MOST, "seconds": 10**9}
_MEASURES: Final = {"calls": Measure.CALLS, "tokens": Measure.TOKENS}


def read_resource_limits(
    reader: Reader, path: str, node: yaml.Node | None, role: Entry
) -> Limit | None:
    """Read what an agent of ``role`` may use in one session; None says nothing.

    It is a limit like those under ``limits:``, named ``role.ROLE``: ``tokens`` are those of model
    calls, in and out; ``seconds`` count from when the session was opened. Outside of sessions, the
    agent's day stands for one, and there are no seconds.
    """
    if node is None:
        return None
    keys = reader.section(node, path, KEYS)
    if not keys:
        reader.fault(node, f"{path} limits nothing", f"Name one of {', '.join(KEYS)}.")
    amounts: dict[str, int] = {}
    for name, item in keys.items():
        value = reader.value(item, f"{path}.{name}")
        if type(value) is not int or not 0 <= value <= _MOST[name]:
            form = f"a whole number, at most {_MOST[name]}"
            reader.fault(item, f"{path}.{name} must be {form}", "Such as 100.")
            continue
        amounts[name] = value
    return Limit(
        name=f"role.{role.value}",
        place=reader.place(node).origin,
        where={Dimension.ROLE: (role.value,)},
        per=(Dimension.SESSION,),
        ceilings=tuple(
            Ceiling(measure=measure, window=Window.SESSION, amount=amounts[name])
            for name, measure in _MEASURES.items()
            if name in amounts
        ),
        session_seconds=amounts.get("seconds"),
    )


def joined_limits(parent: Limit | None, child: Limit | None, role: str) -> Limit | None:
    """What holds for ``role`` that inherits: the least of each, wherever it is said."""
    found = [one for one in (child, parent) if one is not None]
    if not found:
        return None
    least: dict[tuple[Measure, Window], Ceiling] = {}
    for ceiling in (ceiling for one in found for ceiling in one.ceilings):
        key = (ceiling.measure, ceiling.window)
        known = least.get(key)
        if known is None or ceiling.amount < known.amount:
            least[key] = ceiling
    seconds = [one.session_seconds for one in found if one.session_seconds is not None]
    return Limit(
        name=f"role.{role}",
        place=found[0].place,
        where={Dimension.ROLE: (role,)},
        per=(Dimension.SESSION,),
        ceilings=tuple(least.values()),
        session_seconds=min(seconds, default=None),
    )
