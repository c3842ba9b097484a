"""The last calls of each session, for those who approve its next one: bounded, soon forgotten."""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import chain
from typing import Final, Protocol

from portcullis.core.approval import Step
from portcullis.core.call import Call, Context, RiskClass
from portcullis.core.verdict import Allow, Deny

STEPS: Final = 16
"""How many calls of a session are remembered that did something, and how many others."""
SESSIONS: Final = 4096
"""Of how many sessions; the one that was quiet for longest goes first."""
_LONGEST: Final = 200


class Remembered(Protocol):
    """Keeps the last ``STEPS`` of those steps under a key that ``acts``, and of the others.

    Neither method raises: what cannot be kept is forgotten, as a restart forgets all. ``of``
    returns them in no order; ``add`` awaits nothing.
    """

    def add(self, key: str, step: Step, *, acts: bool) -> None: ...  # noqa: D102 - see above
    async def of(self, key: str) -> tuple[Step, ...]: ...  # noqa: D102 - see above


class LocalRemembered:
    """Implements ``Remembered`` in memory. Use it from one event loop."""

    def __init__(self) -> None:
        self._steps: OrderedDict[str, tuple[deque[Step], deque[Step]]] = OrderedDict()

    def add(self, key: str, step: Step, *, acts: bool) -> None:
        """See Remembered."""
        kept = self._steps.get(key)
        if kept is None:
            kept = self._steps[key] = deque(maxlen=STEPS), deque(maxlen=STEPS)
        self._steps.move_to_end(key)
        if len(self._steps) > SESSIONS:
            self._steps.popitem(last=False)
        kept[acts].append(step)

    async def of(self, key: str) -> tuple[Step, ...]:
        """See Remembered."""
        return tuple(chain(*self._steps.get(key, ())))


class Recent:
    """The approver sees fewer calls where ``steps`` has forgotten some.

    Reads and refusals push nothing out of sight that had an effect.
    """

    def __init__(self, steps: Remembered | None = None) -> None:
        self._steps = steps or LocalRemembered()

    def add(self, call: Call, context: Context, verdict: Allow | Deny) -> None:
        """Take note of a call that was decided."""
        step = Step(
            at=context.received_at,
            what=f"{call.method} {call.server}.{call.name}"[:_LONGEST],
            risk=verdict.risk or "",
            verdict=verdict.code if isinstance(verdict, Deny) else "allow",
        )
        acts = isinstance(verdict, Allow) and verdict.risk is not RiskClass.READ
        self._steps.add(_key(context), step, acts=acts)

    async def of(self, context: Context) -> tuple[Step, ...]:
        """The last calls of the caller's session, the oldest first."""
        return tuple(sorted(await self._steps.of(_key(context)), key=lambda step: step.at))


def _key(context: Context) -> str:
    principal, session = context.principal, context.session
    return session.id if session else f"{principal.kind}:{principal.id}"
