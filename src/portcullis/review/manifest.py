"""A package's manifest: the digest of each of its files, in a note that the evidence key signed.

    portcullis.evidence/v2
    origin example.org/control
    framework soc2
    made 2030-01-31T12:00:00+00:00
    log <entries> <vkey>
    ...
    file <sha256, hex> <path>
    ...

The first four lines stand once and in this order. Then come the logs that were evaluated, each with
its key, whose name is the log's origin, sorted by that; then the files, sorted by path. ``origin``
is the log of who rules, in whose name the key of evidence signs.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import msgspec

from portcullis.audit.note import Signer, Verifier
from portcullis.core.errors import Problem

MANIFEST: Final = "manifest"
_HEADER: Final = "portcullis.evidence/v2"
_FIELDS: Final = ("origin", "framework", "made")
_LOG: Final = re.compile(r"([0-9]{1,19}) (\S+)")
_FILE: Final = re.compile(r"([0-9a-f]{64}) ((?:(?:proofs|checkpoints)/)?[a-z0-9][a-z0-9._-]{0,99})")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a package is and what is in it.

    ``logs`` maps each log's verifier key to how many of its entries were evaluated, ``files`` each
    path to its SHA-256 in hex.
    """

    origin: str
    framework: str
    made: datetime
    logs: dict[str, int]
    files: dict[str, str]

    @property
    def size(self) -> int:
        """How many entries of all logs were evaluated."""
        return sum(self.logs.values())

    def sign(self, signer: Signer) -> bytes:
        """The manifest as a signed note."""
        made = self.made.isoformat(timespec="seconds")
        values = (self.origin, self.framework, made)
        lines = [_HEADER, *(f"{name} {value}" for name, value in zip(_FIELDS, values, strict=True))]
        lines += [f"log {size} {key}" for key, size in sorted(self.logs.items())]
        lines += [f"file {digest} {path}" for path, digest in sorted(self.files.items())]
        return signer.sign("\n".join(lines) + "\n")


def open_manifest(note: bytes, verifier: Verifier) -> Manifest:
    """Verify and parse; Problem PC6005."""
    lines = verifier.open(note).split("\n")
    if lines[0] != _HEADER or lines[-1] or len(lines) < len(_FIELDS) + 2:
        raise Problem("PC6005", "not the manifest of an evidence package")
    found = [_value(line, name) for line, name in zip(lines[1:], _FIELDS, strict=False)]
    origin, framework, made = found
    logs: dict[str, int] = {}
    files: dict[str, str] = {}
    for line in lines[len(_FIELDS) + 1 : -1]:
        if not files and line.startswith("log "):
            _add_log(logs, line)
            continue
        match = _FILE.fullmatch(_value(line, "file"))
        if match is None or match[2] in files or match[2] == MANIFEST:
            raise Problem("PC6005", "the manifest has a malformed file line")
        files[match[2]] = match[1]
    try:
        moment = datetime.fromisoformat(made)
    except ValueError:
        raise Problem("PC6005", "the manifest's time is not ISO 8601") from None
    return Manifest(
        origin=origin,
        framework=framework,
        made=moment,
        logs=logs,
        files=files,
    )


def _add_log(logs: dict[str, int], line: str) -> None:
    match = _LOG.fullmatch(_value(line, "log"))
    if match is None or match[2] in logs:
        raise Problem("PC6005", "the manifest has a malformed log line")
    logs[match[2]] = int(match[1])


def _value(line: str, name: str) -> str:
    key, _, value = line.partition(" ")
    if key != name or not value:
        raise Problem("PC6005", f"the manifest has no {name} line where it belongs")
    return value
