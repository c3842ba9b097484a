"""Signals: which events are evidence of what. A row of a framework names them."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Final, NamedTuple

from portcullis.review.facts import Facts, Kind, Tally

_DECISIONS: Final = frozenset({"decision", "tool_call", "llm_call"})
_RESULTS: Final = frozenset({"result", "tool_result", "llm_result"})
_POLICY: Final = frozenset({"PC3001", "PC3002", "PC3005", "PC3006", "PC3008", "PC3009", "PC3012"})
_SCOPE: Final = frozenset({"PC3004", "PC3007", "PC3013", "PC3014"})
_ARGUMENTS: Final = frozenset({"PC3003", "PC3010", "PC3011"})
_TOOLS: Final = frozenset({"PC3026", "PC3027"})
_BOUNDS: Final = frozenset({"PC1007", "PC1012", "PC1015", "PC5002", "PC5004", "PC5006", "PC5025"})
_ISSUED: Final = frozenset(
    {"svid.issue", "jwt_svid.issue", "token.issue", "token.delegate", "tokens.mint"}
)
_RENEWED: Final = frozenset({"svid.renew", "authority.change", "keys.rotate", "principals.rotate"})
_CUT: Final = frozenset(
    {
        *("principals.suspend", "principals.expire", "principals.revoke", "credentials.revoke"),
        *("kills.kill", "quarantine.begin"),
    }
)
_LIMITS: Final = frozenset({"PC3061", *(f"PC{number}" for number in range(3070, 3079))})


class Signal(NamedTuple):
    """What is counted, in words, and which kinds of events belong to it."""

    about: str
    matches: Callable[[Kind], bool]


def _treated(kind: Kind, *treatments: str) -> bool:
    return any(one in kind.treatments.split("+") for one in treatments)


SIGNALS: Final[dict[str, Signal]] = {
    "decisions": Signal("decisions on calls", lambda k: k.type in _DECISIONS),
    "decisions_in_session": Signal(
        "decisions on calls within a session", lambda k: k.type in _DECISIONS and k.session
    ),
    "tool_calls": Signal(
        "tool calls that were allowed", lambda k: k.type == "tool_call" and k.verdict == "allow"
    ),
    "model_calls": Signal(
        "model calls that were allowed", lambda k: k.type == "llm_call" and k.verdict == "allow"
    ),
    "boxes": Signal(
        "boxes that tools and agents were started in, with what holds them",
        lambda k: k.method == "sandbox.start" or (k.method == "run.start" and k.verdict == "allow"),
    ),
    "results": Signal("results of calls", lambda k: k.type in _RESULTS),
    "denials": Signal(
        "calls that were denied", lambda k: k.type in _DECISIONS and k.verdict == "deny"
    ),
    "holds": Signal(
        "calls that waited for a human", lambda k: k.type in _DECISIONS and k.verdict == "hold"
    ),
    "human_decisions": Signal(
        "held calls that an operator approved or denied",
        lambda k: k.method in {"approval.approved", "approval.denied"} and k.verdict == "allow",
    ),
    "dispositions": Signal(
        "calls that policy let pass of which an operator said afterwards what they were",
        lambda k: k.method == "review.closed" and k.verdict == "allow",
    ),
    "policy_denials": Signal("calls that policy denied", lambda k: k.code in _POLICY),
    "scope_denials": Signal(
        "calls beyond the subject, the task's grant, the token or the delegator",
        lambda k: k.code in _SCOPE,
    ),
    "argument_denials": Signal(
        "calls with arguments that do not fit or are suspicious", lambda k: k.code in _ARGUMENTS
    ),
    "malformed_requests": Signal(
        "requests that could be read in two ways, or not at all",
        lambda k: k.code.startswith("PC1"),
    ),
    "bound_denials": Signal(
        "requests and answers beyond a bound on size, time or number", lambda k: k.code in _BOUNDS
    ),
    "limit_denials": Signal("calls beyond a limit or a budget", lambda k: k.code in _LIMITS),
    "breaker_openings": Signal(
        "circuit breakers that opened", lambda k: k.method == "breaker.open"
    ),
    "risk_changes": Signal(
        "agents whose risk came to another level", lambda k: k.method == "behaviour.level"
    ),
    "identity_refusals": Signal(
        "credentials that were refused", lambda k: k.code.startswith("PC2")
    ),
    "containment_denials": Signal(
        "calls of somebody who was cut off", lambda k: k.code.startswith("PC4")
    ),
    "withheld_results": Signal(
        "results that were withheld", lambda k: k.type in _RESULTS and k.verdict == "deny"
    ),
    "detections": Signal(
        "contents in which inspection found something, and changes of tools",
        lambda k: bool(k.treatments) or k.code.startswith("PC302"),
    ),
    "masked": Signal(
        "contents in which data was masked, hashed or replaced by placeholders",
        lambda k: _treated(k, "mask", "hash", "tokenise"),
    ),
    "data_denials": Signal(
        "contents that policy kept from going on", lambda k: k.code in {"PC3021", "PC3024"}
    ),
    "injections": Signal(
        "contents that instruct a model, blocked, wrapped or taken out",
        lambda k: k.code == "PC3022" or _treated(k, "wrap", "strip"),
    ),
    "canaries": Signal("canaries that left their place", lambda k: k.code == "PC3020"),
    "tools_pinned": Signal(
        "tools that were pinned or approved",
        lambda k: k.method == "catalogue.pin" and k.verdict == "allow",
    ),
    "tools_approved": Signal(
        "tools that an operator approved",
        lambda k: (
            k.method == "catalogue.pin" and k.verdict == "allow" and k.principal == "operator"
        ),
    ),
    "tools_changed": Signal(
        "tools that a server described otherwise than approved, or with instructions",
        lambda k: k.code in _TOOLS,
    ),
    "registrations": Signal(
        "principals that were registered",
        lambda k: k.method == "principals.create" and k.verdict == "allow",
    ),
    "reviews": Signal(
        "reviews of principals", lambda k: k.method == "principals.review" and k.verdict == "allow"
    ),
    "cut_offs": Signal(
        "principals, sessions and credentials that were cut off or isolated",
        lambda k: k.method in _CUT and k.verdict == "allow",
    ),
    "operator_acts": Signal(
        "acts of operators",
        lambda k: k.type == "admin" and k.principal == "operator" and k.verdict == "allow",
    ),
    "credentials_issued": Signal(
        "credentials that were issued", lambda k: k.method in _ISSUED and k.verdict == "allow"
    ),
    "credentials_renewed": Signal(
        "keys and credentials that were renewed",
        lambda k: k.method in _RENEWED and k.verdict == "allow",
    ),
    "certificates": Signal(
        "certificates of the gate itself",
        lambda k: k.principal == "gateway" and k.method in {"svid.issue", "svid.renew"},
    ),
    "sessions_opened": Signal(
        "sessions that were opened", lambda k: k.method == "sessions.open" and k.verdict == "allow"
    ),
    "sessions_closed": Signal(
        "sessions that were closed", lambda k: k.method == "sessions.close" and k.verdict == "allow"
    ),
    "policies": Signal(
        "policies that took force",
        lambda k: k.method == "policy.activate" and k.verdict == "allow",
    ),
    "policy_refusals": Signal(
        "policies that were refused and did not take force",
        lambda k: k.method == "policy.activate" and k.verdict == "deny",
    ),
    "policies_approved": Signal(
        "releases of policy that somebody else than its proposer approved",
        lambda k: k.method == "policy.release.approve" and k.verdict == "allow",
    ),
    "credentials_reflected": Signal(
        "answers withheld because they held an upstream credential", lambda k: k.code == "PC5005"
    ),
    "erasures": Signal(
        "erasures of a subject's keys that are complete",
        lambda k: k.method == "audit.erased" and k.verdict == "allow",
    ),
    "content_readings": Signal(
        "readings of sealed content, each with who and why",
        lambda k: k.method == "content.read" and k.verdict == "allow",
    ),
    "gap_changes": Signal("gaps that opened or closed", lambda k: k.method == "evidence.gap"),
    "packages": Signal("evidence packages", lambda k: k.method == "evidence.package"),
}


def tally(facts: Facts, name: str) -> Tally | None:
    """How often a signal was seen, or None for never. KeyError for an unknown one."""
    matches = SIGNALS[name].matches
    found = [seen for kind, seen in facts.kinds if matches(kind)]
    return reduce(Tally.and_also, found) if found else None
