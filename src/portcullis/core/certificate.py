"""Access reviews of agents: who looked at what an agent may, when, and what was said."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Said(StrEnum):
    """What a certificate says: that all is as it should be, or that a grant has to go."""

    CONFIRMED = "confirmed"
    REVOKED = "revoked"


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said about what an agent may under one release of policy.

    ``release`` and ``policy`` (its digest) are what was looked at, ``owner`` the agent's at that
    time, for whom ``by`` speaks. ``grant`` is the rule that has to go, ``led_to`` the release that
    was proposed for it (0: a patch). ``at`` is in seconds since the epoch.
    """

    agent: str
    at: float
    by: str
    said: Said
    release: int
    policy: str
    owner: str = ""
    grant: str = ""
    led_to: int = 0
    reason: str = ""


class Reviewed(msgspec.Struct, frozen=True, kw_only=True):
    """A review of the whole policy: of which release, why it was made, and its report as JSON.

    ``why`` is ``activation``, ``schedule`` or ``asked``.
    """

    at: float
    release: int
    why: str
    report: bytes
