"""An incident's report as one archive that speaks for itself, offline.

manifest                    digests of all files and the logs' keys, signed by the incidents' key
report.md, report.html      for people
report.json                 the facts that both are made from
checkpoints/LOG             the log's signed head
proofs/LOG-N.tlog-proof     that event N of the log, which the report names, is in it

It is a ZIP archive without compression, of the same bytes for the same content: whatever byte of it
is another, it does not verify.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Final

import msgspec

from portcullis.audit.checkpoint import open_checkpoint
from portcullis.audit.export.source import event_of
from portcullis.audit.note import Signer, Verifier
from portcullis.audit.proof import prove, verify_proof
from portcullis.audit.verify import own_verifier, read_checkpoint
from portcullis.core.errors import Problem
from portcullis.core.incident_ports import Row
from portcullis.review.incident_logs import Logs
from portcullis.review.incident_report import Facts
from portcullis.review.incident_text import html, markdown

MANIFEST: Final = "manifest"
REPORT: Final = "report.json"
MOST_PROOFS: Final = 3000
MAX_ARCHIVE: Final = 64 * 2**20
"""Bytes of the largest archive."""
_HEADER: Final = "portcullis.incident/v1"
_NAME: Final = r"[a-z0-9][a-z0-9_-]{0,126}"
_PATH: Final = re.compile(
    rf"report\.(?:md|html|json)|checkpoints/{_NAME}|proofs/{_NAME}-[0-9]{{1,18}}\.tlog-proof"
)
_LINE: Final = re.compile(r"file ([0-9a-f]{64}) (\S+)")
_LOG: Final = re.compile(rf"log ({_NAME}) (\S+)")
_UNPROVEN: Final = re.compile(rf"unproven ({_NAME}) ([0-9]{{1,18}})")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_MOST_REASONS: Final = 20


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What verifying an archive found. ``reasons`` says what failed (the first 20).

    ``unproven`` is how many events the report names that its maker could not prove: they were
    pruned, or not signed yet.
    """

    ok: bool
    incident: str = ""
    files: int = 0
    proofs: int = 0
    unproven: int = 0
    reasons: tuple[str, ...] = ()


def package(facts: Facts, logs: Logs, signer: Signer) -> bytes:
    """The archive. Raises Problem PC6005 for a log whose files give no proof that holds."""
    contents = {
        "report.md": markdown(facts).encode(),
        "report.html": html(facts).encode(),
        REPORT: msgspec.json.format(msgspec.json.encode(facts, order="deterministic"), indent=2),
    }
    unproven: list[tuple[str, int]] = []
    for log, indexes in sorted(facts.marks().items()):
        if log not in facts.logs:
            unproven += [(log, index) for index in sorted(indexes)]
            continue
        place = logs.place(log)
        verifier = own_verifier(place)
        contents[f"checkpoints/{log}"] = read_checkpoint(place, verifier)[1]
        for index in sorted(indexes):
            try:
                if len(contents) > MOST_PROOFS:
                    raise Problem("PC6004", "there are too many")
                proof = prove(place, verifier, index)
            except Problem as problem:
                if problem.code != "PC6004":
                    raise
                unproven.append((log, index))
            else:
                contents[f"proofs/{log}-{index}.tlog-proof"] = proof.encode()
    lines = [_HEADER, f"incident {facts.incident.id}"]
    lines += [f"log {name} {key}" for name, key in sorted(facts.logs.items())]
    lines += [f"unproven {log} {index}" for log, index in unproven]
    lines += [f"file {sha256(data).hexdigest()} {path}" for path, data in sorted(contents.items())]
    return archive({MANIFEST: signer.sign("\n".join(lines) + "\n"), **contents})


