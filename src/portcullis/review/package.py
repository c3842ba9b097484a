"""Evidence packages: a folder that speaks for itself, signed, whole or not there.

manifest                     digests of all files, signed by the evidence key
report.html                  for people
assessment-results.json      OSCAL
component-definition.json    OSCAL
evidence.json                the same state as `portcullis evidence gaps --json` prints it
checkpoint                   the log's signed head
proofs/N.tlog-proof          that event N, which the report names, is in the log
"""

from __future__ import annotations

import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from portcullis.audit.checkpoint import open_checkpoint
from portcullis.audit.files import read, sync_directory
from portcullis.audit.note import MAX_NOTE, Signer, Verifier
from portcullis.audit.proof import prove, verify_proof
from portcullis.audit.verify import read_checkpoint
from portcullis.core.errors import Problem
from portcullis.review.evaluate import Assessment
from portcullis.review.fold import mark_of
from portcullis.review.manifest import MANIFEST, Manifest, open_manifest
from portcullis.review.oscal import (
    assessment_results,
    component_definition,
    marks_of,
    proof_path,
)
from portcullis.review.report import report
from portcullis.review.subject import Verified

EVIDENCE: Final = "evidence.json"
CHECKPOINT: Final = "checkpoint"
MAX_FILE: Final = 64 * 2**20
_MOST_REASONS: Final = 20


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What verifying a package found. ``reasons`` says what failed (the first 20)."""

    ok: bool
    origin: str = ""
    framework: str = ""
    size: int = 0
    made: str = ""
    files: int = 0
    proofs: int = 0
    reasons: tuple[str, ...] = ()


def write(
    target: Path,
    assessment: Assessment,
    *,
    directory: Path,
    verifier: Verifier,
    signer: Signer,
    verified: Verified,
    version: str,
) -> str:
    """Write a package about an assessment of the log in ``directory``; its manifest's SHA-256.

    It appears as ``target`` when it is whole and on disk. Raises Problem PC6005 when the log did
    not verify or an event that is named cannot be proved, PC7004 when there is something at
    ``target`` already, PC7005 when it cannot be written. ``version`` is the program's.
    """
    if not verified.ok:
        raise Problem("PC6005", f"the log does not verify: {'; '.join(verified.reasons[:3])}")
    if target.exists():
        raise Problem("PC7004", f"{target} exists already", hint="Name a new folder.")
    contents = _contents(assessment, directory, verifier, verified, version)
    manifest = Manifest(
        origin=assessment.origin,
        framework=assessment.framework,
        size=assessment.size,
        made=assessment.at,
        log_key=str(verifier),
        files={path: sha256(data).hexdigest() for path, data in contents.items()},
    ).sign(signer)
    try:
        _place(target, contents | {MANIFEST: manifest})
    except OSError as error:
        raise Problem("PC7005", f"cannot write {target}: {error.strerror}") from None
    return sha256(manifest).hexdigest()


def verify(folder: Path, key: Verifier, log_key: Verifier | None = None) -> Verdict:
    """Check every file of a package with the evidence key; nothing but the folder is read.

    ``log_key`` is the log's public key as you got it from elsewhere; by default the one that the
    manifest names. Never raises for a bad package.
    """
    try:
        manifest = open_manifest(_read(folder, MANIFEST, MAX_NOTE), key)
    except Problem as problem:
        return Verdict(ok=False, reasons=(f"manifest: {problem.detail}",))
    reasons: list[str] = []
    if f"{manifest.origin}/evidence" != key.name:
        reasons.append("the manifest is of another log than its key")
    contents = _listed(folder, manifest, reasons)
    proofs = 0
    try:
        log = log_key or Verifier.parse(manifest.log_key)
        if (log.name, str(log)) != (manifest.origin, manifest.log_key):
            reasons.append("the log's key is another than the manifest's")
        proofs = _proven(manifest, contents, log, reasons)
    except Problem as problem:
        reasons.append(problem.detail)
    return Verdict(
        ok=not reasons,
        origin=manifest.origin,
        framework=manifest.framework,
        size=manifest.size,
        made=manifest.made.isoformat(),
        files=len(manifest.files),
        proofs=proofs,
        reasons=tuple(reasons[:_MOST_REASONS]),
    )


def _contents(
    assessment: Assessment,
    directory: Path,
    verifier: Verifier,
    verified: Verified,
    version: str,
) -> dict[str, bytes]:
    _, note = read_checkpoint(directory, verifier)
    marks = {mark.index: mark for row in assessment.rows for mark in marks_of(row)}
    found = {
        "report.html": report(assessment, verified.size).encode(),
        "assessment-results.json": _json(assessment_results(assessment, version)),
        "component-definition.json": _json(component_definition(assessment, version)),
        EVIDENCE: _json(assessment),
        CHECKPOINT: note,
    }
    for index, mark in sorted(marks.items()):
        found[proof_path(mark)] = prove(directory, verifier, index).encode()
    return found


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _place(target: Path, contents: dict[str, bytes]) -> None:
    """Write all files into a folder beside the target, and put it in its place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".evidence-", dir=target.parent))
    try:
        (fresh / "proofs").mkdir(mode=0o700)
        for path, data in contents.items():
            with (fresh / path).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync_directory(fresh / "proofs")
        sync_directory(fresh)
        fresh.rename(target)
        sync_directory(target.parent)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _read(folder: Path, path: str, limit: int) -> bytes:
    if (folder / path).is_symlink():
        raise Problem("PC6005", f"{path}: a link")
    try:
        return read(folder / path, limit)
    except OSError as error:
        raise Problem("PC6005", f"{path}: {error.strerror}") from None


def _listed(folder: Path, manifest: Manifest, reasons: list[str]) -> dict[str, bytes]:
    """The files that are as the manifest says; what is not goes into ``reasons``."""
    found: dict[str, bytes] = {}
    for path, digest in manifest.files.items():
        try:
            data = _read(folder, path, MAX_FILE)
        except Problem as problem:
            reasons.append(problem.detail)
            continue
        if sha256(data).hexdigest() == digest:
            found[path] = data
        else:
            reasons.append(f"{path}: changed")
    there = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    reasons += [
        f"{path!a}: not listed"
        for path in sorted(there - manifest.files.keys())
        if path != MANIFEST
    ]
    return found


def _proven(
    manifest: Manifest, contents: dict[str, bytes], log: Verifier, reasons: list[str]
) -> int:
    """Check the checkpoint, and that each event that the package names is proved; how many."""
    if CHECKPOINT in contents:
        head = open_checkpoint(contents[CHECKPOINT], log)
        if head.size < manifest.size:
            reasons.append("the checkpoint covers fewer entries than were evaluated")
    try:
        said = msgspec.json.decode(contents.get(EVIDENCE, b""), type=Assessment)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        reasons.append(f"{EVIDENCE}: not an assessment")
        return 0
    if (said.framework, said.origin, said.size) != (
        manifest.framework,
        manifest.origin,
        manifest.size,
    ):
        reasons.append(f"{EVIDENCE}: of another evaluation than the manifest")
    marks = {mark for row in said.rows for mark in marks_of(row)}
    proved: set[int] = set()
    for mark in sorted(marks, key=lambda one: one.index):
        path = proof_path(mark)
        try:
            proof = verify_proof(contents.get(path, b"").decode(errors="replace"), log)
            shown = mark_of(proof.index, proof.entry)
        except Problem as problem:
            reasons.append(f"{path}: {problem.detail}")
            continue
        if shown != mark:
            reasons.append(f"{path}: the proof of another event")
        else:
            proved.add(mark.index)
    return len(proved)
