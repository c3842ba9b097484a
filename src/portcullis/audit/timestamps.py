"""Timestamps of others over the log's checkpoints (RFC 3161).

``timestamps/SIZE-NAME.tsr`` in the log's directory is the response of the authority called NAME
over the SHA-256 of ``timestamps/SIZE-NAME.checkpoint``, a copy of the checkpoint as it was. SIZE
has 19 digits, so that the names are in order. Whoever trusts the authority knows that the first
SIZE entries existed then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography.x509 import Certificate, load_pem_x509_certificates
from cryptography.x509.oid import ObjectIdentifier
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from portcullis.audit.checkpoint import open_checkpoint
from portcullis.audit.files import read, replace, sync_directory
from portcullis.audit.note import MAX_NOTE, Verifier
from portcullis.audit.web import Web
from portcullis.core.errors import Problem

FOLDER: Final = "timestamps"
MAX_RESPONSE: Final = 1 << 16
MAX_FILE: Final = max(MAX_NOTE, MAX_RESPONSE)
_MAX_CERTIFICATES: Final = 1 << 20
_SHA256: Final = ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_NAME: Final = re.compile(r"([0-9]{19})-([a-z0-9][a-z0-9_-]{0,62})\.(tsr|checkpoint)")
_OK: Final = 200


class Timestamp(msgspec.Struct, frozen=True, kw_only=True):
    """What a stored token says: the log's first ``size`` entries existed before ``time``.

    ``reason`` is empty, or why it says nothing; then ``time`` may be empty.
    """

    size: int
    authority: str
    time: str = ""
    reason: str = ""


def is_timestamp(path: str) -> bool:
    """Whether a path below a log's directory is one of those of timestamps."""
    folder, _, name = path.partition("/")
    return folder == FOLDER and _NAME.fullmatch(name) is not None


def load_roots(path: Path) -> tuple[Certificate, ...]:
    """The certificates (PEM) in a file. Raises Problem PC7001 when there are none."""
    try:
        found = tuple(load_pem_x509_certificates(read(path, _MAX_CERTIFICATES)))
    except OSError as error:
        raise Problem("PC7001", f"{path}: {error.strerror}") from None
    except ValueError:
        raise Problem("PC7001", f"{path}: no certificates (PEM)") from None
    return found


def ask(url: str, note: bytes, roots: Sequence[Certificate], web: Web) -> bytes:
    """Ask an authority for a token over ``note`` and return its response, verified.

    Raises Problem PC6022 when there is no answer, or one that does not verify.
    """
    builder = TimestampRequestBuilder().data(note).hash_algorithm(HashAlgorithm.SHA256)
    request = builder.nonce(nonce=True).cert_request(cert_request=True).build()
    headers = {"content-type": "application/timestamp-query"}
    answer = web.ask("POST", url, headers=headers, body=request.as_bytes(), limit=MAX_RESPONSE)
    if answer.status != _OK:
        raise Problem("PC6022", f"the authority answered {answer.status}")
    verify_response(answer.body, note, roots, nonce=request.nonce)
    return answer.body


def verify_response(
    response: bytes, note: bytes, roots: Sequence[Certificate], *, nonce: int | None = None
) -> datetime:
    """The time in a response over ``note`` that ``roots`` vouch for, or Problem PC6022."""
    decoded = _decoded(response)
    try:
        token = decoded.tst_info
        if token.message_imprint.hash_algorithm != _SHA256:
            raise Problem("PC6022", "the token is not over a SHA-256")
        VerifierBuilder(roots=list(roots), nonce=nonce).build().verify_message(decoded, note)
    except (VerificationError, ValueError) as error:
        raise Problem("PC6022", f"the token does not verify: {error}") from None
    return token.gen_time


def _decoded(response: bytes) -> TimeStampResponse:
    try:
        return decode_timestamp_response(response)
    except ValueError:
        raise Problem("PC6022", "not a response of RFC 3161") from None


def keep(directory: Path, size: int, authority: str, note: bytes, response: bytes) -> None:
    """Put a response and what it is over into a log's directory, durably."""
    folder = directory / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    name = f"{size:019d}-{authority}"
    replace(folder / f"{name}.checkpoint", note)
    replace(folder / f"{name}.tsr", response)
    sync_directory(folder)


def newest(directory: Path, authority: str) -> tuple[int, datetime] | None:
    """Size and time of an authority's last token in a log's directory. It is not verified."""
    kept = [path for size, name, path in _kept(directory) if name == authority]
    if not kept:
        return None
    try:
        time = _decoded(read(kept[-1], MAX_RESPONSE)).tst_info.gen_time
    except (OSError, ValueError, Problem):
        return None
    return int(kept[-1].name[:19]), time


def check_timestamps(
    directory: Path,
    verifier: Verifier,
    roots: Sequence[Certificate],
    root_at: Callable[[int], bytes],
) -> list[Timestamp]:
    """Verify every stored token and that what it is over belongs to the log.

    ``root_at`` returns the root of the log's first so many entries, or raises Problem PC6005 when
    it has fewer: then entries that once existed are gone.
    """
    return [
        _checked(path, size, name, verifier, roots, root_at)
        for size, name, path in _kept(directory)
    ]


def _checked(
    path: Path,
    size: int,
    name: str,
    verifier: Verifier,
    roots: Sequence[Certificate],
    root_at: Callable[[int], bytes],
) -> Timestamp:
    time = ""
    try:
        note = read(path.with_suffix(".checkpoint"), MAX_NOTE)
        time = verify_response(read(path, MAX_RESPONSE), note, roots).isoformat()
        signed = open_checkpoint(note, verifier)
        if signed.size != size:
            raise Problem("PC6005", f"its checkpoint is over {signed.size} entries")
        if root_at(size) != signed.root:
            raise Problem("PC6005", f"the first {size} entries are not those that it is over")
    except OSError as error:
        return Timestamp(size=size, authority=name, time=time, reason=error.strerror or "")
    except Problem as problem:
        return Timestamp(size=size, authority=name, time=time, reason=problem.detail)
    return Timestamp(size=size, authority=name, time=time)


def _kept(directory: Path) -> Iterator[tuple[int, str, Path]]:
    """Size, authority and file of each stored response, in the order of their sizes."""
    folder = directory / FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        found = _NAME.fullmatch(path.name)
        if found and found[3] == "tsr":
            yield int(found[1]), found[2], path
