"""Backups: everything that a deployment keeps, copied while it runs, sealed to those who read it.

A backup is a tar archive in an ``audit.enclosed`` file. ``manifest.json`` comes first and says of
each other file its size and SHA-256; ``manifest.note`` is its SHA-256, signed with the key of the
log of who rules (signed-note), which auditors have. The records are copied first and the logs
after them, so that no row speaks of an entry that is not there; the keys come last, so that every
entry has its own. See docs/decisions/042-backups.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec

from portcullis import __version__
from portcullis.audit.copied import copy_log
from portcullis.audit.enclosed import Enclosing
from portcullis.audit.files import sync_directory
from portcullis.audit.keys import SIGNER_FILE, load_signer
from portcullis.audit.note import Signer
from portcullis.audit.recipients import Recipients
from portcullis.bootstrap.floor import EXPORT
from portcullis.bootstrap.foundation import CA, CONTENT
from portcullis.bootstrap.hosts_retired import RETIRED
from portcullis.bootstrap.keys import keys_of
from portcullis.bootstrap.limits import COUNTS
from portcullis.bootstrap.records import records
from portcullis.config import Config
from portcullis.config.identity import FileKeys
from portcullis.config.places import EPOCH, audit_directory, logs_of, own_log
from portcullis.core.errors import Problem
from portcullis.identity.keymanager import KEYS
from portcullis.identity.orders import ORDER_FILE
from portcullis.identity.sealing import Envelope
from portcullis.store.engine import open_sqlite
from portcullis.store.moving import Carried, move

MANIFEST: Final = "manifest.json"
NOTE: Final = "manifest.note"
STATE: Final = "state"
"""Below it lies what belongs into the state directory."""
RECORDS: Final = "records.db"
CONFIGURATION: Final = "configuration"
ROOT_KEY: Final = "root.key"
SIGNED: Final = "portcullis.backup/v1"
MASTER: Final = "master.key"
"""The file of a key manager of the kind ``file`` below ``keys``, unless its path is another."""
_STAGE: Final = ".backup-"
_LOCK: Final = ".backup.lock"
_BLOCK: Final = 2**20


class FileSum(msgspec.Struct, frozen=True):
    """A file in a backup: its bytes, and their SHA-256 in hex."""

    size: int
    digest: str


class LogSum(msgspec.Struct, frozen=True):
    """A log in a backup, up to its newest head."""

    origin: str
    size: int
    root: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself. ``made_at`` is in seconds since the epoch.

    ``log`` is the name of the log of who rules. ``logs`` and ``files`` are by name and by path.
    """

    v: int = 1
    id: str
    made_at: float
    trust_domain: str
    version: str
    log: str
    keys: str
    root_key: bool
    logs: dict[str, LogSum]
    tables: tuple[Carried, ...]
    files: dict[str, FileSum]


def create(
    config: Config, file: Path, target: Path, recipients: Recipients, *, backup: str, now: float,
    root_key: bool = False,
) -> tuple[str, int]:  # fmt: skip
    """Make the backup of this id in ``target``; its SHA-256 in hex, and its bytes. Blocks.

    ``file`` is the configuration's. Raises Problem PC6034 when there is a target already, PC6003
    while another one is made, PC7001, PC6002, PC6005 or PC7010 when something cannot be copied as
    it should be, OSError.
    """
    if target.exists():
        raise Problem("PC6034", f"{target} is there already", hint="Choose another name.")
    with _staged(config.state) as stage:
        tables = _records(config, stage / RECORDS)
        _contents(config, stage / STATE)
        logs = _logs(config, stage / STATE)
        _keys(config, stage / STATE)
        _configuration(config, file, stage / CONFIGURATION)
        if root_key:
            _root_key(config, stage / ROOT_KEY)
        manifest = Manifest(
            id=backup,
            made_at=now,
            trust_domain=config.trust_domain,
            version=__version__,
            log=own_log(config),
            keys=config.keys.kind,
            root_key=root_key,
            logs=logs,
            tables=tables,
            files={str(one.relative_to(stage)): summed_file(one) for one in files_of(stage)},
        )
        said = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        (stage / MANIFEST).write_bytes(said)
        (stage / NOTE).write_bytes(_signed(config, hashlib.sha256(said).hexdigest()))
        return _sealed(stage, target, recipients)


@contextlib.contextmanager
def _staged(state: Path) -> Iterator[Path]:
    """A folder to copy into; what one that was killed has left is removed. One at a time."""
    lock = os.open(state / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "Wait until it is there, or end it."
            raise Problem("PC6003", "another backup is being made", hint=hint) from None
        for left in state.glob(f"{_STAGE}*"):
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=state, prefix=_STAGE) as folder:
            yield Path(folder)
    finally:
        os.close(lock)


def files_of(folder: Path) -> Iterator[Path]:
    """The files in a folder, in the order of their names."""
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


