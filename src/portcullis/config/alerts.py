"""The section about alerts: rules of one's own, and who is told from which level on.

The rules lie in a folder beside the policy and not within it: they decide nothing, and who may say
what is worth a look should not thereby be able to change what agents may do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field

from portcullis.config.common import Name, Section

LevelName: TypeAlias = Literal["informational", "low", "medium", "high", "critical"]


class Alerts(Section):
    """``rules`` is a folder of YAML files beside the built-in rules.

    ``tell`` says from which level on each channel under ``notifications`` is told. What a rule
    raises again about the same within ``gather_minutes`` of the last time is the same alert.
    """

    rules: Path | None = None
    tell: dict[Name, LevelName] = Field(default_factory=dict)
    gather_minutes: int = Field(default=60, ge=1, le=10_080)
