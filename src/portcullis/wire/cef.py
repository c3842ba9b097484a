r"""Audit events as lines of the Common Event Format, version 0.

    CEF:0|Vendor|Product|Version|Signature|Name|Severity|key=value key=value ...

In the header ``\`` and ``|`` are escaped with a backslash; in the values of the extension ``\``
and ``=`` are, and line ends are written ``\n`` and ``\r``. A header has one line: line ends there
become spaces. Other control characters have no place in a line of a log: each is replaced by
U+FFFD. Severity is OCSF's times two, 0 to 10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from portcullis.core.event import Event
from portcullis.wire.ocsf import PRODUCT, severity_of, summary

_CONTROL: Final = re.compile("[\\x00-\\x09\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u2028\\u2029]")
_SPECIAL: Final = re.compile("[\\x00-\\x1f=|\\\\\\x7f-\\x9f\\u2028\\u2029]")
"""Everything that is written otherwise somewhere; most texts have none of it."""
_LINE_END: Final = re.compile("[\\r\\n]")
_HEADER: Final = str.maketrans({"\\": "\\\\", "|": "\\|"})
_EXTENSION: Final = str.maketrans({"\\": "\\\\", "=": "\\=", "\n": "\\n", "\r": "\\r"})


def cef(index: int, event: Event, product_version: str) -> str:
    """The line of entry ``index``, without a line end."""
    signature = event.code or event.type.value
    name = " ".join(filter(None, (event.type.value, event.verdict)))
    head = (PRODUCT, PRODUCT, product_version, signature, name, str(2 * severity_of(event)))
    extension = " ".join(f"{key}={_value(value)}" for key, value in _pairs(index, event) if value)
    return f"CEF:0|{'|'.join(map(_field, head))}|{extension}"


def _field(text: str) -> str:
    if not _SPECIAL.search(text):
        return text
    return _CONTROL.sub("\ufffd", _LINE_END.sub(" ", text)).translate(_HEADER)


def _value(text: str) -> str:
    if not _SPECIAL.search(text):
        return text
    return _CONTROL.sub("\ufffd", text).translate(_EXTENSION)


def _pairs(index: int, event: Event) -> Iterable[tuple[str, str]]:
    result = event.result
    source, where = _source(event.source)
    yield from (
        ("rt", str(int(event.time.timestamp() * 1000))),
        ("externalId", event.id),
        ("cat", event.type.value),
        ("act", event.verdict),
        ("outcome", "failure" if event.verdict in {"deny", "error"} else "success"),
        ("reason", event.reason),
        ("msg", summary(event)),
        ("dvchost", event.gateway),
        ("suser", event.principal),
        ("spriv", event.principal_kind),
        (source, where),
        ("app", event.route),
        ("requestMethod", event.method),
        ("destinationServiceName", event.server),
        ("deviceFacility", event.check),
        ("dproc", event.name),
        ("in", str(event.request_bytes or "")),
        ("out", str(result.bytes) if result else ""),
    )
    labelled = (
        ("cn1", "logIndex", str(index)),
        ("cn2", "inputTokens", _number(event.input_tokens)),
        ("cn3", "outputTokens", _number(event.output_tokens)),
        ("cs1", "session", event.session),
        ("cs2", "risk", event.risk),
        ("cs3", "policy", event.policy),
        ("cs4", "trace", event.trace_id),
        ("cs5", "findings", ",".join(event.finding_types())),
        ("cs6", "rule", event.rule),
        ("flexString1", "credential", event.credential),
        ("flexString2", "decision", event.decision),
    )
    for key, label, value in labelled:
        if value:
            yield f"{key}Label", label
            yield key, value


def _source(source: str) -> tuple[str, str]:
    """``src`` is for addresses (IPv4 in the standard dictionary); words and others are names."""
    address, _, port = source.rpartition(":")
    plain = address if port.isdigit() and address.count(".") == 3 else source  # noqa: PLR2004 - IPv4
    numbers = plain.split(".")
    ipv4 = len(numbers) == 4 and all(part.isdigit() for part in numbers)  # noqa: PLR2004 - IPv4
    return ("src", plain) if ipv4 else ("shost", source)


def _number(count: int | None) -> str:
    return "" if count is None else str(count)
