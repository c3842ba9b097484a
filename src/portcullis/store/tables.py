"""The tables as they are after the last migration; a test holds the two together.

Times are seconds since the epoch. ``sessions.document`` is the MessagePack form of
``core.principal.Session``: it holds the user's prompt, so the file is its owner's alone.
Secrets are not here: join tokens as SHA-256, passwords as Argon2id, TOTP secrets sealed.
The ``audit_`` tables say where in the audit logs to look; the logs are the truth.
``versions`` counts the changes of a table, for whoever keeps a copy of it in memory.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from portcullis.core import approval
from portcullis.core.lifecycle import State

REVISION: Final = "0033"
"""The last migration."""
READABLE: Final = "0033"
"""The last one that a program has to know to use this schema: what came after only adds to it."""

METADATA: Final = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_name)s"})

_STATES: Final = ", ".join(f"'{state}'" for state in State)
_APPROVAL_STATES: Final = ", ".join(f"'{state}'" for state in approval.State)

PRINCIPALS: Final = Table(
    "principals",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("id", String(63), primary_key=True),
    Column("owner", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("roles", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("purpose", String(200), nullable=False),
    Column("review_at", Double, nullable=False, index=True),
    Column("spiffe_id", String(2048), nullable=False),
    Column("rotated_at", Double, nullable=False),
    Column("users", JSON, nullable=False, server_default="[]"),
    CheckConstraint(f"state IN ({_STATES})", name="principals_state"),
    Index(
        "ix_principals_spiffe_id",
        "spiffe_id",
        unique=True,
        sqlite_where=text("spiffe_id <> ''"),
        postgresql_where=text("spiffe_id <> ''"),
    ),
)

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("expires_at", Double, nullable=False, index=True),
    Column("document", LargeBinary, nullable=False),
)

CUTS: Final = Table(
    "cuts",
    METADATA,
    Column("scope", String(16), primary_key=True),
    Column("value", String(64), primary_key=True),
    Column("reason", String(200), nullable=False),
    Column("made_at", Double, nullable=False),
    Column("made_by", String(64), nullable=False, server_default=""),
)

ISOLATIONS: Final = Table(
    "isolations",
    METADATA,
    Column("scope", String(16), primary_key=True),
    Column("value", String(64), primary_key=True),
    Column("reason", String(200), nullable=False),
    Column("made_at", Double, nullable=False),
    Column("made_by", String(64), nullable=False, server_default=""),
)

BREAKERS: Final = Table(
    "breakers",
    METADATA,
    Column("scope", String(16), primary_key=True),
    Column("subject", String(64), primary_key=True),
    Column("gateway", String(320), primary_key=True),
    Column("agent", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("reason", String(200), nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double, nullable=False),
    Column("times", Integer, nullable=False),
)
"""Those that are not closed. An agent's has no gateway, an upstream's is its gateway's own; with
``agent`` it is for that one alone."""

ENTRIES: Final = Table(
    "entries",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("principal", String(63), nullable=False),
    Column("selectors", JSON, nullable=False),
    Column("ttl_seconds", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
)

JOIN_TOKENS: Final = Table(
    "join_tokens",
    METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("principal", String(63), nullable=False),
    Column("expires_at", Double, nullable=False),
)

OPERATOR_CREDENTIALS: Final = Table(
    "operator_credentials",
    METADATA,
    Column("name", String(63), primary_key=True),
    Column("password", String(200), nullable=False),
    Column("totp", LargeBinary, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("locked_until", Double, nullable=False),
)

PASSKEYS: Final = Table(
    "passkeys",
    METADATA,
    Column("id", String(1364), primary_key=True),
    Column("operator", String(63), nullable=False, index=True),
    Column("name", String(63), nullable=False),
    Column("public", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("used_at", Double, nullable=False),
)
"""``id`` is the credential's in base64url, ``public`` its attested credential data."""

