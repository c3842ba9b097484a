"""A state directory that was put back to an older state: a new beginning that is safe.

Whatever the records gave is void (``store.fencing``), everybody is killed until an operator takes
that back, and every log begins anew under another name, since its old one went on elsewhere. The
old logs stay as they are. What a newer copy of the log tells is done again: who was erased, cut
off, isolated, suspended or revoked.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Engine

from portcullis.audit import content
from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.keys import HANDLES_FILE, destroy_derived, open_subjects
from portcullis.audit.publish import CHECKPOINT
from portcullis.audit.query import published, records
from portcullis.audit.subjects_erasure import content_path
from portcullis.audit.verify import own_verifier, read_checkpoint, read_head, verify
from portcullis.bootstrap.by_hand import recorder
from portcullis.bootstrap.foundation import CONTENT, founded
from portcullis.bootstrap.foundation import ruling as alone
from portcullis.bootstrap.orders import kept_order, signed_order
from portcullis.config import Config
from portcullis.config.places import EPOCH, Role, audit_directory, logs_of, own_log
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.core.lifecycle import Verb
from portcullis.core.ports import Sealer
from portcullis.core.principal import PrincipalKind
from portcullis.identity.keymanager import KEYS
from portcullis.identity.private import exclusive, write_private
from portcullis.store import fencing
from portcullis.store.mark import MARKED
from portcullis.store.memories import raise_all
from portcullis.store.ruling import only

RESTORED: Final = "backup.restored"
BEGIN: Final = "log.begin"
_WIDTH: Final = 200
_MARGIN_SECONDS: Final = 300.0


class Former(msgspec.Struct, frozen=True):
    """A log that ended: its published checkpoint, and its newest one that is known elsewhere."""

    origin: str
    size: int
    root: str
    newest_size: int
    newest_root: str


class Fenced(msgspec.Struct, frozen=True, kw_only=True):
    """What was done. ``log`` is the folder of the log of who rules from now on, ``vkey`` its key.

    ``epoch`` is what the names of new logs end with, empty where the old ones go on.
    ``done_again`` counts what a newer copy of the log told, by its event. ``memories`` is how
    confidential what agents' memories hold is taken for, None where they were put back, too.
    """

    epoch: str
    log: Path
    vkey: str
    former: dict[str, Former]
    done_again: dict[str, int]
    memories: str | None


def fence(
    config: Config,
    engine: Engine,
    sealer: Sealer,
    newer: Path | None,
    now: float,
    said: Mapping[str, Any],
    *,
    memories_too: bool = False,
    database_from: float | None = None,
) -> Fenced:
    """Begin anew in ``config.state``, whose records are ``engine``'s, while nothing runs. Blocks.

    ``newer`` is the folder of a newer copy of the log of who rules; ``memories_too`` says that
    agents' memories were put back to the same time, or emptied. With ``database_from`` the records
    alone were put back, to this time: what the logs here tell since is done again, and they go on.
    ``said`` goes on record with what was done. Run again it begins once more. Raises Problem PC6035
    for a copy that is not newer, PC6001, PC6002, PC6003, PC7001 or PC7010 when something cannot be
    used.
    """
    with alone(config.state), only(engine, "control"):  # nobody rules, on whatever host
        pass
    ruling, former, epoch = own_log(config), dict[str, Former](), ""
    if database_from is None:
        events = _since(config, ruling, newer)
        former = {name: _former(path) for name, path in logs_of(config).items()}
        if newer is not None:
            former[ruling] = _former(audit_directory(config, ruling), newer)
        epoch = unused_epoch(now, former)
    else:
        events = _after(config, database_from)
    when = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    kept_order(config, signed_order(config, "kill", f"put back to an older state on {when}"))
    level = None if memories_too else raise_all(engine, sealer).value
    fencing.take_back(engine, now, config.state / MARKED)
    again = Counter(method for method in _done_again(config, engine, sealer, events, now) if method)
    if epoch:
        with exclusive(config.state):
            write_private(config.state / EPOCH, f"{epoch}\n".encode())
    told = {"newer_log": newer is not None, "done_again": dict(again), "memories": level}
    log = _recorded(config, sealer, former, {**said, **told})
    return Fenced(
        epoch=epoch,
        log=log,
        memories=level,
        vkey=str(own_verifier(log)),
        former=former,
        done_again=dict(again),
    )


def _former(place: Path, newer: Path | None = None) -> Former:
    """Where a log ended, for whoever reads the new one."""
    last = _published(place)
    newest = last if newer is None else _published(newer)
    return Former(last.origin, last.size, last.root.hex(), newest.size, newest.root.hex())


def _published(place: Path) -> Checkpoint:
    """What readers saw of a log; its head when nothing was published."""
    verifier = own_verifier(place)
    try:
        return read_checkpoint(place, verifier)[0]
    except Problem:
        return read_head(place, verifier)


def _since(config: Config, log: str, newer: Path | None) -> tuple[Event, ...]:
    """What a newer copy of a log tells beyond the one here, once it was verified."""
    if newer is None:
        return ()
    place = audit_directory(config, log)
    verifier = own_verifier(place)
    size = read_head(place, verifier).size
    try:
        held = (place / CHECKPOINT).read_bytes()
    except OSError:
        held = None
    try:
        report = verify(newer, verifier, held)
    except Problem as problem:
        raise Problem("PC6035", f"{newer}: {problem.detail}") from None
    if not report.ok:
        raise Problem("PC6035", f"{newer}: {report.reasons[0]}")
    if report.size < size:
        raise Problem("PC6035", f"{newer} has {report.size} entries, this log {size}")
    return tuple(one.event for one in published(newer, verifier, size))


def _after(config: Config, when: float) -> tuple[Event, ...]:
    """What every log of who ruled tells since a time, some more included: clocks differ."""
    least = datetime.fromtimestamp(when - _MARGIN_SECONDS, UTC)
    found = [
        one.event
        for name, place in logs_of(config).items()
        if Role.of(name).rules
        for one in records(place, own_verifier(place))
        if one.event.time >= least
    ]
    return tuple(sorted(found, key=lambda event: event.time))


def _done_again(
    config: Config, engine: Engine, sealer: Sealer, events: tuple[Event, ...], now: float
) -> Iterator[str]:
    """Do what was done since; the method of each event that this is for."""
    for event in events:
        if event.type is not EventType.ADMIN or event.verdict != "allow":
            continue
        noun, _, verb = event.method.partition(".")
        scope, _, value = event.name.partition(":")
        why = str(event.parameters.get("reason", ""))[:_WIDTH]
        match noun, verb:
            case "audit", "erase":
                _erase(config, sealer, event.parameters.get("tags", {}))
            case "kills", "kill" if scope != "all":
                fencing.cut(engine, "cut", scope, value, now, why)
            case "kills", "undo" if scope != "all":
                fencing.uncut(engine, "cut", scope, value)
            case "credentials", "revoke":
                fencing.cut(engine, "cut", "credential", event.name, now, why)
            case "quarantine", "begin":
                fencing.cut(engine, "isolation", scope, value, now, why)
            case "quarantine", "end":
                fencing.uncut(engine, "isolation", scope, value)
            case "principals", "suspend" | "resume" | "revoke" | "expire" | "review":
                with contextlib.suppress(Problem):  # it is so already
                    fencing.live(engine, PrincipalKind(scope), value, Verb(verb))
            case _:
                continue
        yield event.method


def _erase(config: Config, sealer: Sealer, tags: dict[str, str]) -> None:
    """Destroy the keys of a subject and the content under them, by the tags on record."""
    for log, tag in tags.items():
        folder = config.state / KEYS / log
        if not (folder / HANDLES_FILE).exists():
            continue
        with contextlib.closing(open_subjects(folder, sealer)) as keys:
            handles = keys.reach(bytes.fromhex(tag))
            content.forget(content_path(config.state / CONTENT, log), handles)
            keys.erase(handles)
        destroy_derived(folder)


def unused_epoch(now: float, logs: Iterable[str]) -> str:
    """What the new logs' names end with: the second, or the next that no log has yet.

    Of two restores within a second, the other's log would be continued, and not begun.
    """
    taken = {name.partition(".")[2] for name in logs}
    while (epoch := datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")) in taken:
        now += 1.0
    return epoch


def _recorded(
    config: Config, sealer: Sealer, former: dict[str, Former], said: dict[str, Any]
) -> Path:
    """Begin the new log of who rules: what it follows, and what was done. Its folder."""
    alone = config.audit.model_copy(update={"witnesses": None, "await_witnesses": ()})
    config = config.model_copy(update={"audit": alone})  # they are told of its key afterwards
    name = own_log(config)
    with contextlib.ExitStack() as stack:
        services = founded(stack, config, name, sealer)
        record = recorder(stack, services)
        for each, last in former.items():
            if Role.of(each).lasting:
                record(BEGIN, {"log": each, **msgspec.structs.asdict(last)})
        record(RESTORED, said)
    return audit_directory(config, name)
