"""Evidence packages: a folder that speaks for itself, signed, whole or not there.

manifest                     digests of all files, signed by the evidence key
report.html                  for people
assessment-results.json      OSCAL
component-definition.json    OSCAL
evidence.json                the same state as `portcullis evidence gaps --json` prints it
checkpoints/LOG              each log's signed head
proofs/LOG.N.tlog-proof      that event N, which the report names, is in that log
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from portcullis.audit.checkpoint import Checkpoint, open_checkpoint
from portcullis.audit.files import read, sync_directory
from portcullis.audit.note import MAX_NOTE, Signer, Verifier
from portcullis.audit.proof import prove, verify_proof
from portcullis.audit.verify import read_checkpoint
from portcullis.core.errors import Problem
from portcullis.review.evaluate import Assessment
from portcullis.review.facts import Mark
from portcullis.review.leaf import mark_of, name_of
from portcullis.review.logs import Logs
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
_CHECKPOINTS: Final = "checkpoints"
_PROOFS: Final = "proofs"
MAX_FILE: Final = 64 * 2**20
_MOST_REASONS: Final = 20


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What verifying a package found. ``reasons`` says what failed (the first 20).

    ``logs`` are the origins of the logs that it is about, ``vouched`` those whose key was brought
    along.
    """

    ok: bool
    origin: str = ""
    framework: str = ""
    logs: tuple[str, ...] = ()
    vouched: tuple[str, ...] = ()
    size: int = 0
    made: str = ""
    files: int = 0
    proofs: int = 0
    reasons: tuple[str, ...] = ()


def write(
    target: Path,
    assessment: Assessment,
    *,
    logs: Logs,
    signer: Signer,
    verified: Verified,
    version: str,
) -> str:
    """Write a package about an assessment of these logs; its manifest's SHA-256.

    It appears as ``target`` when it is whole and on disk. Raises Problem PC6005 when a log did
    not verify or is gone, or an event that is named cannot be proved, PC7004 when there is
    something at ``target`` already, PC7005 when it cannot be written. ``version`` is the program's.
    """
    require(verified)
    if target.exists():
        raise Problem("PC7004", f"{target} exists already", hint="Name a new folder.")
    keys = {log.verifier.name: str(log.verifier) for log in logs.each}
    if gone := assessment.logs.keys() - keys.keys():
        raise Problem("PC6005", f"a log that was evaluated is gone: {', '.join(sorted(gone))}")
    contents = _contents(assessment, logs, verified, version)
    manifest = Manifest(
        origin=assessment.origin,
        framework=assessment.framework,
        made=assessment.at,
        logs={keys[origin]: size for origin, size in assessment.logs.items()},
        files={path: sha256(data).hexdigest() for path, data in contents.items()},
    ).sign(signer)
    try:
        _place(target, contents | {MANIFEST: manifest})
    except OSError as error:
        raise Problem("PC7005", f"cannot write {target}: {error.strerror}") from None
    return sha256(manifest).hexdigest()


def require(verified: Verified) -> None:
    """Raise Problem PC6005 unless all logs verified: what does not is no evidence."""
    if not verified.ok:
        raise Problem("PC6005", f"the log does not verify: {'; '.join(verified.reasons[:3])}")


def verify(folder: Path, key: Verifier, log_keys: Sequence[Verifier] = ()) -> Verdict:
    """Check every file of a package with the evidence key; nothing but the folder is read.

    ``log_keys`` are the logs' public keys as you got them from elsewhere: a log of which there is
    none is checked with the one that the manifest names. Never raises for a bad package.
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
        logs = _logs(manifest, log_keys, reasons)
        proofs = _proven(manifest, contents, logs, reasons)
    except Problem as problem:
        reasons.append(problem.detail)
    return Verdict(
        ok=not reasons,
        origin=manifest.origin,
        framework=manifest.framework,
        logs=tuple(one.partition("+")[0] for one in manifest.logs),
        vouched=tuple(one.name for one in log_keys),
        size=manifest.size,
        made=manifest.made.isoformat(),
        files=len(manifest.files),
        proofs=proofs,
        reasons=tuple(reasons[:_MOST_REASONS]),
    )


def _contents(
    assessment: Assessment, logs: Logs, verified: Verified, version: str
) -> dict[str, bytes]:
    marks = {(mark.log, mark.index): mark for row in assessment.rows for mark in marks_of(row)}
    found = {
        "report.html": report(assessment, verified.size).encode(),
        "assessment-results.json": _json(assessment_results(assessment, version)),
        "component-definition.json": _json(component_definition(assessment, version)),
        EVIDENCE: _json(assessment),
    }
    each = {log.name: log for log in logs.each}
    notes = {
        log.name: read_checkpoint(log.place, log.verifier)[1]
        for log in each.values()
        if log.verifier.name in assessment.logs
    }
    found |= {f"{_CHECKPOINTS}/{name}": note for name, note in notes.items()}
    for (name, index), mark in sorted(marks.items()):
        log = each[name]
        proof = prove(log.place, log.verifier, index, notes[name])
        if mark_of(index, verify_proof(proof, log.verifier).entry, name) != mark:
            raise Problem("PC6005", f"{name}: entry {index} is another than what was evaluated")
        found[proof_path(mark)] = proof.encode()
    return found


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _place(target: Path, contents: dict[str, bytes]) -> None:
    """Write all files into a folder beside the target, and put it in its place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".evidence-", dir=target.parent))
    try:
        for name in (_CHECKPOINTS, _PROOFS):
            (fresh / name).mkdir(mode=0o700)
        for path, data in contents.items():
            with (fresh / path).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for name in (_CHECKPOINTS, _PROOFS):
            sync_directory(fresh / name)
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


