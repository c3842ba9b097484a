"""One-time links: who holds the issuer's key on the gate's machine is let in by one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from portcullis.control.principals import LOCAL
from portcullis.core.credential import Presented
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Once
from portcullis.core.principal import PrincipalKind
from portcullis.identity.records import IdentityRecords
from portcullis.identity.tokens import CONSOLE, LINK, Minted, TokenAuthority

LINK_SECONDS: Final = 60
"""How long a link is good at most."""

_KIND: Final = PrincipalKind.OPERATOR


@dataclass(frozen=True, slots=True)
class Links:
    """Exchanges the token of a link, once, for one that lasts ``seconds``."""

    authority: TokenAuthority
    once: Once
    records: IdentityRecords
    clock: Clock
    seconds: int

    async def exchange(self, token: str, *, source: str) -> Minted:
        """A token for the operator ``local-NAME`` of a link. Raises Problem PC2087, recorded."""
        try:
            name, roles = self._spent(token)
        except Problem:
            refusal = Problem("PC2087", "the link is not good, or no longer")
            raise self.records.refused("login", refusal, source=source, kind=_KIND) from None
        minted = self.authority.mint(_KIND, name, ttl=self.seconds, roles=roles, audience=CONSOLE)
        await self.records.done(
            "login",
            kind=_KIND,
            principal=name,
            credential=minted.id,
            source=source,
            parameters={"by": "link", "expires_at": int(minted.expires_at)},
        )
        return minted

    def _spent(self, token: str) -> tuple[str, tuple[str, ...]]:
        """Whose it is, and with which roles; then it is used up."""
        holder = self.authority.authenticate(Presented(token=token), LINK)
        now = self.clock.now()
        if (
            holder.kind is not _KIND
            or not holder.id.startswith(LOCAL)
            or holder.expires_at > now + LINK_SECONDS
            or holder.issued_at < self.once.since
            or not self.once.spend(hashlib.sha256(token.encode()).digest(), holder.expires_at)
        ):
            raise Problem("PC2087", "not a link's token")
        return holder.id, holder.roles
