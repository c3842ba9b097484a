"""Audit events as OpenTelemetry log records, in OTLP's protobuf encoding (OTLP 1.x, logs/v1).

The body of a record is the leaf itself, byte for byte, so that a receiver can check it against
the log. Attributes repeat what one searches by: ours as ``portcullis.*``, and those of the
GenAI and MCP semantic conventions, which are still in development: hence constants of our own.
Content (prompts, answers, arguments) is not there, as it is not in the leaf.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from portcullis.core.call import Action
from portcullis.core.event import Event
from portcullis.core.principal import PrincipalKind
from portcullis.wire.ocsf import severity_of
from portcullis.wire.otlp_fields import count, field, pair, resource, text, varint

SCOPE: Final = "portcullis.audit"

GEN_AI_AGENT: Final = "gen_ai.agent.id"
GEN_AI_CONVERSATION: Final = "gen_ai.conversation.id"
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER: Final = "gen_ai.provider.name"
GEN_AI_MODEL: Final = "gen_ai.request.model"
GEN_AI_TOOL: Final = "gen_ai.tool.name"
GEN_AI_INPUT: Final = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT: Final = "gen_ai.usage.output_tokens"
MCP_METHOD: Final = "mcp.method.name"
ERROR_TYPE: Final = "error.type"

_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_SEVERITIES: Final = (
    (0, ""), (9, "INFO"), (10, "INFO2"), (13, "WARN"), (17, "ERROR"), (21, "FATAL")
)  # fmt: skip
"""By OCSF's severity: number and text of the data model of OpenTelemetry's logs."""

_OURS: Final = (
    "principal_kind", "principal", "credential", "session", "application", "source", "route",
    "action", "method", "server", "name", "risk", "verdict", "check", "code", "rule", "policy",
    "decision", "proposed_by", "looked_up_for", "approval",
)  # fmt: skip


def log_record(index: int, event: Event, entry: bytes) -> bytes:
    """The LogRecord of one leaf, serialised; ``entry`` is the leaf, in UTF-8."""
    at = int(event.time.timestamp() * 1_000_000) * 1000
    number, severity = _SEVERITIES[severity_of(event)]
    entry.decode()  # what is no text has no place in a string: ValueError
    parts = [
        b"\x09" + at.to_bytes(8, "little"),  # time_unix_nano = 1, fixed64
        b"\x10" + varint(number),  # severity_number = 2
        field(3, severity.encode()),  # severity_text
        field(5, field(1, entry)),  # body, a string_value
    ]
    parts.extend(field(6, attribute) for attribute in _attributes(index, event))
    if _TRACE.fullmatch(event.trace_id) and event.trace_id.strip("0"):
        parts.append(field(9, bytes.fromhex(event.trace_id)))
    parts.append(b"\x59" + at.to_bytes(8, "little"))  # observed_time_unix_nano = 11, fixed64
    parts.append(field(12, f"portcullis.{event.type.value}".encode()))  # event_name
    return b"".join(parts)


def request(records: Sequence[bytes], gateway: str, product_version: str) -> bytes:
    """An ExportLogsServiceRequest over serialised records of one log."""
    scope = field(1, SCOPE.encode()) + field(2, product_version.encode())
    scope_logs = field(1, scope) + b"".join([field(2, record) for record in records])
    return field(1, field(1, resource(gateway, product_version)) + field(2, scope_logs))


def _attributes(index: int, event: Event) -> Iterable[bytes]:
    yield text("portcullis.event.id", event.id)
    yield count("portcullis.log.index", index)
    for name in _OURS:
        if value := getattr(event, name):
            yield text(f"portcullis.{name}", value)
    if types := event.finding_types():
        values = b"".join(field(1, field(1, one.encode())) for one in types)
        yield pair("portcullis.findings", field(5, values))  # array_value
    for key, value in _conventional(event):
        if value:
            yield text(key, value)
    for key, tokens in ((GEN_AI_INPUT, event.input_tokens), (GEN_AI_OUTPUT, event.output_tokens)):
        if tokens is not None:
            yield count(key, tokens)


def _conventional(event: Event) -> tuple[tuple[str, str], ...]:
    """What the semantic conventions have names for."""
    tool, model = event.action == Action.TOOL, event.action == Action.MODEL
    return (
        (ERROR_TYPE, event.code),
        (GEN_AI_AGENT, event.principal if event.principal_kind == PrincipalKind.AGENT else ""),
        (GEN_AI_CONVERSATION, event.session),
        (GEN_AI_OPERATION, "execute_tool" if tool else ""),
        (GEN_AI_TOOL, event.name if tool else ""),
        (GEN_AI_PROVIDER, event.server if model else ""),
        (GEN_AI_MODEL, event.name if model else ""),
        (MCP_METHOD, event.method if event.route.startswith("mcp") else ""),
    )
