"""``portcullis backup``: copy a deployment while it runs, check the copy, put it back."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portcullis.cli.audit_lines import clean, note, print_json
from portcullis.cli.audit_privacy import Reason, line
from portcullis.cli.audit_sealed import Passphrase, key_of
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.cli.progress import progress
from portcullis.core.errors import Problem

if TYPE_CHECKING:
    from portcullis.bootstrap.fence import Fenced
    from portcullis.config import Config

app = typer.Typer(no_args_is_help=True)

Backup = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]
IdentityFile = Annotated[
    Path, typer.Option("--identity", help="The private key (PEM) that the backup was sealed to.")
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="The public key of the log of who rules, from elsewhere; default: that in the backup.",
    ),
]
NewerLog = Annotated[
    Path | None,
    typer.Option(
        "--newer-log",
        metavar="DIR",
        help="A newer copy of the log of who rules: what it tells since is done again.",
    ),
]
WithoutNewerLog = Annotated[
    bool,
    typer.Option(
        "--without-newer-log",
        help="There is none: what was erased, cut off or revoked since is not known.",
    ),
]
MemoriesToo = Annotated[
    bool,
    typer.Option(
        "--memories-too",
        help="Agents' memories were put back to the same time, or emptied: their labels hold.",
    ),
]
DatabaseFrom = Annotated[
    str,
    typer.Option(
        "--database-from",
        metavar="TIME",
        help="Only the database was put back, to this time: what logs tell since is done again.",
    ),
]
_PATIENCE_SECONDS = 60.0
_WITNESSES = "Tell the witnesses the new log's key. "
_UNHELD = "held against the key in the backup itself: give --key to know whose it is"


@app.callback()
def _about() -> None:
    """Copy all of it while it runs, check the copy, put it back."""


@app.command()
def create(
    to: Annotated[Path, typer.Option("--to", help="The file to make, or a folder for it.")],
    encrypt_to: Annotated[
        Path,
        typer.Option(
            help="The public keys (PEM) of who can read it: see `portcullis audit identity`."
        ),
    ],
    reason: Reason,
    *,
    with_root_key: Annotated[
        bool,
        typer.Option(help="Have the key file of the key manager go along, which opens all keys."),
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Copy records, keys, logs, content and policy into one sealed file, whatever runs meanwhile.

    It is on record before anything is copied, and once more with the SHA-256 of what was made.
    """
    from portcullis.audit.recipients import load_recipients  # noqa: PLC0415 - slow
    from portcullis.bootstrap import backup as making  # noqa: PLC0415 - the same
    from portcullis.cli.operate import operations  # noqa: PLC0415 - the same
    from portcullis.config.places import audit_directory, own_log  # noqa: PLC0415 - the same

    settings, recipients, why = load(config), load_recipients(encrypt_to), line(reason)
    target, now = _target(to, settings), time.time()
    with operations(settings) as work, progress("copying", quiet=json):
        begun = work.backup(recipients.names, why, root_key=with_root_key)
        _await_head(audit_directory(settings, own_log(settings)), begun.size)
        digest, size = making.create(
            settings, config, target, recipients, backup=begun.id, now=now, root_key=with_root_key
        )
        work.backed_up(begun.id, digest, size)
    said = {"id": begun.id, "file": str(target), "bytes": size, "digest": digest}
    if json:
        print_json(said | {"recipients": list(recipients.names)})
        return
    print(f"{target}  {size} bytes  sha256 {digest}")
    note(f"sealed to {', '.join(recipients.names)}; backup {begun.id}")
    if not with_root_key:
        note("what opens the keys in it is not in it: keep that apart (docs/keys.md)")


@app.command()
def verify(
    file: Backup,
    identity: IdentityFile,
    key: Key = None,
    *,
    passphrase: Passphrase = False,
    configuration: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write configuration and policy there.")
    ] = None,
    json: Json = False,
) -> None:
    """Check everything in a backup, without a gate: manifest, logs, every row, every file.

    Exit code 5 when something is not as it was made.
    """
    from portcullis.bootstrap import backup as making  # noqa: PLC0415 - slow
    from portcullis.bootstrap.backup_read import opened  # noqa: PLC0415 - the same

    who = key_of(identity, passphrase=passphrase)
    with progress("checking", quiet=json), opened(file, who, _verifier(key)) as found:
        if configuration is not None:
            _written(found.folder / making.CONFIGURATION, configuration)
        manifest, said = found.manifest, dict(making.told(found.manifest))
    if json:
        print_json(said)
        return
    made = datetime.fromtimestamp(manifest.made_at, UTC)
    print(f"backup {clean(manifest.id)} of {clean(manifest.trust_domain)}")
    print(f"  made    {made:%Y-%m-%d %H:%M:%SZ}")
    print(f"  rows    {said['rows']}")
    for name, log in manifest.logs.items():
        print(f"  log     {clean(name)}: {log.size} entries, root {log.root}")
    if key is None:
        note(_UNHELD)