def archive(contents: Mapping[str, bytes]) -> bytes:
    """The same bytes for the same files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
        for path, data in sorted(contents.items()):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o600 << 16
            file.writestr(entry, data)
    return out.getvalue()


def verify(data: bytes, key: Verifier, log_keys: Mapping[str, Verifier] | None = None) -> Verdict:
    """Check all of an archive with the incidents' key; nothing but its bytes is read.

    ``log_keys`` are the logs' public keys by name as you got them from elsewhere; by default those
    that the manifest names. Never raises for a bad archive.
    """
    try:
        return _verified(data, key, dict(log_keys or {}))
    except Problem as problem:
        return Verdict(ok=False, reasons=(problem.detail,))


class _Manifest(msgspec.Struct):
    incident: str
    logs: dict[str, Verifier]
    unproven: set[tuple[str, int]]
    files: dict[str, str]


def _verified(data: bytes, key: Verifier, log_keys: dict[str, Verifier]) -> Verdict:
    contents = _unpacked(data)
    manifest = _manifest(key.open(contents.pop(MANIFEST, b"")))
    reasons: list[str] = []
    for path in sorted(contents.keys() | manifest.files.keys()):
        if path not in contents:
            reasons.append(f"{path}: missing")
        elif sha256(contents[path]).hexdigest() != manifest.files.get(path):
            reasons.append(f"{path}: not what the manifest lists")
    for name, verifier in log_keys.items():
        if str(manifest.logs.get(name, "")) != str(verifier):
            reasons.append(f"{name}: the log's key is another than the manifest's")
    proofs = 0
    if not reasons:
        proofs = _proven(contents, manifest, reasons)
    return Verdict(
        ok=not reasons,
        incident=manifest.incident,
        files=len(manifest.files),
        proofs=proofs,
        unproven=len(manifest.unproven),
        reasons=tuple(reasons[:_MOST_REASONS]),
    )


def _unpacked(data: bytes) -> dict[str, bytes]:
    """The files of an archive that is exactly as it was written. Raises Problem PC6005."""
    if len(data) > MAX_ARCHIVE:
        raise Problem("PC6005", f"the archive has more than {MAX_ARCHIVE} bytes")
    contents: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            room = len(data)
            for entry in file.infolist():
                room -= entry.file_size
                stored = entry.compress_type == zipfile.ZIP_STORED
                if not stored or room < 0 or entry.filename in contents:
                    raise Problem("PC6005", "the archive is not as it was written")
                contents[entry.filename] = file.read(entry)
    except (zipfile.BadZipFile, ValueError, OSError, RuntimeError, NotImplementedError, EOFError):
        raise Problem("PC6005", "not an archive that can be read") from None
    if archive(contents) != data:
        raise Problem("PC6005", "the archive is not as it was written")
    return contents


def _manifest(text: str) -> _Manifest:
    lines = text.split("\n")
    incident = lines[1].removeprefix("incident ") if len(lines) > 1 else ""
    if lines[0] != _HEADER or lines[-1] or not incident or incident == lines[1]:
        raise Problem("PC6005", "not the manifest of an incident's report")
    found = _Manifest(incident, {}, set(), {})
    for line in lines[2:-1]:
        if file := _LINE.fullmatch(line):
            if file[2] in found.files or not _PATH.fullmatch(file[2]):
                raise Problem("PC6005", "the manifest has a malformed file line")
            found.files[file[2]] = file[1]
        elif log := _LOG.fullmatch(line):
            found.logs[log[1]] = Verifier.parse(log[2])
        elif gone := _UNPROVEN.fullmatch(line):
            found.unproven.add((gone[1], int(gone[2])))
        else:
            raise Problem("PC6005", "the manifest has a malformed line")
    return found


def _proven(contents: dict[str, bytes], manifest: _Manifest, reasons: list[str]) -> int:
    """Whether each event that the report names is proved, or said not to be; how many proofs."""
    try:
        facts = msgspec.json.decode(contents.get(REPORT, b""), type=Facts)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        reasons.append(f"{REPORT}: not a report")
        return 0
    if facts.incident.id != manifest.incident:
        reasons.append(f"{REPORT}: of another incident than the manifest")
    named = facts.marks()
    rows = {(row.log, row.index): row for row in facts.rows}
    count = 0
    for log, index in _wanted(named):
        if (log, index) in manifest.unproven:
            continue
        reason = _proof(contents, manifest, log, index, rows.get((log, index)))
        if reason:
            reasons.append(f"{log} {index}: {reason}")
        else:
            count += 1
    for path, data in contents.items():
        if path.startswith("checkpoints/"):
            name = path.partition("/")[2]
            if name not in manifest.logs:
                reasons.append(f"{path}: of no log that the manifest names")
            else:
                open_checkpoint(data, manifest.logs[name])
    return count


def _wanted(named: Mapping[str, set[int]]) -> Iterator[tuple[str, int]]:
    for log, indexes in sorted(named.items()):
        for index in sorted(indexes):
            yield log, index


def _proof(
    contents: dict[str, bytes], manifest: _Manifest, log: str, index: int, row: Row | None
) -> str:
    """What is wrong with the proof of an event; empty when nothing is."""
    data = contents.get(f"proofs/{log}-{index}.tlog-proof")
    if data is None or log not in manifest.logs:
        return "there is no proof of it"
    try:
        proof = verify_proof(data.decode(), manifest.logs[log])
        said = event_of(proof.entry)
    except Problem as problem:
        return problem.detail
    except UnicodeDecodeError:
        return "the proof cannot be read"
    if proof.index != index:
        return "the proof is of another entry"
    if row is not None and (row.id, row.outcome, row.code) != (said.id, said.verdict, said.code):
        return "the report says otherwise than the log"
    return ""
