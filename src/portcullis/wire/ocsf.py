"""Audit events as OCSF 1.8 objects (schema.ocsf.io): one leaf of the log is one OCSF event.

=====================================================  ==================================
what the leaf is                                       class
=====================================================  ==================================
inspection found something, or a tool is not itself    Detection Finding, 2004
a credential issued, renewed or refused; a login       Authentication, 3002
a session opened or closed                             Authorize Session, 3003
everything else                                        API Activity, 6003
=====================================================  ==================================

``metadata.uid`` is the leaf's id and ``metadata.sequence`` its number in the log: receivers drop
what they have seen by these. Nothing is added to what the leaf holds; what OCSF has no attribute
for stands in ``unmapped`` under the leaf's own names.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final, NamedTuple

import msgspec

from portcullis.core.call import Action, RiskClass
from portcullis.core.event import Event, EventType
from portcullis.core.principal import PrincipalKind

VERSION: Final = "1.8.0"
PRODUCT: Final = "Portcullis"


class _Class(NamedTuple):
    uid: int
    name: str
    category: str

    @property
    def category_uid(self) -> int:
        return self.uid // 1000


_FINDING: Final = _Class(2004, "Detection Finding", "Findings")
_AUTHENTICATION: Final = _Class(3002, "Authentication", "Identity & Access Management")
_SESSION: Final = _Class(3003, "Authorize Session", "Identity & Access Management")
_API: Final = _Class(6003, "API Activity", "Application Activity")

_DETECTIONS: Final = frozenset({"PC3020", "PC3021", "PC3022", "PC3026", "PC3027"})
"""Refusals that are findings even where no type of finding is named."""
_AUTHENTICATING: Final = ("login", "svid.", "token.", "tokens.", "workload.")
_OTHER: Final = 99

_ACTIVITIES: Final = {1: "Create", 2: "Read", 3: "Update", 4: "Delete"}
_OF_RISK: Final = {RiskClass.READ: 2, RiskClass.MODIFY: 3, RiskClass.DELETE: 4}
_OF_VERB: Final = (
    dict.fromkeys(("create", "add", "open", "mint", "issue"), 1)
    | dict.fromkeys(("list", "show", "get", "read", "fetch", "query"), 2)
    | dict.fromkeys(("change", "rotate", "review", "suspend", "resume", "activate"), 3)
    | dict.fromkeys(("roles", "password", "update", "pin"), 3)
    | dict.fromkeys(("remove", "delete", "revoke", "erase", "close"), 4)
)
_TICKETS: Final = {"issue": (3, "Authentication Ticket"), "renew": (5, "Service Ticket Renew")}

_USER_TYPES: Final = {
    PrincipalKind.USER: (1, "User"),
    PrincipalKind.OPERATOR: (2, "Admin"),
    PrincipalKind.GATEWAY: (3, "System"),
    PrincipalKind.AGENT: (4, "Service"),
    PrincipalKind.APPLICATION: (4, "Service"),
}
_ACTIONS: Final = {"allow": (1, "Allowed", "Allowed"), "deny": (2, "Denied", "Blocked")}
_SUCCESS: Final = {"status_id": 1, "status": "Success"}
_SEVERITIES: Final = ("Unknown", "Informational", "Low", "Medium", "High", "Critical")
_HIGH: Final = ("PC4", "PC302", "PC5005")
_RESULTS: Final = frozenset({EventType.RESULT, EventType.TOOL_RESULT, EventType.LLM_RESULT})
_UNMAPPED: Final = (
    "principal_kind", "source", "application", "route", "action", "method", "server", "name",
    "parameters", "commitments", "request_bytes", "features", "risk", "check", "rule", "findings",
    "verdict", "approval", "review", "decision", "proposed_by", "looked_up_for", "result",
    "input_tokens", "output_tokens", "cost", "trace_id",
)  # fmt: skip


def ocsf(index: int, event: Event, product_version: str) -> dict[str, Any]:
    """The OCSF object of entry ``index``, ready to be encoded as JSON. Times are milliseconds."""
    kind = _classified(event)
    activity, activity_name = _activity(kind, event)
    severity = severity_of(event)
    at = int(event.time.timestamp() * 1000)
    profiles: list[str] = []
    made: dict[str, Any] = {
        "class_uid": kind.uid,
        "class_name": kind.name,
        "category_uid": kind.category_uid,
        "category_name": kind.category,
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": kind.uid * 100 + activity,
        "type_name": f"{kind.name}: {activity_name}",
        "severity_id": severity,
        "severity": _SEVERITIES[severity],
        "time": at,
        "message": summary(event),
        "metadata": {
            "version": VERSION,
            "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": product_version},
            "uid": event.id,
            "sequence": index,
            "event_code": event.type.value,
            "log_name": event.gateway,
            "original_time": event.time.isoformat(),
            "correlation_uid": event.decision or event.id,
            "profiles": profiles,
        },
        "unmapped": _unmapped(event),
    }
    made |= _outcome(kind, event)
    if event.verdict in _ACTIONS:
        number, action, disposition = _ACTIONS[event.verdict]
        made |= {"action_id": number, "action": action}
        made |= {"disposition_id": number, "disposition": disposition}
        made["is_alert"] = kind is _FINDING and event.verdict == "deny"
        if event.policy:
            made["policy"] = {"uid": event.policy}
        profiles.append("security_control")
    if kind is _FINDING:
        made |= _finding(event, at)
    elif kind is _API:
        made |= {"actor": _actor(event), "api": _api(event), "src_endpoint": _endpoint(event)}
        if event.trace_id:
            made["trace"] = {"uid": event.trace_id}
            profiles.append("trace")
        if event.action == Action.MODEL:
            made |= _model(event)
            profiles.append("ai_operation")
    else:
        made |= {"user": _user(event), "src_endpoint": _endpoint(event)}
        made["service"] = {"name": event.gateway}
        if kind is _SESSION:
            del made["service"]  # this class has no such attribute
        if event.session:
            made["session"] = {"uid": event.session}
    return made


def severity_of(event: Event) -> int:
    """OCSF's severity_id, 1 to 5: refusals are worth a look, planted and stolen things more."""
    if event.code == "PC3020":
        return 5
    if event.verdict == "deny":
        return 4 if event.code.startswith(_HIGH) else 3
    if event.verdict == "error" or (event.result is not None and event.result.error):
        return 2
    return 1


