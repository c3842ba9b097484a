"""If these fail, a collector cannot read our logs, or reads something else than the leaf."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from exported import TRACE, entry, event, kinds
from portcullis.wire.otlp import log_record, request
from portcullis.wire.otlp_fields import rejected


def sent(*events) -> ExportLogsServiceRequest:
    records = [log_record(number, one, entry(one)) for number, one in enumerate(events)]
    return ExportLogsServiceRequest.FromString(request(records, "example.org/gate", "1.2"))


def values(attributes) -> dict:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def test_the_collectors_own_classes_read_every_kind_of_event() -> None:
    (resource,) = sent(*kinds()).resource_logs
    assert values(resource.resource.attributes) == {
        "service.name": "portcullis",
        "service.instance.id": "example.org/gate",
        "service.version": "1.2",
    }
    (scope,) = resource.scope_logs
    assert scope.scope.name == "portcullis.audit"
    for number, (one, record) in enumerate(zip(kinds(), scope.log_records, strict=True)):
        assert record.body.string_value.encode() == entry(one)
        assert record.time_unix_nano == int(one.time.timestamp() * 1e6) * 1000
        assert record.event_name == f"portcullis.{one.type}"
        assert values(record.attributes)["portcullis.log.index"] == number
        keys = [attribute.key for attribute in record.attributes]
        assert len(keys) == len(set(keys))


def test_a_record_joins_the_trace_it_belongs_to() -> None:
    records = sent(event(0), event(1, trace_id=""), event(2, trace_id="0" * 32))
    found = [r.trace_id for r in records.resource_logs[0].scope_logs[0].log_records]
    assert found == [bytes.fromhex(TRACE), b"", b""]


def test_severity_and_the_names_of_the_conventions_are_there() -> None:
    call, denied = sent(kinds()[6], kinds()[2]).resource_logs[0].scope_logs[0].log_records
    found = values(call.attributes)
    assert found["gen_ai.request.model"] == "gpt-x"
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (10, 20)
    assert (denied.severity_number, denied.severity_text) == (13, "WARN")
    assert values(denied.attributes)["error.type"] == "PC3001"


def test_what_a_collector_leaves_out_is_noticed() -> None:
    answer = ExportLogsServiceResponse()
    assert rejected(answer.SerializeToString()) == 0
    answer.partial_success.rejected_log_records = 3
    assert rejected(answer.SerializeToString()) == 3
    with pytest.raises(ValueError, match="not a message"):
        rejected(b"<html>")
