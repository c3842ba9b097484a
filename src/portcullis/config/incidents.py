"""The section about incidents: what opens one by itself, playbooks of one's own, rotation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from portcullis.config.alerts import LevelName
from portcullis.config.common import Name, Section


class RotationHook(Section):
    """A program that makes a source's credential another one, told which but never its value.

    It is run without a shell and has ``seconds`` to end.
    """

    command: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    seconds: float = Field(default=30.0, gt=0, le=600)


class Incidents(Section):
    """When there is one, and what is done then.

    ``on_kill``: ``auto`` opens one with each kill of an agent or a session, ``offer`` says how,
    ``never`` says nothing. ``on_alert``: an alert of this level or higher that is about an agent
    opens one. ``playbook`` is followed where nobody names one; ``playbooks`` is a folder of YAML
    files beside those that are built in. ``since_days`` is how far back history is looked at.
    ``rotation`` says, by the scheme of their references (``file``), how secrets are rotated.
    """

    on_kill: Literal["auto", "offer", "never"] = "offer"
    on_alert: LevelName | Literal["never"] = "never"
    playbook: Name = "hostile-agent"
    playbooks: Path | None = None
    since_days: int = Field(default=30, ge=1, le=3660)
    rotation: dict[Literal["file", "env", "openbao", "vault", "aws-sm"], RotationHook] = Field(
        default_factory=dict
    )
