"""DNS messages, as they come over HTTPS (RFC 1035, RFC 8484): one question, and our answer to it.

Only addresses are answered. Of a name that may be asked about, every other type has no data, the
one that would bring keys for Encrypted Client Hello included (RFC 9460).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import msgspec

from portcullis.core.errors import Problem

MAX_MESSAGE: Final = 4096
TTL: Final = 30
"""Seconds for which an answer may be kept: no longer than a change of policy should take."""
_TYPES: Final = {4: dns.rdatatype.A, 6: dns.rdatatype.AAAA}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """``name`` as it was asked, without a final dot; ``kind`` is the type (``A``, ``TXT``)."""

    name: str
    kind: str
    message: dns.message.Message


def question(data: bytes) -> Question:
    """The one question in a message. Raises Problem PC5060 for anything else."""
    try:
        message = dns.message.from_wire(data, ignore_trailing=False)
    except (dns.exception.DNSException, ValueError):
        raise Problem("PC5060", "the body is no DNS message") from None
    asks = message.opcode() == dns.opcode.QUERY and not message.flags & dns.flags.QR
    if not asks or len(message.question) != 1 or message.answer or message.authority:
        raise Problem("PC5060", "the message is not one question")
    one = message.question[0]
    if one.rdclass != dns.rdataclass.IN:
        raise Problem("PC5060", "the question is not of the class IN")
    name = one.name.to_text(omit_final_dot=True)
    return Question(name=name, kind=dns.rdatatype.to_text(one.rdtype), message=message)


def answered(asked: Question, addresses: Iterable[str]) -> bytes:
    """The answer: those of the addresses that are of the type that was asked for."""
    reply = _reply(asked)
    one = asked.message.question[0]
    found = [a for a in addresses if _TYPES[ip_address(a).version] == one.rdtype]
    if found:
        reply.answer.append(dns.rrset.from_text_list(one.name, TTL, "IN", one.rdtype, found))
    return reply.to_wire()


def refused(asked: Question, *, failed: bool = False) -> bytes:
    """There is no such name (NXDOMAIN), for all that may be known here; or SERVFAIL."""
    reply = _reply(asked)
    reply.set_rcode(dns.rcode.SERVFAIL if failed else dns.rcode.NXDOMAIN)
    return reply.to_wire()


def _reply(asked: Question) -> dns.message.Message:
    return dns.message.make_response(asked.message, recursion_available=True)
