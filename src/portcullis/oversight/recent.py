"""The last calls of each session, for those who approve its next one: in memory, bounded."""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import chain
from typing import Final

from portcullis.core.approval import Step
from portcullis.core.call import Call, Context, RiskClass
from portcullis.core.verdict import Allow, Deny

STEPS: Final = 16
"""How many calls of a session are remembered that did something, and how many others."""
SESSIONS: Final = 4096
"""Of how many sessions; the one that was quiet for longest goes first."""
_LONGEST: Final = 200


class Recent:
    """Use it from one event loop. A restart forgets: the approver then sees fewer calls.

    Reads and refusals push nothing out of sight that had an effect.
    """

    def __init__(self) -> None:
        self._steps: OrderedDict[str, tuple[deque[Step], deque[Step]]] = OrderedDict()

    def add(self, call: Call, context: Context, verdict: Allow | Deny) -> None:
        """Take note of a call that was decided."""
        key = _key(context)
        kept = self._steps.get(key)
        if kept is None:
            kept = self._steps[key] = deque(maxlen=STEPS), deque(maxlen=STEPS)
        self._steps.move_to_end(key)
        if len(self._steps) > SESSIONS:
            self._steps.popitem(last=False)
        acts = isinstance(verdict, Allow) and verdict.risk is not RiskClass.READ
        kept[acts].append(
            Step(
                at=context.received_at,
                what=f"{call.method} {call.server}.{call.name}"[:_LONGEST],
                risk=verdict.risk or "",
                verdict=verdict.code if isinstance(verdict, Deny) else "allow",
            )
        )

    def of(self, context: Context) -> tuple[Step, ...]:
        """The last calls of the caller's session, the oldest first."""
        kept = self._steps.get(_key(context), ())
        return tuple(sorted(chain(*kept), key=lambda step: step.at))


def _key(context: Context) -> str:
    principal, session = context.principal, context.session
    return session.id if session else f"{principal.kind}:{principal.id}"