PINS: Final = Table(
    "pins",
    METADATA,
    Column("server", String(63), primary_key=True),
    Column("tool", String(256), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("definition", Text, nullable=False),
    Column("pinned_at", Double, nullable=False),
    Column("approved_by", String(63), nullable=False),
)

SIGHTINGS: Final = Table(
    "sightings",
    METADATA,
    Column("server", String(63), primary_key=True),
    Column("tool", String(256), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("definition", Text, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("reasons", JSON, nullable=False),
)

VERSIONS: Final = Table(
    "versions",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

SESSION_LABELS: Final = Table(
    "session_labels",
    METADATA,
    Column("session", String(64), primary_key=True),
    Column("expires_at", Double, nullable=False, index=True),
    Column("document", LargeBinary, nullable=False),
)

SESSION_SPENT: Final = Table(
    "session_spent",
    METADATA,
    Column("session", String(64), primary_key=True),
    Column("measure", String(16), primary_key=True),
    Column("expires_at", Double, nullable=False, index=True),
    Column("amount", BigInteger, nullable=False),
)
"""What a session has used of its budget, by measure."""

MEMORY_LABELS: Final = Table(
    "memory_labels",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("store", String(129), nullable=False, index=True),
    Column("document", LargeBinary, nullable=False),
)
"""``id`` is the digest of the store's name and the record's."""

APPROVALS: Final = Table(
    "approvals",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("binding", String(64), nullable=False, index=True),
    Column("agent", String(63), nullable=False),
    Column("session", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("server", String(63), nullable=False),
    Column("name", String(256), nullable=False),
    Column("risk", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("settled_at", Double, nullable=False),
    Column("decided_by", String(63), nullable=False),
    Column("reason", String(200), nullable=False),
    Column("reminded_at", Double, nullable=False),
    Column("escalated_at", Double, nullable=False),
    Column("sealed", LargeBinary, nullable=True),
    Column("chain", Text, nullable=False, server_default=""),
    Column("why", String(200), nullable=False, server_default=""),
    Column("endorsed_by", String(63), nullable=False, server_default=""),
    Column("endorsed_reason", String(200), nullable=False, server_default=""),
    CheckConstraint(f"state IN ({_APPROVAL_STATES})", name="approvals_state"),
    Index("ix_approvals_state", "state", "created_at", "id"),
    Index("ix_approvals_agent", "agent", "state", "created_at", "id"),
    *(
        Index(f"ix_approvals_{name}", "state", name, "created_at", "id")
        for name in ("session", "server", "name", "risk")
    ),
    Index("ix_approvals_expires_at", "state", "expires_at"),
    Index("ix_approvals_reminded_at", "state", "reminded_at", "created_at"),
    Index("ix_approvals_escalated_at", "state", "escalated_at", "created_at"),
    Index("ix_approvals_settled_at", "settled_at"),
)
"""``sealed`` is what the approver sees, until it is decided: then it is NULL. ``chain`` are names
with a space between them."""

PRECEDENTS: Final = Table(
    "precedents",
    METADATA,
    Column("agent", String(63), primary_key=True),
    Column("server", String(63), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("event", String(64), nullable=False, index=True),
    Column("log", String(128), nullable=False),
    Column("handle", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""The last approved call of each kind that went ahead: ``sealed`` are its arguments, under the key
of their subject, which the log called ``log`` knows by its ``handle``."""

FREEZES: Final = Table(
    "freezes",
    METADATA,
    Column("agent", String(63), primary_key=True),
    Column("frozen_at", Double, nullable=False),
    Column("lifted_at", Double, nullable=False),
)
"""Agents that may not ask for approval: those frozen after they were last lifted."""

AUDIT_POSITIONS: Final = Table(
    "audit_positions",
    METADATA,
    Column("log", String(128), primary_key=True),
    Column("next", BigInteger, nullable=False),
    Column("root", String(64), nullable=False),
)

DECISION: Final = "type IN ('decision', 'tool_call', 'llm_call')"
"""Which events are decisions. Queries say it in the words of the partial indexes, which are used
only then; ``SPARSE`` is what an index leaves out beside, because nearly all decisions are so."""
SPARSE: Final = {"verdict": "allow", "code": "", "risk": "read"}


def sparse(column: str) -> str:
    """Which decisions the index of a column of ``SPARSE`` has."""
    return f"{column} <> '{SPARSE[column]}'"


def _decisions(column: str) -> Index:
    """Decisions by a column, and by when they were made."""
    where = text(DECISION + (f" AND {sparse(column)}" if column in SPARSE else ""))
    columns = (column, "at", "log", "number") if column != "at" else ("at", "log", "number")
    return Index(f"ix_decisions_{column}", *columns, sqlite_where=where, postgresql_where=where)


AUDIT_EVENTS: Final = Table(
    "audit_events",
    METADATA,
    Column("log", String(128), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("type", String(16), nullable=False),
    Column("principal", Text, nullable=False),
    Column("session", Text, nullable=False, index=True),
    Column("credential", Text, nullable=False),
    Column("user", Text, nullable=False, index=True),
    Column("subject", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("risk", String(16), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("code", String(16), nullable=False),
    Column("trace", Text, nullable=False, index=True),
    Column("approval", String(64), nullable=False, server_default=""),
    Index("ix_audit_events_principal", "principal", "at"),
    *map(_decisions, ("at", "principal", "session", "name", *SPARSE)),
)

AUDIT_FINDINGS: Final = Table(
    "audit_findings",
    METADATA,
    Column("log", String(128), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("type", String(256), primary_key=True, index=True),
)

AUDIT_ABOUT: Final = Table(
    "audit_about",
    METADATA,
    Column("log", String(128), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("subject", String(80), primary_key=True),
    Column("at", Double, nullable=False),
    Index("ix_audit_about_subject", "subject", "at", "log", "number"),
)
"""Whom an event is about that somebody else recorded: ``agent:NAME``, ``session:ID``."""

REVIEWS: Final = Table(
    "reviews",
    METADATA,
    Column("log", String(128), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("id", String(64), nullable=False, index=True),
    Column("at", Double, nullable=False),
    Column("agent", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("application", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("risk", String(16), nullable=False),
    Column("rule", Text, nullable=False),
    Column("clear", JSON, nullable=False),
    Column("commitments", JSON, nullable=False),
)
"""Calls to be looked at afterwards, made from the logs as ``audit_events`` is."""

REVIEW_ACTS: Final = Table(
    "review_acts",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("log", String(128), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("entry", String(64), nullable=False, index=True),
    Column("turn", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("verb", String(16), nullable=False),
    Column("disposition", String(16), nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_review_acts_log", "log", "number"),
)
"""What was done about them, made from the logs: the last ``turn`` says what an entry is.

``number`` is -1 from when an act is on record until the log is read as far.
"""

NOTICES: Final = Table(
    "notices",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("channel", String(63), nullable=False),
    Column("gathers", Text, nullable=False),
    Column("opened_at", Double, nullable=False, index=True),
    Column("due", Double, nullable=True),
    Column("state", String(16), nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("rank", Integer, nullable=False, server_default="-1"),
    Index("ix_notices_channel", "channel", "due"),
    Index("ix_notices_gathers", "channel", "gathers", "opened_at"),
)
"""What channels are told: ``document`` is JSON of ``core.notice.Notice``; ``due`` is when the
channel is to be told next, NULL while it knows all. Calls of the same kind come under one notice,
by what it ``gathers``. The lowest ``rank`` is told first."""

NOTICE_SUBJECTS: Final = Table(
    "notice_subjects",
    METADATA,
    Column("channel", String(63), primary_key=True),
    Column("subject", String(80), primary_key=True),
    Column("notice", String(64), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("open", Integer, nullable=False),
    Index("ix_notice_subjects_open", "channel", "open"),
)
"""How far each channel has followed each approval, and under which notice if under any."""

BEHAVIOUR: Final = Table(
    "behaviour",
    METADATA,
    Column("agent", String(63), primary_key=True),
    Column("phase", String(16), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("score", Double, nullable=False),
    Column("scored_at", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("decided_at", Double, nullable=False),
    Column("standing", LargeBinary, nullable=False),
    Column("profile", LargeBinary, nullable=True),
)
"""How agents stand: ``standing`` is JSON of ``core.behaviour.Standing``, ``profile`` what is usual.

Whoever learns writes it all; a human's word is ``phase``, ``turn`` and what is beside. The columns
before ``by`` are what gateways follow.
"""

BEHAVIOUR_POSITIONS: Final = Table(
    "behaviour_positions",
    METADATA,
    Column("log", String(128), primary_key=True),
    Column("next", BigInteger, nullable=False),
    Column("root", String(64), nullable=False),
)
"""How far each log was learned from, when the profiles were kept."""

ALERTS: Final = Table(
    "alerts",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("rule", String(63), nullable=False),
    Column("gathers", String(64), nullable=False),
    Column("level", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("told", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("escalated", Integer, nullable=False, server_default=text("0")),
    Column("quiet_at", Double),
    Index("ix_alerts_gathers", "gathers", "state"),
    Index("ix_alerts_opened_at", "opened_at"),
    Index("ix_alerts_rule", "rule", "opened_at"),
    Index("ix_alerts_state", "state", "id"),
)
"""What was raised: ``document`` is JSON of ``core.alert.Alert``, ``level`` its rank. ``told`` is 0
while it is silenced, 2 when its rule ended it. Alerts of one rule about the same have the same
``gathers``. ``escalated`` is how many steps were taken because nobody took it on; at ``quiet_at``
it is over."""

ALERT_SILENCES: Final = Table(
    "alert_silences",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("until", Double, nullable=False),
    Column("document", LargeBinary, nullable=False),
)
"""Which alerts nobody is told of: JSON of ``core.alert.Silence``."""

ALERT_POSITIONS: Final = Table(
    "alert_positions",
    METADATA,
    Column("log", String(128), primary_key=True),
    Column("next", BigInteger, nullable=False),
    Column("root", String(64), nullable=False),
    Column("taken", BigInteger, nullable=False),
)
"""How far each log was read when the rules' memory was kept (``next``), and how far what it raises
was written down (``taken``, which is ahead)."""

ALERT_MEMORY: Final = Table(
    "alert_memory",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("memory", LargeBinary, nullable=False),
)
"""What the rules remember, in one row: see ``oversight.alerts.engine.Engine.kept``."""

INCIDENTS: Final = Table(
    "incidents",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("subject", String(80), nullable=False),
    Column("agent", String(63), nullable=False),
    Column("phase", String(16), nullable=False),
    Column("unresolved", Integer, nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("probation_until", Double, nullable=False),
    Column("factor", Double, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index(
        "ix_incidents_one",
        "subject",
        unique=True,
        sqlite_where=text("unresolved = 1"),
        postgresql_where=text("unresolved = 1"),
    ),
    Index("ix_incidents_subject", "subject", "id"),
    Index("ix_incidents_probation_until", "probation_until"),
)
"""Incidents: ``document`` is JSON of ``core.incident.Incident``. The agent has ``factor`` of each
limit until ``probation_until``, 0 while it is on none."""
