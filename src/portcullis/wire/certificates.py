"""Certificates and keys between DER, PEM and Python's ssl module, which reads files only."""

from __future__ import annotations

import base64
import os
import ssl
import sys
from collections.abc import Iterable, Sequence
from typing import Any, cast


def pem(certificates: Iterable[bytes]) -> str:
    """DER certificates as one PEM text."""
    return "".join(map(ssl.DER_cert_to_PEM_cert, certificates))


def der(text: str) -> tuple[bytes, ...]:
    """The certificates of a PEM text, in order. ValueError for anything that is not one."""
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    parts = text.split(begin)[1:]
    return tuple(
        base64.b64decode(part.partition(end)[0].replace("\n", ""), validate=True) for part in parts
    )


def load_identity(context: ssl.SSLContext, chain: Sequence[bytes], key_pem: bytes) -> None:
    """Give a TLS context its certificate chain (DER, leaf first) and key (PEM, PKCS #8).

    They pass through an anonymous file in memory: the key never lies on a disk.
    """
    handle = os.memfd_create("portcullis-identity", os.MFD_CLOEXEC)
    with os.fdopen(handle, "wb") as file:
        file.write(pem(chain).encode("ascii") + key_pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{handle}")


def verified_chain(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """The peer's chain as OpenSSL verified it: DER, leaf to authority; empty if none was shown."""
    if sys.version_info >= (3, 13):
        return tuple(tls.get_verified_chain())
    found = cast("Any", tls)._sslobj.get_verified_chain() or ()  # noqa: SLF001 - public from 3.13
    return tuple(ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in found)