def _logs(
    manifest: Manifest, given: Sequence[Verifier], reasons: list[str]
) -> dict[str, tuple[Verifier, int]]:
    """The keys and sizes of the package's logs, by name; what does not fit goes into ``reasons``.

    Problem PC6005 when they cannot be told apart.
    """
    found = {}
    brought = {one.name: one for one in given}
    for text, size in manifest.logs.items():
        log = Verifier.parse(text)
        if str(brought.pop(log.name, log)) != text:
            reasons.append(f"the key of the log {log.name} is another than the manifest's")
        found[name_of(log.name)] = log, size
    reasons += [f"the package is not about the log {name}" for name in brought]
    if len(found) < len(manifest.logs) or manifest.origin not in {
        log.name for log, _ in found.values()
    }:
        raise Problem("PC6005", "the manifest's logs are not those of one deployment")
    return found


def _proven(
    manifest: Manifest,
    contents: dict[str, bytes],
    logs: dict[str, tuple[Verifier, int]],
    reasons: list[str],
) -> int:
    """Check the checkpoints, and that each event that the package names is proved; how many.

    All proofs of a log are under its one checkpoint: two of them could be of two logs.
    """
    heads: dict[str, Checkpoint] = {}
    for name, (log, size) in logs.items():
        path = f"{_CHECKPOINTS}/{name}"
        try:
            heads[name] = open_checkpoint(contents.get(path, b""), log)
            if heads[name].size < size:
                reasons.append(f"{path}: covers fewer entries than were evaluated")
        except Problem as problem:
            reasons.append(f"{path}: {problem.detail}")
    try:
        said = msgspec.json.decode(contents.get(EVIDENCE, b""), type=Assessment)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        reasons.append(f"{EVIDENCE}: not an assessment")
        return 0
    sizes = {log.name: size for log, size in logs.values()}
    if (said.framework, said.origin, said.logs, said.size) != (
        manifest.framework,
        manifest.origin,
        sizes,
        manifest.size,
    ):
        reasons.append(f"{EVIDENCE}: of another evaluation than the manifest")
    marks = {mark for row in said.rows for mark in marks_of(row)}
    return sum(
        _shown(mark, contents, logs, heads.get(mark.log), reasons)
        for mark in sorted(marks, key=lambda one: (one.log, one.index))
    )


def _shown(
    mark: Mark,
    contents: dict[str, bytes],
    logs: dict[str, tuple[Verifier, int]],
    head: Checkpoint | None,
    reasons: list[str],
) -> bool:
    """Whether an event is proved to be in its log, and is what is told of it."""
    path = proof_path(mark)
    if mark.log not in logs:
        reasons.append(f"{path}: of a log that the manifest does not name")
        return False
    try:
        proof = verify_proof(contents.get(path, b"").decode(errors="replace"), logs[mark.log][0])
        shown = mark_of(proof.index, proof.entry, mark.log)
    except Problem as problem:
        reasons.append(f"{path}: {problem.detail}")
        return False
    if shown != mark or mark.index >= logs[mark.log][1]:
        reasons.append(f"{path}: the proof of another event")
        return False
    if proof.checkpoint != head:
        reasons.append(f"{path}: under another checkpoint than the package's")
        return False
    return True
