"""On whose behalf something goes out to an upstream.

A credential that many share would make the gate a confused deputy: whoever may call a tool would
act with all that the credential may do. Where an upstream knows its users, each call carries a
token of the one user it is made for; there is no other credential to fall back to.
"""

from __future__ import annotations

import msgspec

from portcullis.core.call import Context
from portcullis.core.principal import Session


class Behalf(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts, in which session, for which user of which application; empty where nobody is.

    ``kind`` and ``principal`` are those of the caller.
    """

    kind: str = ""
    principal: str = ""
    session: str = ""
    application: str = ""
    user: str = ""

    @classmethod
    def of(cls, context: Context) -> Behalf:
        """For whom a call in this context is made."""
        return cls.within(context.principal.kind.value, context.principal.id, context.session)

    @classmethod
    def within(cls, kind: str, principal: str, session: Session | None) -> Behalf:
        """For whom a caller acts in a session."""
        return cls(
            kind=kind,
            principal=principal,
            session=session.id if session else "",
            application=session.application if session else "",
            user=session.user if session else "",
        )


NOBODY = Behalf()
"""What the gate does of its own accord."""