def summary(event: Event) -> str:
    """One line for people: what happened to what, and why not."""
    what = ".".join(filter(None, (event.server, event.name))) or event.method or event.action
    who = event.principal or "unknown"
    parts = [f"{event.type.value} {what} by {who}", event.verdict, event.code]
    said = " ".join(filter(None, parts))
    return f"{said}: {event.reason}" if event.reason else said


def _classified(event: Event) -> _Class:
    if event.findings or event.code in _DETECTIONS or event.method == "catalogue.suspect":
        return _FINDING
    outside = event.type in {EventType.IDENTITY, EventType.ADMIN}
    if outside and event.method.startswith(_AUTHENTICATING):
        return _AUTHENTICATION
    if event.type is EventType.ERROR and event.code.startswith("PC2"):
        return _AUTHENTICATION
    if event.type is EventType.ADMIN and event.method in {"sessions.open", "sessions.close"}:
        return _SESSION
    return _API


def _activity(kind: _Class, event: Event) -> tuple[int, str]:
    """``activity_id`` and its name; 99 with a name of our own where OCSF has none."""
    verb = event.method.rpartition(".")[2]
    if kind is _FINDING:
        return 1, "Create"
    if kind is _SESSION:
        return (1, "Assign Privileges") if verb == "open" else (_OTHER, "Close Session")
    if kind is _AUTHENTICATION:
        if event.method.startswith(_AUTHENTICATING[1:]):
            return _TICKETS.get(verb, (_OTHER, event.method))
        return 1, "Logon"
    number = _OF_RISK.get(event.risk)  # type: ignore[call-overload] # a RiskClass is its text
    if number is None and event.type in {EventType.ADMIN, EventType.IDENTITY}:
        number = _OF_VERB.get(verb)
    if number is None and event.action in {Action.LIST, Action.RESOURCE, Action.PROMPT}:
        number = 2
    if number is not None:
        return number, _ACTIVITIES[number]
    return _OTHER, event.risk or event.method or event.type.value


