"""The section about what gateways share beside the record store; see docs/state-of-gateways.md."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from portcullis.config.common import LOCAL_SECRET, Section


class Shared(Section):
    """Where gateways keep what one has to know of what another did.

    By default these are files below ``shared`` in the state directory, for the processes of one
    machine. ``url`` is a reference to the address of Valkey or Redis (docs/redis.md), for gateways
    of several, since such an address may hold a password.
    """

    url: Annotated[str, Field(pattern=LOCAL_SECRET)] | None = None
