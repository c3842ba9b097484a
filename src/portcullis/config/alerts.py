"""The section about alerts: rules of one's own, and who is told from which level on.

The rules lie in a folder beside the policy and not within it: they decide nothing, and who may say
what is worth a look should not thereby be able to change what agents may do.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from portcullis.config.common import Name, Section

LevelName: TypeAlias = Literal["informational", "low", "medium", "high", "critical"]
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Escalation(Section):
    """After how long others are told of an alert that nobody took on, and from which level on.

    ``after`` is a number with s, m, h or d, since people were first told of the alert.
    """

    after: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}[smhd]$")]
    tell: Annotated[dict[Name, LevelName], Field(min_length=1)]

    @property
    def seconds(self) -> float:
        """The same in seconds."""
        return float(int(self.after[:-1]) * _SECONDS[self.after[-1]])


class Alerts(Section):
    """``rules`` is a folder of YAML files beside the built-in rules.

    ``tell`` says from which level on each channel under ``notifications`` is told; ``escalate``, in
    the order of time, who else when nobody takes an alert on. What a rule raises again about the
    same within ``gather_minutes`` of the last time is the same alert.
    """

    rules: Path | None = None
    tell: dict[Name, LevelName] = Field(default_factory=dict)
    escalate: Annotated[tuple[Escalation, ...], Field(max_length=10)] = ()
    gather_minutes: int = Field(default=60, ge=1, le=10_080)

    def model_post_init(self, context: object, /) -> None:
        """One step after the other."""
        del context
        if any(one.seconds >= other.seconds for one, other in pairwise(self.escalate)):
            msg = "escalate: each step comes later than the one before"
            raise ValueError(msg)

    @property
    def channels(self) -> tuple[str, ...]:
        """All that are told, each once."""
        steps = (name for one in self.escalate for name in one.tell)
        return tuple(dict.fromkeys((*self.tell, *steps)))
