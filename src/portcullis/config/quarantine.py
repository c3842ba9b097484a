"""The section about quarantine; what goes on within it is the policy's to say."""

from __future__ import annotations

from typing import Literal

from portcullis.config.common import Section


class Quarantine(Section):
    """``at`` which risk level an agent is quarantined by itself; ``never`` leaves it to people."""

    at: Literal["elevated", "high", "critical", "never"] = "critical"
