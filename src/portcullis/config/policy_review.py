"""The section about reviews of what agents may."""

from __future__ import annotations

from pydantic import Field

from portcullis.config.common import Section


class PolicyReview(Section):
    """How often the gate reviews what agents may, and for how long what it finds is good.

    It does so whenever another policy comes into force, and every ``every_days``. A grant that
    nobody used for ``unused_days`` is a finding. ``certify_days`` after an agent was confirmed it
    is due again; None for as long as its ``review_by`` says. With ``owners_certify`` nobody
    confirms an agent but its owner, or where the owner is one of ``approvals.teams`` its members.
    """

    every_days: float = Field(default=1, ge=0.01, le=366)
    unused_days: int = Field(default=90, ge=1, le=3650)
    certify_days: int | None = Field(default=None, ge=1, le=3650)
    owners_certify: bool = False
