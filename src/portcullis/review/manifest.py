"""A package's manifest: the digest of each of its files, in a note that the evidence key signed.

    portcullis.evidence/v1
    origin example.org/gate
    framework soc2
    size 1234
    made 2030-01-31T12:00:00+00:00
    log-key <vkey>
    file <sha256, hex> <path>
    ...

Every line but the files' stands once and in this order; the files are sorted by path.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import msgspec

from portcullis.audit.note import Signer, Verifier
from portcullis.core.errors import Problem

MANIFEST: Final = "manifest"
_HEADER: Final = "portcullis.evidence/v1"
_FIELDS: Final = ("origin", "framework", "size", "made", "log-key")
_FILE: Final = re.compile(r"([0-9a-f]{64}) ((?:proofs/)?[a-z0-9][a-z0-9.-]{0,63})")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a package is and what is in it: ``files`` maps each path to its SHA-256 in hex."""

    origin: str
    framework: str
    size: int
    made: datetime
    log_key: str
    files: dict[str, str]

    def sign(self, signer: Signer) -> bytes:
        """The manifest as a signed note."""
        made = self.made.isoformat(timespec="seconds")
        values = (self.origin, self.framework, str(self.size), made, self.log_key)
        lines = [_HEADER, *(f"{name} {value}" for name, value in zip(_FIELDS, values, strict=True))]
        lines += [f"file {digest} {path}" for path, digest in sorted(self.files.items())]
        return signer.sign("\n".join(lines) + "\n")


def open_manifest(note: bytes, verifier: Verifier) -> Manifest:
    """Verify and parse; Problem PC6005."""
    lines = verifier.open(note).split("\n")
    if lines[0] != _HEADER or lines[-1] or len(lines) < len(_FIELDS) + 2:
        raise Problem("PC6005", "not the manifest of an evidence package")
    found = [_value(line, name) for line, name in zip(lines[1:], _FIELDS, strict=False)]
    origin, framework, size, made, log_key = found
    files: dict[str, str] = {}
    for line in lines[len(_FIELDS) + 1 : -1]:
        match = _FILE.fullmatch(_value(line, "file"))
        if match is None or match[2] in files or match[2] == MANIFEST:
            raise Problem("PC6005", "the manifest has a malformed file line")
        files[match[2]] = match[1]
    if not (size.isascii() and size.isdigit()) or len(size) > 19:  # noqa: PLR2004 - 64 bits
        raise Problem("PC6005", "the manifest's size is not a decimal number")
    try:
        moment = datetime.fromisoformat(made)
    except ValueError:
        raise Problem("PC6005", "the manifest's time is not ISO 8601") from None
    return Manifest(
        origin=origin,
        framework=framework,
        size=int(size),
        made=moment,
        log_key=log_key,
        files=files,
    )


def _value(line: str, name: str) -> str:
    key, _, value = line.partition(" ")
    if key != name or not value:
        raise Problem("PC6005", f"the manifest has no {name} line where it belongs")
    return value
