"""Puts the token of whoever a call is made for into its request, and no other credential."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from portcullis.core.behalf import NOBODY
from portcullis.core.grant_ports import UserTokens
from portcullis.core.ports import UpstreamRequest
from portcullis.core.secret_ports import Lease
from portcullis.execution.credential import Credential
from portcullis.execution.endpoint import BEARER
from portcullis.execution.request import field
from portcullis.execution.secrets.inject import Filled

_REFUSED: Final = frozenset({401})
"""What a token that is good no longer is refused with (RFC 6750 section 3.1)."""


class UserFiller:
    """Fills the requests to one upstream as ``Filler`` does; raises what ``tokens`` raises."""

    refusals = _REFUSED

    def __init__(self, upstream: str, tokens: UserTokens) -> None:
        self._upstream = upstream
        self._tokens = tokens
        self._replaced = frozenset({BEARER.lower()})

    async def fill(self, request: UpstreamRequest, instead: Mapping[str, Lease] = {}) -> Filled:
        """What to add to a request; ``instead`` is what ``newer`` returned."""
        lease = instead.get(self._upstream) or await self._lease(request)
        return Filled(
            lines=field(BEARER, f"Bearer {lease.secret.reveal()}"),
            replaced=self._replaced,
            query="",
            body=request.body,
            guard=Credential(lease.secret),
            leases=(lease,),
        )

    async def newer(self, request: UpstreamRequest, leases: Sequence[Lease]) -> dict[str, Lease]:
        """Another token of the same user's for the one that was refused; empty without one."""
        for lease in leases:
            self._tokens.refused(self._upstream, lease.secret)
        other = await self._lease(request)
        if any(other.secret == lease.secret for lease in leases):
            return {}
        return {self._upstream: other}

    def close(self) -> None:
        """Nothing is held here."""

    async def _lease(self, request: UpstreamRequest) -> Lease:
        token = await self._tokens.token(self._upstream, request.behalf or NOBODY)
        return Lease(reference=f"oauth:{self._upstream}", version="", secret=token)
