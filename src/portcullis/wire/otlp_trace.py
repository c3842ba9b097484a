"""Spans in OTLP's protobuf encoding (OTLP 1.x, trace/v1).

A sampled request is a trace of its own: its first span has no parent, and links to the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from portcullis.core.trace import Span, Trace
from portcullis.wire.otlp import ERROR_TYPE
from portcullis.wire.otlp_fields import attributes, field, resource

SCOPE: Final = "portcullis.gate"
_ERROR: Final = field(15, b"\x18\x02")  # status, code = STATUS_CODE_ERROR


def spans(trace: Trace) -> Iterable[bytes]:
    """The Spans of a trace that is over, each serialised."""
    trace_id = bytes.fromhex(trace.id)
    for span in trace.spans:
        yield _span(span, trace_id, "" if span is trace.root else trace.root.id, trace)


def request(found: Iterable[bytes], gateway: str, product_version: str) -> bytes:
    """An ExportTraceServiceRequest over serialised spans of one gateway."""
    scope = field(1, SCOPE.encode()) + field(2, product_version.encode())
    scope_spans = field(1, scope) + b"".join([field(2, span) for span in found])
    return field(1, field(1, resource(gateway, product_version)) + field(2, scope_spans))


def _span(span: Span, trace_id: bytes, parent: str, trace: Trace) -> bytes:
    parts = [
        field(1, trace_id),
        field(2, bytes.fromhex(span.id)),
        field(5, span.name.encode()),
        b"\x30" + bytes((span.kind,)),  # kind = 6
        b"\x39" + span.began.to_bytes(8, "little"),  # start_time_unix_nano = 7, fixed64
        b"\x41" + span.ended.to_bytes(8, "little"),  # end_time_unix_nano = 8, fixed64
        *attributes(9, span.attributes),
    ]
    if parent:
        parts.append(field(4, bytes.fromhex(parent)))
    elif trace.link is not None:
        link = field(1, bytes.fromhex(trace.link.trace)) + field(2, bytes.fromhex(trace.link.span))
        parts.append(field(13, link))
    if span.code:
        parts += [*attributes(9, {ERROR_TYPE: span.code}), _ERROR]
    return b"".join(parts)
