"""Syslog messages: the header of RFC 5424, the octet counting of RFC 5425 section 4.3."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from portcullis.core.event import Event
from portcullis.wire.ocsf import severity_of

_FACILITY: Final = 13
"""Log audit (RFC 5424, table 1)."""
_SEVERITIES: Final = (5, 6, 5, 4, 3, 2)
"""By OCSF's severity: informational is 6, critical 2."""
_UNPRINTABLE: Final = re.compile(r"[^\x21-\x7e]")
_HOST: Final = 255


def message(event: Event, text: str, host: str) -> bytes:
    """One message about an event: ``<PRI>1 TIMESTAMP HOST portcullis - TYPE - text``."""
    return line(_SEVERITIES[severity_of(event)], event.time, host, event.type.value, text)


def line(severity: int, at: datetime, host: str, kind: str, text: str) -> bytes:
    """One message: ``<PRI>1 TIMESTAMP HOST portcullis - KIND - text``.

    ``severity`` is RFC 5424's, ``kind`` one word of at most 32 printable ASCII characters, ``at``
    in UTC. ``text`` holds no control character.
    """
    priority = _FACILITY * 8 + severity
    named = _UNPRINTABLE.sub("", host)[:_HOST] or "-"
    time = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"<{priority}>1 {time} {named} portcullis - {kind} - {text}".encode()


def framed(messages: list[bytes]) -> bytes:
    """Messages one after the other, each after its length in octets and a space."""
    return b"".join(b"%d %s" % (len(one), one) for one in messages)
