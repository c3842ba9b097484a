"""What an entry of the log says to those who watch: names, and nothing of what was asked."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from portcullis.core.approval import Approval, State
from portcullis.core.desk import LiveEvent, LiveKind
from portcullis.core.event import EventType
from portcullis.core.principal import PrincipalKind

_STATES: Final = {f"approval.{state}": state for state in State} | {
    "approval.requested": State.PENDING,
    "approval.endorsed": State.PENDING,
    "approval.reminded": State.PENDING,
    "approval.escalated": State.PENDING,
}
"""What an approval is after an event of this method."""
_KINDS: Final[dict[EventType, LiveKind]] = {
    EventType.DECISION: "decision",
    EventType.TOOL_CALL: "decision",
    EventType.LLM_CALL: "decision",
    EventType.ERROR: "decision",
    EventType.RESULT: "result",
    EventType.TOOL_RESULT: "result",
    EventType.LLM_RESULT: "result",
}
_ABOUT: Final[dict[str, LiveKind]] = {
    "principals": "principal",
    "credentials": "principal",
    "sessions": "session",
}
"""What an administrative event is about, by the first part of its method."""
_AGENT: Final = "agent:"


class _Leaf(msgspec.Struct, frozen=True):
    """What is read of an entry; all else is passed over."""

    id: str
    time: datetime
    type: EventType
    principal_kind: str = ""
    principal: str = ""
    session: str = ""
    action: str = ""
    method: str = ""
    server: str = ""
    name: str = ""
    risk: str = ""
    verdict: str = ""
    code: str = ""
    approval: str = ""
    parameters: msgspec.Raw = msgspec.Raw(b"{}")


_decode: Final = msgspec.json.Decoder(_Leaf).decode
_said: Final = msgspec.json.Decoder(dict[str, Any]).decode


def happened(entry: bytes) -> LiveEvent | None:
    """What an entry says, without a number; None for one that is no event of this version."""
    try:
        leaf = _decode(entry)
        state = _STATES.get(leaf.method)
        return _plain(leaf) if state is None else _approval(leaf, state)
    except msgspec.MsgspecError:
        return None


def happened_to(approval: Approval) -> LiveEvent:
    """What became of an approval, by its row, without a number."""
    known = approval.state is State.PENDING
    return LiveEvent(
        id=0,
        at=approval.created_at if known else approval.settled_at,
        kind="approval",
        agent=approval.agent,
        operator=approval.decided_by,
        session=approval.session,
        action=approval.action,
        method=f"approval.{'requested' if known else approval.state}",
        server=approval.server,
        name=approval.name,
        risk=approval.risk,
        approval=approval.id,
        state=approval.state,
    )


def _plain(leaf: _Leaf) -> LiveEvent:
    kind = _KINDS.get(leaf.type) or _ABOUT.get(leaf.method.partition(".")[0], "admin")
    agent = leaf.principal if leaf.principal_kind == PrincipalKind.AGENT else ""
    if kind in {"principal", "session", "admin"} and leaf.name.startswith(_AGENT):
        agent = leaf.name.removeprefix(_AGENT)
    return _event(leaf, kind, agent=agent, session=leaf.session, name=leaf.name)


def _approval(leaf: _Leaf, state: State) -> LiveEvent:
    """An operator's decision names the approval, and its agent and session in its parameters."""
    agent, session, name = leaf.principal, leaf.session, leaf.name
    if leaf.principal_kind != PrincipalKind.AGENT:
        said = _said(leaf.parameters)
        agent, session = str(said.get("agent", "")), str(said.get("session", "")) or session
        name = "" if name == leaf.approval else name
    return _event(leaf, "approval", agent=agent, session=session, name=name, state=state)


def _event(leaf: _Leaf, kind: LiveKind, **fields: str) -> LiveEvent:
    return LiveEvent(
        id=0,
        at=leaf.time.timestamp(),
        kind=kind,
        event=leaf.id,
        operator=leaf.principal if leaf.principal_kind == PrincipalKind.OPERATOR else "",
        action=leaf.action,
        method=leaf.method,
        server=leaf.server,
        risk=leaf.risk,
        verdict=leaf.verdict,
        code=leaf.code,
        approval=leaf.approval,
        **fields,
    )