def _outcome(kind: _Class, event: Event) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if kind is not _FINDING:  # a finding's status is what became of the finding
        failed = event.verdict in {"deny", "error"} or (event.result and event.result.error)
        made = {"status_id": 2, "status": "Failure"} if failed else dict(_SUCCESS)
    if event.code:
        made["status_code"] = event.code
    if event.reason:
        made["status_detail"] = event.reason
    return made


def _user(event: Event) -> dict[str, Any]:
    number, caption = _USER_TYPES.get(event.principal_kind, (0, "Unknown"))  # type: ignore[call-overload] # a PrincipalKind is its text
    made: dict[str, Any] = {"name": event.principal or "unknown", "type_id": number}
    made["type"] = caption
    if event.principal:
        made["uid"] = event.principal
    if event.credential:
        made["credential_uid"] = event.credential
    return made


def _actor(event: Event) -> dict[str, Any]:
    made: dict[str, Any] = {"user": _user(event)}
    if event.session:
        made["session"] = {"uid": event.session}
    if event.application:
        made["app_name"] = event.application
    return made


def _api(event: Event) -> dict[str, Any]:
    operation = event.method or event.action or event.type.value
    if event.action == Action.TOOL and event.name:
        operation = event.name
    made: dict[str, Any] = {
        "operation": operation,
        "request": {"uid": event.decision or event.id},
        "service": {"name": event.server or event.gateway},
    }
    if event.type in _RESULTS:
        made["response"] = {"message": event.verdict or "done"}
    if event.code:
        made["response"] = {"error": event.code, "error_message": event.reason or event.code}
    return made


def _endpoint(event: Event) -> dict[str, Any]:
    """Where it came from: an address (perhaps with a port), or a word such as ``stdio``."""
    for address, port in ((event.source, ""), event.source.rpartition(":")[::2]):
        try:
            known = str(ipaddress.ip_address(address.strip("[]")))
        except ValueError:
            continue
        return {"ip": known, "port": int(port)} if port.isdigit() else {"ip": known}
    return {"name": event.source or "unknown"}


def _model(event: Event) -> dict[str, Any]:
    """The profile ai_operation, of 1.8."""
    used = {"prompt_tokens": event.input_tokens, "completion_tokens": event.output_tokens}
    context: dict[str, Any] = {name: count for name, count in used.items() if count is not None}
    if len(context) == len(used):
        context["total_tokens"] = sum(context.values())
    context |= {"ai_role_id": 4, "ai_role": "Agent", "service": {"name": event.server or "model"}}
    made: dict[str, Any] = {"message_context": context}
    if event.name and event.server:
        made["ai_model"] = {"name": event.name, "ai_provider": event.server}
    return made


def _finding(event: Event, at: int) -> dict[str, Any]:
    types = event.finding_types() or (event.code or event.method,)
    return {
        "status_id": 1,
        "status": "New",
        "finding_info": {
            "uid": event.id,
            "title": ", ".join(types),
            "types": list(types),
            "created_time": at,
            "analytic": {"type_id": 1, "type": "Rule", "name": event.check or "inspect"},
        },
        "evidences": [
            {"actor": _actor(event), "api": _api(event), "src_endpoint": _endpoint(event)}
        ],
    }


def _unmapped(event: Event) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in _UNMAPPED:
        value = getattr(event, name)
        if value is not False and value not in ("", (), {}, None):
            made[name] = msgspec.to_builtins(value)
    return made
