"""Reading a backup: everything in it is checked before anything of it is used.

That needs no gate and no key manager: whoever the backup was sealed to can do it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

import msgspec

from portcullis.audit.enclosed import Enclosed
from portcullis.audit.note import Verifier
from portcullis.audit.recipients import Identity
from portcullis.audit.verify import Expected, Report, own_verifier, verify
from portcullis.bootstrap.backup import (
    MANIFEST,
    NOTE,
    RECORDS,
    SIGNED,
    STATE,
    Manifest,
    files_of,
    summed_file,
)
from portcullis.config.places import GATE, Role
from portcullis.core.errors import Problem
from portcullis.store.engine import open_sqlite
from portcullis.store.moving import summed

_BLOCK: Final = 2**20
_manifest: Final = msgspec.json.Decoder(Manifest).decode


class Checked(msgspec.Struct, frozen=True):
    """A backup in whose ``folder`` everything is as its manifest says; ``reports`` by log."""

    manifest: Manifest
    folder: Path
    reports: dict[str, Report]


@contextlib.contextmanager
def opened(
    file: Path, identity: Identity, verifier: Verifier | None, place: Path | None = None
) -> Iterator[Checked]:
    """Unpack a backup into a folder of its own, in ``place``, and check it, until the block ends.

    ``verifier`` is the key of the log of who rules, from elsewhere; without it, that in the backup.
    Raises Problem PC6033 for what is not as it was made, PC6051 for another's, PC7005 for no file.
    """
    with tempfile.TemporaryDirectory(dir=place, prefix=".backup-") as name:
        folder = Path(name)
        try:
            with file.open("rb") as source:
                _unpack(Enclosed(source, identity), folder)
        except OSError as error:
            raise Problem("PC7005", f"{error.filename or file}: {error.strerror}") from None
        yield _checked(folder, verifier)


def log_folder(state: Path, log: str) -> Path:
    """Where a log lies below a state directory, by its name; as ``places.audit_directory``."""
    if log == GATE:
        return state / "log"
    return state / ("mcp" if Role.of(log) is Role.WRAPPER else "logs") / log


def _unpack(source: Enclosed, folder: Path) -> None:
    """Plain files with plain names, each once; Problem PC6033 for anything else."""
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if not member.isreg() or path.is_absolute() or ".." in path.parts:
                    raise Problem("PC6033", f"it holds {member.name!r}, which is no plain file")
                target = folder / path
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                taken = archive.extractfile(member)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                with os.fdopen(os.open(target, flags, 0o600), "wb") as file:
                    while taken is not None and (block := taken.read(_BLOCK)):
                        file.write(block)
        while source.read(_BLOCK):  # what stands behind the archive is authenticated as well
            pass
    except tarfile.TarError:
        raise Problem("PC6033", "the archive in it is damaged") from None
    except FileExistsError:
        raise Problem("PC6033", "it holds a file twice") from None


def _checked(folder: Path, verifier: Verifier | None) -> Checked:
    try:
        said = (folder / MANIFEST).read_bytes()
        note = (folder / NOTE).read_bytes()
        manifest = _manifest(said)
    except (OSError, msgspec.MsgspecError):
        raise Problem("PC6033", "it has no manifest") from None
    ruling = log_folder(folder / STATE, manifest.log)
    _signature(note, said, verifier or own_verifier(ruling))
    _files(folder, manifest)
    reports = {name: _log(folder, name, manifest) for name in manifest.logs}
    _rows(folder / RECORDS, manifest)
    return Checked(manifest, folder, reports)


def _signature(note: bytes, said: bytes, verifier: Verifier) -> None:
    try:
        text = verifier.open(note)
    except Problem as problem:
        raise Problem("PC6033", f"the manifest: {problem.detail}") from None
    if text != f"{SIGNED}\n{hashlib.sha256(said).hexdigest()}\n":
        raise Problem("PC6033", "the manifest is not the one that was signed")


def _files(folder: Path, manifest: Manifest) -> None:
    there = {str(path.relative_to(folder)): path for path in files_of(folder)}
    for name in (MANIFEST, NOTE):
        del there[name]
    if there.keys() != manifest.files.keys():
        (odd, *_) = sorted(there.keys() ^ manifest.files.keys())
        raise Problem("PC6033", f"{odd} is missing, or is not in the manifest")
    for name, path in there.items():
        if summed_file(path) != manifest.files[name]:
            raise Problem("PC6033", f"{name} is not what the manifest says")


def _log(folder: Path, name: str, manifest: Manifest) -> Report:
    """A log is verified as anywhere, and reaches as far as the manifest says."""
    place, said = log_folder(folder / STATE, name), manifest.logs[name]
    try:
        report = verify(place, own_verifier(place), expected=Expected())
    except Problem as problem:
        raise Problem("PC6033", f"log {name}: {problem.detail}") from None
    if not report.ok:
        raise Problem("PC6033", f"log {name}: {report.reasons[0]}")
    if (report.origin, report.size, report.root) != (said.origin, said.size, said.root):
        raise Problem("PC6033", f"log {name} is another one than the manifest says")
    return report


def _rows(path: Path, manifest: Manifest) -> None:
    """The records have the rows that were copied, by the digest of each table."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as file:
        (found,) = file.execute("PRAGMA integrity_check").fetchone()
        (revision,) = file.execute("SELECT version_num FROM alembic_version").fetchone()
    if found != "ok":
        raise Problem("PC6033", f"the records: {found}")
    engine = open_sqlite(path)  # one of an older version is migrated, and has other tables then
    try:
        migrated = revision != _revision(path)
        if not migrated and summed(engine) != manifest.tables:
            raise Problem("PC6033", "the records are not what the manifest says")
    finally:
        engine.dispose()


def _revision(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as file:
        (revision,) = file.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(revision)
