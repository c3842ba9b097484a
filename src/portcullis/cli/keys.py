"""``portcullis keys``: what is sealed at rest, under which key, and changing that key."""

from __future__ import annotations

import contextlib
import json as codec
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from sqlalchemy import Engine

from portcullis.audit import keys as log_keys
from portcullis.audit import subjects
from portcullis.audit.subjects import SUBJECTS_FILE
from portcullis.bootstrap import elsewhere, founded, keys_of, own_log
from portcullis.bootstrap.by_hand import recorder
from portcullis.bootstrap.records import recorded, records
from portcullis.cli.operate import running_gateways
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.progress import progress
from portcullis.config import Config, load
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.ports import Sealer
from portcullis.identity.authority import open_authority
from portcullis.identity.keymanager import KEYS, sealed_files
from portcullis.identity.keys import issuer_key, kill_key
from portcullis.identity.sealing import Envelope
from portcullis.store import sealed as columns

app = typer.Typer(no_args_is_help=True)


class Holdings(NamedTuple):
    """How much is sealed, and how much of it not under the version in use."""

    files: int
    older_files: int
    values: int
    older_values: int


@app.command()
def status(*, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> None:
    """Say where the keys are, which version is in use, and what is still under older ones."""
    settings = load(config)
    if not recorded(settings):
        detail = f"nothing is sealed yet: there is no gate's state in {settings.state}"
        raise Problem("PC7005", detail, hint="Start one with `portcullis up`.")
    manager = keys_of(settings)
    with _database(settings) as engine:
        held = _held(settings.state, engine, Envelope(manager))
    _print(settings.keys.kind, manager.version, held, as_json=json)


@app.command()
def rotate(
    former: Annotated[
        Path | None,
        typer.Option("--from", help="The configuration until now, when `keys` changed."),
    ] = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Make a new version of the key and seal everything under it, while no gate runs.

    With --from, everything moves to the key manager that is configured now. A run that was
    interrupted has lost nothing: run it again.
    """
    settings = load(config)
    gateways = running_gateways(settings)
    if gateways:
        raise Problem("PC6003", f"gateways run: {', '.join(gateways)}", hint="Stop them first.")
    manager = keys_of(settings, create=True if former else None)
    sealer = Envelope(manager)
    if former is not None:
        before = settings.model_copy(update={"keys": load(former).keys})
        sealer = Envelope(manager, keys_of(before, create=False))
    with contextlib.ExitStack() as stack:
        services = founded(stack, settings, own_log(settings), sealer)
        record = recorder(stack, services)
        record("keys.rotate", {"manager": settings.keys.kind, "version": manager.version})
        version = manager.version if former else manager.rotate()
        engine = stack.enter_context(_database(settings))
        with progress("sealing anew", quiet=json):
            _reseal(settings, services, engine, sealer)
            held = _held(settings.state, engine, sealer)
        record("keys.sealed", {"version": version, **held._asdict()})
    _print(settings.keys.kind, version, held, as_json=json)


def _reseal(settings: Config, services: Services, engine: Engine, sealer: Sealer) -> None:
    """Bring everything under the newest version; each piece is whole before and after."""
    state = settings.state
    for key in (issuer_key, kill_key):
        key(state / KEYS, sealer)  # opening it seals it anew
    for folder in sorted((state / KEYS).iterdir()):
        if (folder / log_keys.SIGNER_FILE).exists() or folder.name == log_keys.DIGESTS:
            log_keys.reseal(folder, sealer)
    if (state / "ca").exists():  # here too
        open_authority(
            state / "ca",
            trust_domain=settings.trust_domain,
            settings=settings.identity,
            sealer=sealer,
            clock=services.clock,
            new_id=services.new_id,
        )
    elsewhere.reseal(state, sealer)
    columns.reseal(engine, sealer)


def _held(state: Path, engine: Engine, sealer: Sealer) -> Holdings:
    files = sealed_files(state).values()
    older = sum(not sealer.current(content) for content in files)
    values, older_values = columns.count(engine, sealer)
    for path in (state / KEYS).glob(f"*/{SUBJECTS_FILE}"):
        keys, older_keys = subjects.count(path, sealer)
        values, older_values = values + keys, older_values + older_keys
    return Holdings(len(files), older, values, older_values)


@contextlib.contextmanager
def _database(settings: Config) -> Iterator[Engine]:
    engine = records(settings)
    try:
        yield engine
    finally:
        engine.dispose()


def _print(kind: str, version: str, held: Holdings, *, as_json: bool) -> None:
    if as_json:
        print(codec.dumps({"manager": kind, "version": version, **held._asdict()}))
        return
    print(f"manager  {kind}")
    print(f"version  {version}")
    print(f"files    {held.files}, {held.older_files} of them under older versions")
    print(f"values   {held.values}, {held.older_values} of them under older versions")
    if held.older_files or held.older_values:
        sys.stderr.write("Run `portcullis keys rotate` while no gate runs.\n")
