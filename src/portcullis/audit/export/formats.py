"""The shapes in which an event leaves: each encodes one event, and joins many into one body."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.wire import opa_log, otlp, otlp_fields, syslog
from portcullis.wire.cef import cef
from portcullis.wire.ocsf import ocsf

FormatName: TypeAlias = Literal["json", "ocsf", "cef", "otlp", "syslog", "opa"]
_encode = msgspec.json.Encoder().encode


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """``encode`` gets an entry's number, its event and the entry; ``join`` what that made.

    ``encode`` raises Problem PC6031 for an event that has no form here.
    """

    content_type: str
    encode: Callable[[int, Event, bytes], bytes]
    join: Callable[[Sequence[bytes]], bytes]


def format_of(name: FormatName, version: str, gateway: str = "") -> Format:
    """A format by its name; ``version`` is ours, ``gateway`` the name of the log."""
    match name:
        case "json":
            return _lines(json_line, "application/x-ndjson")
        case "ocsf":
            return _lines(
                lambda index, event, _: _encode(ocsf(index, event, version)),
                "application/x-ndjson",
            )
        case "cef":
            return _lines(lambda index, event, _: cef(index, event, version).encode(), "text/plain")
        case "otlp":
            return Format(
                content_type=otlp_fields.CONTENT_TYPE,
                encode=otlp.log_record,
                join=lambda records: otlp.request(records, gateway, version),
            )
        case "opa":
            return Format(
                content_type=opa_log.CONTENT_TYPE,
                encode=lambda _, event, __: _decision(event, version),
                join=opa_log.joined,
            )
        case "syslog":
            host = socket.gethostname()
            return Format(
                content_type="application/octet-stream",
                encode=lambda index, event, _: syslog.message(
                    event, cef(index, event, version), host
                ),
                join=lambda messages: syslog.framed(list(messages)),
            )


def _decision(event: Event, version: str) -> bytes:
    if event.type not in opa_log.TYPES:
        raise Problem("PC6031", "the event is no decision")
    return _encode(opa_log.decision(event, version))


def json_line(index: int, event: Event, entry: bytes) -> bytes:
    """The entry as it is, with its number. Problem PC6031 when it is more than one line."""
    del event
    if b"\n" in entry:
        raise Problem("PC6031", "the entry is not one line")
    return b'{"index":%d,"event":%s}' % (index, entry)


def _lines(encode: Callable[[int, Event, bytes], bytes], content_type: str) -> Format:
    return Format(
        content_type=content_type,
        encode=encode,
        join=lambda lines: b"".join([line + b"\n" for line in lines]),
    )
