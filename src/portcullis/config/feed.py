"""The section about the kill feed: how gateways learn at once who is cut off."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from portcullis.config.common import LOCAL_SECRET, Section


class Feed(Section):
    """How the control plane tells the gateways.

    A gateway that has heard nothing for ``lease_seconds`` denies everything until it has. The
    control plane says every ``heartbeat_seconds`` that nothing changed. ``via`` is the Unix socket
    ``feed.sock`` in the state directory, or Valkey or Redis at ``url``: a reference to a secret,
    since such an address may hold a password.
    """

    lease_seconds: Annotated[float, Field(ge=0.2, le=3600)] = 1.0
    heartbeat_seconds: Annotated[float, Field(ge=0.05, le=20)] = 0.25
    via: Literal["unix", "redis"] = "unix"
    url: Annotated[str, Field(pattern=LOCAL_SECRET)] | None = None

    @model_validator(mode="after")
    def _coherent(self) -> Feed:
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            msg = "heartbeat_seconds is at most half of lease_seconds: one may be lost"
            raise ValueError(msg)
        if (self.via == "redis") != (self.url is not None):
            msg = "url is for `via: redis`, which needs one"
            raise ValueError(msg)
        return self