def summed_file(path: Path) -> FileSum:
    """What a manifest says of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileSum(os.fstat(file.fileno()).st_size, digest)


def _records(config: Config, target: Path) -> tuple[Carried, ...]:
    """The records as they are at one moment, in a file, whatever database has them."""
    source = records(config)
    try:
        copy = open_sqlite(target)
        try:
            return move(source, copy, alone=False)
        finally:
            copy.dispose()
            target.with_name(f"{target.name}.lock").unlink(missing_ok=True)
    finally:
        source.dispose()


def _contents(config: Config, stage: Path) -> None:
    """What is kept of calls, counted, and delivered; what stands for everybody."""
    for path in (config.state / CONTENT).glob("*.db"):
        _database(path, stage / CONTENT / path.name)
    if (config.state / COUNTS).is_file():
        _database(config.state / COUNTS, stage / COUNTS)
    if (config.state / EXPORT).is_dir():
        shutil.copytree(config.state / EXPORT, stage / EXPORT, ignore=_drafts)
    for name in (ORDER_FILE, EPOCH, RETIRED):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(config.state / name, stage / name)


def _logs(config: Config, stage: Path) -> dict[str, LogSum]:
    found = {}
    for name, place in logs_of(config).items():
        target = stage / audit_directory(config, name).relative_to(config.state)
        head = copy_log(place, target)
        found[name] = LogSum(head.origin, head.size, head.root.hex())
    return found


def _keys(config: Config, stage: Path) -> None:
    """The sealed keys and the authority; not what opens them."""
    for folder in (KEYS, CA):
        for path in files_of(config.state / folder):
            relative = path.relative_to(config.state)
            if path.suffix in {".new", ".lock"} or path.name.endswith(("-wal", "-shm")):
                continue
            if relative == Path(KEYS, MASTER):
                continue
            if path.suffix == ".db":
                _database(path, stage / relative)
                continue
            (stage / relative).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # replaced or retired meanwhile
                shutil.copyfile(path, stage / relative)


def _root_key(config: Config, target: Path) -> None:
    """Have it go along from where it lies: it is written nowhere else in clear."""
    if not isinstance(config.keys, FileKeys):
        detail = f"the key manager is {config.keys.kind}: its key is in no file"
        raise Problem("PC7004", detail, hint="Leave --with-root-key out.")
    target.symlink_to((config.keys.path or config.state / KEYS / MASTER).resolve(strict=True))


def _configuration(config: Config, file: Path, stage: Path) -> None:
    """The file and the policy, to be put back by whoever restores."""
    stage.mkdir()
    shutil.copyfile(file, stage / "portcullis.yaml")
    if config.policy.is_dir():
        shutil.copytree(config.policy, stage / "policy", ignore=_drafts)


def _drafts(folder: str, names: list[str]) -> set[str]:
    del folder
    return {name for name in names if name.endswith((".new", ".lock")) or name.startswith(".")}


def _database(source: Path, target: Path) -> None:
    """A file of SQLite as it is at one moment, whoever writes to it."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=5)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)
        new.execute("PRAGMA journal_mode = DELETE")


def _signed(config: Config, digest: str) -> bytes:
    """The note over a manifest, under the key of the log of who rules."""
    name = own_log(config)
    signer = load_signer(
        config.state / KEYS / name,
        SIGNER_FILE,
        f"{config.trust_domain}/{name}",
        Signer,
        create=False,
        sealer=Envelope(keys_of(config, create=False)),
    )
    return signer.sign(f"{SIGNED}\n{digest}\n")


def _sealed(stage: Path, target: Path, recipients: Recipients) -> tuple[str, int]:
    """Write the archive; it is there whole, or not at all."""
    draft = target.with_name(f"{target.name}.new")
    draft.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            enclosing = Enclosing(file, recipients)
            whole = cast("IO[bytes]", enclosing)
            with tarfile.open(fileobj=whole, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                first = [stage / MANIFEST, stage / NOTE]
                for path in (*first, *(one for one in files_of(stage) if one not in first)):
                    info = tarfile.TarInfo(str(path.relative_to(stage)))
                    info.size, info.mode = path.stat().st_size, 0o600
                    with path.open("rb") as source:
                        archive.addfile(info, source)
            enclosing.close()
            file.flush()
            os.fsync(file.fileno())
        found = summed_file(draft)
        draft.rename(target)
        sync_directory(target.parent)
    except BaseException:
        draft.unlink(missing_ok=True)  # a full disk is not made fuller
        raise
    return found.digest, found.size


def told(manifest: Manifest) -> Mapping[str, Any]:
    """What a command says of a manifest."""
    return {
        "id": manifest.id,
        "made_at": manifest.made_at,
        "trust_domain": manifest.trust_domain,
        "version": manifest.version,
        "root_key": manifest.root_key,
        "logs": msgspec.to_builtins(manifest.logs),
        "rows": sum(one.rows for one in manifest.tables),
        "files": len(manifest.files),
    }
