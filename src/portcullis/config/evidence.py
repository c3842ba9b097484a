"""The section about evidence: which frameworks are evaluated, how often, where packages go."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from pydantic import Field

from portcullis.config.common import Section

FrameworkName: TypeAlias = Literal[
    "nist-800-53",
    "fedramp-moderate",
    "soc2",
    "hipaa",
    "gdpr",
    "iso42001",
    "eu-ai-act",
    "owasp-agentic",
]


class Packages(Section):
    """Signed packages: into ``folder``, every so many hours and when a gap opens or closes.

    A change makes a package ``pause_minutes`` after the last one, not before. Of each framework
    at most ``keep`` stay.
    """

    folder: Path
    every_hours: float = Field(default=24, gt=0, le=8784)
    pause_minutes: float = Field(default=60, ge=0, le=527_040)
    keep: int = Field(default=1000, ge=1)


class Evidence(Section):
    """What a running gate evaluates every ``seconds``; without frameworks, nothing."""

    frameworks: tuple[FrameworkName, ...] = get_args(FrameworkName)
    seconds: float = Field(default=60, gt=0, le=86_400)
    packages: Packages | None = None