@app.command()
def restore(
    file: Backup,
    identity: IdentityFile,
    to: Annotated[
        Path | None, typer.Option(help="The state directory; default: the configuration's.")
    ] = None,
    key: Key = None,
    newer_log: NewerLog = None,
    root_key: Annotated[
        Path | None, typer.Option(help="The key file of the key manager, where it was kept apart.")
    ] = None,
    *,
    without_newer_log: WithoutNewerLog = False,
    memories_too: MemoriesToo = False,
    passphrase: Passphrase = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Put a backup back into an empty place. Everybody is killed until you take that back.

    Credentials, sessions, approvals and links from before are void, and every log begins anew.
    """
    from portcullis.bootstrap.backup_restore import restore as put_back  # noqa: PLC0415 - slow

    newer = _newer(newer_log, without=without_newer_log)
    settings = load(config)
    if to is not None:
        settings = settings.model_copy(update={"state": to})
    who = key_of(identity, passphrase=passphrase)
    with progress("restoring", quiet=json):
        done = put_back(
            settings,
            file,
            who,
            _verifier(key),
            newer=newer,
            root_key=root_key,
            now=time.time(),
            memories_too=memories_too,
        )
    if key is None:
        note(_UNHELD)
    _tell(done.fenced, {"id": done.manifest.id, "state": str(settings.state)}, as_json=json)


@app.command()
def fence(
    reason: Reason,
    newer_log: NewerLog = None,
    database_from: DatabaseFrom = "",
    *,
    without_newer_log: WithoutNewerLog = False,
    memories_too: MemoriesToo = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Begin anew where the state was put back by other means (a snapshot), while nothing runs.

    It is what `restore` does at its end: the old logs stay, and new ones begin. With
    --database-from they go on: only the records are from before.
    """
    from portcullis.bootstrap import keys_of  # noqa: PLC0415 - slow
    from portcullis.bootstrap.fence import fence as begin_anew  # noqa: PLC0415 - the same
    from portcullis.bootstrap.records import recorded, records  # noqa: PLC0415 - the same
    from portcullis.cli.audit_lines import moment  # noqa: PLC0415 - the same
    from portcullis.cli.operate import running_gate, running_gateways  # noqa: PLC0415 - the same
    from portcullis.identity.sealing import Envelope  # noqa: PLC0415 - the same

    why, newer, since = line(reason), None, moment(database_from)
    if since is None:
        newer = _newer(newer_log, without=without_newer_log)
    elif newer_log is not None or without_newer_log:
        raise Problem("PC7004", "--database-from is for a folder whose logs are the newest")
    settings = load(config)
    if running_gate(settings) is not None or running_gateways(settings):
        raise Problem("PC6003", "a gate runs", hint="Stop it first.")
    if not recorded(settings):
        raise Problem("PC7005", f"there is no gate's state in {settings.state}")
    engine = records(settings)
    try:
        sealer = Envelope(keys_of(settings, create=False))
        now, said = time.time(), {"reason": why}
        done = begin_anew(
            *(settings, engine, sealer, newer, now, said),
            memories_too=memories_too,
            database_from=None if since is None else since.timestamp(),
        )
    finally:
        engine.dispose()
    _tell(done, {"state": str(settings.state)}, as_json=json)


def _target(to: Path, settings: Config) -> Path:
    if not to.is_dir():
        return to
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return to / f"{settings.trust_domain}-{stamp}.backup"


def _await_head(log: Path, size: int) -> None:
    """Wait until the log's writer has signed so many entries: the backup's own record is in it."""
    from portcullis.audit.verify import own_verifier, read_head  # noqa: PLC0415 - slow

    until = time.monotonic() + _PATIENCE_SECONDS
    while read_head(log, own_verifier(log)).size < size:
        if time.monotonic() > until:
            raise Problem("PC6001", f"the log has not signed entry {size}")
        time.sleep(0.05)


def _verifier(key: str | None) -> Any:
    from portcullis.audit.verify import load_verifier  # noqa: PLC0415 - slow

    return None if key is None else load_verifier(key)


def _newer(log: Path | None, *, without: bool) -> Path | None:
    if (log is None) != without:
        hint = "A replica, a mirror, or the disk of the old machine has one (docs/backup.md)."
        raise Problem("PC7004", "say --newer-log DIR or --without-newer-log", hint=hint)
    return log


def _written(source: Path, target: Path) -> None:
    import shutil  # noqa: PLC0415 - only for this

    if target.exists():
        raise Problem("PC6034", f"{target} is there already", hint="Choose another name.")
    shutil.copytree(source, target)


def _tell(done: Fenced, said: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        import msgspec  # noqa: PLC0415 - slow

        more = {"log": str(done.log), "vkey": done.vkey, "done_again": done.done_again}
        also = {"former": msgspec.to_builtins(done.former), "memories": done.memories}
        print_json(said | more | also)
        return
    for name, one in done.former.items():
        print(f"ended   {clean(name)}: {one.size} entries, root {one.root}")
    print(f"{'begun' if done.epoch else 'goes on':7} {done.log}")
    print(f"vkey    {done.vkey}")
    for method, count in sorted(done.done_again.items()):
        print(f"again   {method}: {count}")
    if done.memories is not None:
        print(f"holds   memories of agents: {done.memories}, whatever is read there")
    sys.stderr.write(
        f"{_WITNESSES if done.epoch else ''}Everybody is killed: look at who there is, then\n"
        "`portcullis kill --all --undo --reason ...`. Operators need new passwords\n"
        "(`portcullis operator password NAME`), users connect their accounts again.\n"
    )
