"""If these fail, a collector cannot read our spans."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Theirs

from portcullis.core.trace import Kind, Parent, Trace
from portcullis.wire.otlp_fields import rejected
from portcullis.wire.otlp_trace import request, spans


def test_the_collectors_own_classes_read_a_trace() -> None:
    times = iter(range(10, 100, 10))
    trace = Trace("a" * 32, "POST /openai", times.__next__, link=Parent("b" * 32, "c" * 16))
    trace.root.attributes = {"text": "ü", "count": 2**40, "flag": True, "less": -1}
    part = trace.begin("chat", Kind.CLIENT)
    part.end("PC5001")
    trace.end()
    read = ExportTraceServiceRequest.FromString(request(spans(trace), "example.org/gate", "1.2"))
    (resource,) = read.resource_spans
    (scope,) = resource.scope_spans
    assert scope.scope.name == "portcullis.gate"
    assert resource.resource.attributes[1].value.string_value == "example.org/gate"
    root, child = scope.spans
    assert (root.name, root.kind, root.trace_id.hex()) == ("POST /openai", 2, "a" * 32)
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (10, 40)
    assert [(one.trace_id.hex(), one.span_id.hex()) for one in root.links] == [("b" * 32, "c" * 16)]
    values = {one.key: one.value for one in root.attributes}
    assert values["text"].string_value == "ü"
    assert (values["count"].int_value, values["less"].int_value) == (2**40, -1)
    assert values["flag"].bool_value is True
    assert root.status.code == 0
    assert (child.parent_span_id, child.kind) == (root.span_id, Theirs.SPAN_KIND_CLIENT)
    assert [(one.key, one.value.string_value) for one in child.attributes] == [
        ("error.type", "PC5001")
    ]
    assert child.status.code == 2
    assert not child.links


def test_how_many_spans_a_collector_leaves_out_is_read() -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 3
    assert rejected(answer.SerializeToString()) == 3
