"""Restoring a backup: checked, then made safe in a folder aside, then put in its place."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Engine

from portcullis.audit.files import sync_directory
from portcullis.audit.note import Verifier
from portcullis.audit.recipients import Identity
from portcullis.bootstrap.backup import MASTER, RECORDS, ROOT_KEY, STATE, Manifest
from portcullis.bootstrap.backup_read import opened
from portcullis.bootstrap.fence import Fenced, fence
from portcullis.bootstrap.keys import keys_of
from portcullis.bootstrap.records import DATABASE, records
from portcullis.config import Config
from portcullis.config.identity import FileKeys
from portcullis.config.places import EPOCH
from portcullis.config.store import Store
from portcullis.core.errors import Problem
from portcullis.core.ports import KeyManager
from portcullis.identity.keymanager import KEYS
from portcullis.identity.orders import ORDER_FILE
from portcullis.identity.sealing import Envelope
from portcullis.store.engine import open_sqlite
from portcullis.store.moving import move, occupied

_FENCES: Final = (ORDER_FILE, EPOCH)
_LEFT: Final = (DATABASE, f"{DATABASE}.lock", f"{DATABASE}-wal", f"{DATABASE}-shm")


class Restored(msgspec.Struct, frozen=True):
    """The backup that was put back, and the new beginning."""

    manifest: Manifest
    fenced: Fenced


def restore(
    config: Config, file: Path, identity: Identity, verifier: Verifier | None,
    *, newer: Path | None, root_key: Path | None, now: float, memories_too: bool = False,
) -> Restored:  # fmt: skip
    """Put a backup back into ``config.state`` and the record store, which are empty. Blocks.

    ``verifier`` is as in ``opened``, ``newer`` and ``memories_too`` as in ``fence``; ``root_key``
    is the key file of a key manager of the kind ``file``. Nothing is put in its place before all of
    it was checked and fenced. Raises Problem PC6034 when something is there already, PC6033,
    PC6035, PC6051, PC7001, PC7005 or PC7010.
    """
    state = config.state
    if state.exists() and any(state.iterdir()):
        raise Problem("PC6034", f"{state} is not empty")
    _expect_room(config)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)
    with opened(file, identity, verifier, state) as backup:
        manifest, stage = backup.manifest, backup.folder / STATE
        if manifest.trust_domain != config.trust_domain:
            detail = f"the backup is of {manifest.trust_domain}, not of {config.trust_domain}"
            raise Problem("PC6034", detail, hint="Use the configuration of that deployment.")
        _private(stage)
        _with_root(config, stage, root_key or backup.folder / ROOT_KEY)
        (backup.folder / RECORDS).rename(stage / DATABASE)
        aside = config.model_copy(update={"state": stage, "store": Store()})
        sealer = Envelope(_manager(aside))
        engine = open_sqlite(stage / DATABASE)
        try:
            said = {"backup": manifest.id, "made_at": manifest.made_at}
            fenced = fence(aside, engine, sealer, newer, now, said, memories_too=memories_too)
            if config.store.url is not None:
                _into_server(config, engine)
        finally:
            engine.dispose()
        _in_place(config, stage, state)
        log = state / fenced.log.relative_to(stage)
        return Restored(manifest, msgspec.structs.replace(fenced, log=log))


def _expect_room(config: Config) -> None:
    """Refuse a database that has records, before anything is done."""
    if config.store.url is None:
        return
    target = records(config)
    try:
        there = occupied(target)
    finally:
        target.dispose()
    if there:
        raise Problem("PC6034", f"the database holds records already, in {there[0]}")


def _private(stage: Path) -> None:
    for path in (stage, *stage.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


def _with_root(config: Config, stage: Path, key: Path) -> None:
    """Put the key manager's key where it is looked for, unless it is elsewhere already."""
    if not isinstance(config.keys, FileKeys) or not key.is_file():
        return
    target = config.keys.path or stage / KEYS / MASTER
    if not target.exists():
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(key, target)
        target.chmod(0o600)


def _into_server(config: Config, engine: Engine) -> None:
    """Move the records into the database that the configuration names, all or nothing."""
    target = records(config)
    try:
        move(engine, target)
    finally:
        target.dispose()


def _manager(config: Config) -> KeyManager:
    """What opens the keys. Raises Problem PC7010 when it does not, and says what is wanted."""
    try:
        return keys_of(config, create=False)
    except Problem as problem:
        if isinstance(config.keys, FileKeys):
            hint = "Name the key file that was kept apart: --root-key FILE."
            raise Problem(problem.code, problem.detail, hint=hint) from None
        raise


def _in_place(config: Config, stage: Path, state: Path) -> None:
    """The fences first: whatever starts on half of it is fenced, too."""
    if config.store.url is not None:
        for name in _LEFT:
            (stage / name).unlink(missing_ok=True)
    names = sorted((one.name for one in stage.iterdir()), key=lambda name: name not in _FENCES)
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            (stage / name).rename(state / name)
    sync_directory(state)
