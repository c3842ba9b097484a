"""Audit events as OpenTelemetry log records, in OTLP's protobuf encoding (OTLP 1.x, logs/v1).

The body of a record is the leaf itself, byte for byte, so that a receiver can check it against
the log. Attributes repeat what one searches by: ours as ``portcullis.*``, and those of the
GenAI and MCP semantic conventions, which are still in development: hence constants of our own.
Content (prompts, answers, arguments) is not there, as it is not in the leaf.

The few messages are written field by field: that takes a sixth of the time that objects of the
generated classes do, and the gate's own thread waits for it. The tests read them with those.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from portcullis.core.call import Action
from portcullis.core.event import Event
from portcullis.core.principal import PrincipalKind
from portcullis.wire.ocsf import severity_of

CONTENT_TYPE: Final = "application/x-protobuf"
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

_VARINT, _LEN, _FIXED64 = 0, 2, 1
"""Wire types (protobuf.dev/programming-guides/encoding)."""


def log_record(index: int, event: Event, entry: bytes) -> bytes:
    """The LogRecord of one leaf, serialised; ``entry`` is the leaf, in UTF-8."""
    at = int(event.time.timestamp() * 1_000_000) * 1000
    number, text = _SEVERITIES[severity_of(event)]
    entry.decode()  # what is no text has no place in a string: ValueError
    parts = [
        b"\x09" + at.to_bytes(8, "little"),  # time_unix_nano = 1, fixed64
        b"\x10" + _varint(number),  # severity_number = 2
        _field(3, text.encode()),  # severity_text
        _field(5, _field(1, entry)),  # body, a string_value
    ]
    parts.extend(_field(6, attribute) for attribute in _attributes(index, event))
    if _TRACE.fullmatch(event.trace_id) and event.trace_id.strip("0"):
        parts.append(_field(9, bytes.fromhex(event.trace_id)))
    parts.append(b"\x59" + at.to_bytes(8, "little"))  # observed_time_unix_nano = 11, fixed64
    parts.append(_field(12, f"portcullis.{event.type.value}".encode()))  # event_name
    return b"".join(parts)


def request(records: Sequence[bytes], gateway: str, product_version: str) -> bytes:
    """An ExportLogsServiceRequest over serialised records of one log."""
    resource = (
        ("service.name", "portcullis"),
        ("service.instance.id", gateway),
        ("service.version", product_version),
    )
    scope = _field(1, SCOPE.encode()) + _field(2, product_version.encode())
    scope_logs = _field(1, scope) + b"".join([_field(2, record) for record in records])
    attributes = b"".join(_field(1, _text(*pair)) for pair in resource)
    return _field(1, _field(1, attributes) + _field(2, scope_logs))


def rejected(response: bytes) -> int:
    """How many records an ExportLogsServiceResponse rejects; ValueError if it is none."""
    for number, partial in _fields(response):
        if number == 1 and isinstance(partial, bytes):  # partial_success
            for inner, count in _fields(partial):
                if inner == 1 and isinstance(count, int):  # rejected_log_records
                    return count
    return 0


def _attributes(index: int, event: Event) -> Iterable[bytes]:
    yield _text("portcullis.event.id", event.id)
    yield _count("portcullis.log.index", index)
    for name in _OURS:
        if value := getattr(event, name):
            yield _text(f"portcullis.{name}", value)
    if types := event.finding_types():
        values = b"".join(_field(1, _field(1, one.encode())) for one in types)
        yield _pair("portcullis.findings", _field(5, values))  # array_value
    for key, value in _conventional(event):
        if value:
            yield _text(key, value)
    for key, count in ((GEN_AI_INPUT, event.input_tokens), (GEN_AI_OUTPUT, event.output_tokens)):
        if count is not None:
            yield _count(key, count)


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


def _text(key: str, value: str) -> bytes:
    """A KeyValue with a string_value."""
    return _pair(key, _field(1, value.encode()))


def _count(key: str, value: int) -> bytes:
    """A KeyValue with an int_value; negative numbers take ten bytes."""
    return _pair(key, b"\x18" + _varint(value % 2**64))


def _pair(key: str, value: bytes) -> bytes:
    return _key(key) + _field(2, value)


@cache
def _key(key: str) -> bytes:
    """The key of a KeyValue; there are some forty."""
    return _field(1, key.encode())


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes; numbers up to 15 have a tag of one byte."""
    size = len(data)
    length = bytes((size,)) if size < 128 else _varint(size)  # noqa: PLR2004 - one byte
    return bytes((number << 3 | _LEN,)) + length + data


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 128:  # noqa: PLR2004 - seven bits a byte
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def _fields(data: bytes) -> Iterable[tuple[int, int | bytes]]:
    """The fields of a message that are numbers or bytes; ValueError for what is no message."""
    position = 0
    while position < len(data):
        tag, position = _read(data, position)
        kind = tag & 7
        if kind == _VARINT:
            value, position = _read(data, position)
            yield tag >> 3, value
            continue
        size, position = _read(data, position) if kind == _LEN else (_SIZES.get(kind, -1), position)
        if size < 0 or position + size > len(data):
            raise ValueError("not a message of OTLP's")
        if kind == _LEN:
            yield tag >> 3, data[position : position + size]
        position += size


_SIZES: Final = {_FIXED64: 8, 5: 4}


def _read(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 - the last byte
            return value, position
    raise ValueError("not a message of OTLP's")
