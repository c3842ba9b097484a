"""Logs that are elsewhere, for commands: reading them, and keeping a mirror of them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from portcullis.audit.note import Verifier
from portcullis.audit.quorum import Quorum
from portcullis.audit.replica.mirror import Mirror
from portcullis.audit.replica.source import MAX_COPY, Fetch, download, folder, website
from portcullis.audit.timestamps import FOLDER
from portcullis.audit.web import Web
from portcullis.bootstrap.keys import SystemClock
from portcullis.bootstrap.witness import opened_witness
from portcullis.core.errors import Problem
from portcullis.core.record_ports import Retention
from portcullis.store.objects import StoreSettings, open_objects

_HTTP = ("http://", "https://")


def elsewhere(place: str) -> bool:
    """Whether this is a URL and not a folder."""
    return "://" in place


def log_at(place: str, environ: Mapping[str, str]) -> Fetch:
    """How to read a log in a folder, behind http(s), or in a store. Problem PC7001."""
    if place.startswith(_HTTP):
        return website(place, Web("PC6021"))
    if elsewhere(place):
        return open_objects(_settings(place, environ)).get
    return folder(Path(place))


@contextlib.contextmanager
def brought(
    place: str, verifier: Verifier, environ: Mapping[str, str], *, most: int | None = None
) -> Iterator[Path]:
    """A folder with what is published of a log that is elsewhere, until the block ends.

    It takes at most ``most`` bytes of the disk; unless that is given, at most ``MAX_COPY`` and
    half of what is free. Timestamps come along from a store. Raises Problem PC6005, PC6023 and
    PC7005 as ``download`` does, and PC6021 when the place cannot be read.
    """
    with TemporaryDirectory(prefix="portcullis-") as folder:
        if most is None:
            most = min(MAX_COPY, shutil.disk_usage(folder).free // 2)
        if place.startswith(_HTTP):
            download(website(place, Web("PC6021")), verifier, Path(folder), most=most)
        else:
            store = open_objects(_settings(place, environ))
            download(store.get, verifier, Path(folder), store.list(FOLDER), most=most)
        yield Path(folder)


@contextlib.contextmanager
def opened_mirror(
    source: str,
    target: str,
    state: Path,
    name: str,
    verifier: Verifier,
    *,
    environ: Mapping[str, str],
    quorum: Quorum | None = None,
    retention_days: float | None = None,
) -> Iterator[tuple[Mirror, str]]:
    """A mirror and its verifier key, until the block ends; see ``opened_witness`` for its state.

    A folder is as good as a store for ``target``. Raises Problem PC7001 for an address that is
    none and for a retention that it cannot keep, and what ``opened_witness`` raises.
    """
    clock = SystemClock()

    def lock() -> Retention | None:
        if retention_days is None:
            return None
        return Retention("compliance", clock.now() + retention_days * 86_400)

    target = target if elsewhere(target) else Path(target).resolve().as_uri()
    settings = _settings(target, environ)
    if retention_days is not None and not settings.access_key:
        raise Problem("PC7001", "only s3:// with keys in the environment can lock what is stored")
    store = open_objects(settings)
    with opened_witness(state, name, [verifier], clock=clock) as witness:
        mirror = Mirror(
            log_at(source, environ), store, witness, verifier, clock=clock, quorum=quorum, lock=lock
        )
        yield mirror, witness.vkey


def _settings(url: str, environ: Mapping[str, str]) -> StoreSettings:
    """A store whose keys stand in the environment, by the names that AWS gave them."""
    s3 = url.startswith("s3://")
    return StoreSettings(
        url=url,
        region=environ.get("AWS_REGION", "") if s3 else "",
        endpoint=environ.get("AWS_ENDPOINT_URL", "") if s3 else "",
        access_key=environ.get("AWS_ACCESS_KEY_ID", "") if s3 else "",
        secret_key=environ.get("AWS_SECRET_ACCESS_KEY", "") if s3 else "",
        session_token=environ.get("AWS_SESSION_TOKEN", "") if s3 else "",
    )
