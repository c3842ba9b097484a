"""The section about calls that are looked at afterwards."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from portcullis.config.common import Section


class Review(Section):
    """Which calls that policy let pass without a human are looked at afterwards.

    Those of the ``risks`` (as computed from the arguments) and ``actions``: their decisions are
    flagged in the log. ``remind_seconds`` after the call an event says once that an entry is still
    open; None for never. Of the closed ones the last ``kept`` can be listed; the log has all.
    """

    risks: tuple[Literal["read", "modify", "external", "delete"], ...] = ("delete", "external")
    actions: tuple[Literal["tool", "model", "resource", "prompt", "egress"], ...] = ("tool",)
    remind_seconds: int | None = Field(default=86_400, ge=1)
    kept: int = Field(default=10_000, ge=0)
