"""What the composition root hands to the APIs, in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from portcullis.config import Limits, Tokens
from portcullis.control.edge import Edge
from portcullis.control.principals import Containment, Principals
from portcullis.control.records import Records
from portcullis.core.ports import Clock, Directory, Recorder, SessionState
from portcullis.identity.tokens import TokenAuthority


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The ports that the APIs stand on.

    ``gateway`` names this gate in the records; ``new_id`` gives ids that never repeat (events,
    sessions); ``version`` is the program's.
    """

    authority: TokenAuthority
    directory: Directory
    feed: Containment
    sessions: SessionState
    recorder: Recorder
    clock: Clock
    tokens: Tokens
    limits: Limits
    gateway: str
    version: str
    new_id: Callable[[], str]

    def records(self) -> Records:
        """What writes the events of the APIs."""
        return Records(
            gateway=self.gateway,
            recorder=self.recorder,
            clock=self.clock,
            new_id=self.new_id,
        )

    def edge(self, route: str) -> Edge:
        """The edge of the API that is called ``route`` in the records."""
        return Edge(
            route=route,
            authenticator=self.authority,
            feed=self.feed,
            records=self.records(),
            clock=self.clock,
            body_bytes=min(self.limits.body_bytes, 262_144),
            receive_seconds=self.limits.receive_seconds,
        )

    def principals(self, route: str) -> Principals:
        """The service of principals and tokens, under this ``route`` in the records."""
        return Principals(
            directory=self.directory,
            feed=self.feed,
            authority=self.authority,
            records=self.records(),
            clock=self.clock,
            tokens=self.tokens,
            route=route,
        )
