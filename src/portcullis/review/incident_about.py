"""Whom an event is about beside the one who acted: what was done to an agent or a session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portcullis.core.event import Event, EventType
from portcullis.core.principal import PrincipalKind

SUBJECTS: Final = ("agent:", "session:", "role:", "all:")
"""How the names begin of what somebody can do something to."""
POLICY: Final = "policy:*"
"""What a policy is about that came into force."""
CREDENTIAL: Final = "credential:"
"""How the name of a credential begins that something was done to or with."""
_TOLD: Final = frozenset({EventType.ADMIN, EventType.IDENTITY, EventType.ERROR})
_NOT_OURS: Final = "sha256:"
"""How the credential begins in an event that nobody knows."""
_REVOKED: Final = "credentials.revoke"
_ACTIVATED: Final = "policy.activate"
LONGEST: Final = 80
"""Characters of the longest subject that is looked up by; a longer one is nobody's name."""
_NAMED: Final = ("breaker", "subject", "may_act")
"""Parameters that hold such a name."""
_MOST: Final = 32


def about(event: Event) -> tuple[str, ...]:
    """Whom an event is about, as ``agent:NAME``, ``session:ID``, ``role:NAME`` or ``all:*``.

    A policy that came into force is about ``POLICY``, a refusal of somebody unknown about the
    credential that was shown (``credential:ID``), if it is one of ours. Each once; the agent that
    acted is not among them. A refusal is about whom was meant.
    """
    if event.type not in _TOLD:
        return ()
    own = f"agent:{event.principal}" if event.principal_kind == PrincipalKind.AGENT else ""
    found = dict.fromkeys(_subjects(event))
    return tuple(one for one in found if one != own and len(one) <= LONGEST)[:_MOST]


def _subjects(event: Event) -> Iterator[str]:
    shown = event.credential
    if not event.principal and shown and not shown.startswith(_NOT_OURS):
        yield f"{CREDENTIAL}{shown}"
    if event.type is EventType.ERROR:
        return
    said = event.parameters
    if event.method == _REVOKED:
        yield f"{CREDENTIAL}{event.name}"
    if event.method == _ACTIVATED and event.verdict == "allow":
        yield POLICY
    for name in (event.name, *(said.get(one) for one in _NAMED)):
        if isinstance(name, str) and name.startswith(SUBJECTS):
            yield name
    session = said.get("session")
    if event.type is EventType.IDENTITY and not event.session and isinstance(session, str):
        yield f"session:{session}"
    agent = said.get("agent")
    if isinstance(agent, str) and agent:
        yield f"agent:{agent}"
    chain = said.get("chain")
    if isinstance(chain, list):
        yield from (f"agent:{one}" for one in chain[:_MOST] if isinstance(one, str))
