"""Whether gateways on other hosts are there, and whether this host has what one needs."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from portcullis.audit.publish import CHECKPOINT
from portcullis.bootstrap.hosts_followed import SEEN
from portcullis.bootstrap.hosts_published import NAMES
from portcullis.bootstrap.hosts_retired import retired_of
from portcullis.bootstrap.keys import keys_of
from portcullis.bootstrap.records import place_of
from portcullis.cli.doctor_finding import Finding
from portcullis.cli.operate import running_gate
from portcullis.config import Config
from portcullis.config.places import VKEY, Role, audit_directory
from portcullis.core.errors import Problem
from portcullis.core.hosts import Presence, Retired
from portcullis.identity.keymanager import KEYS
from portcullis.identity.sealing import Envelope
from portcullis.store import postgresql
from portcullis.store.hosts import SqlPresences, SqlShelf

_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR
_GONE: Final = 7 * _DAY
_OLD: Final = 120.0
"""Seconds after which a log counts as one that does not come."""


def hosts(config: Config) -> Iterator[Finding]:
    """What is missing between hosts; nothing where records are in a file, which is of one host."""
    started = config.apart or (config.state / KEYS).is_dir()
    if config.store.url is None or not started:  # before the first start nobody knows of it
        return
    with contextlib.ExitStack() as stack:
        try:
            engine = postgresql.connect(str(place_of(config)), pool=4)
            stack.callback(engine.dispose)
            sealer = Envelope(keys_of(config, create=False))
            if config.apart:
                yield _published(config, SqlShelf(engine, sealer))
            presences = SqlPresences(engine, sealer)
            retired = retired_of(config.state)
            running = {
                one.name: one.policy for one in presences.running() if one.name not in retired
            }
            for one in presences.all():
                if one.name in retired:
                    yield _retired(retired[one.name])
                elif one.apart and not config.apart:
                    yield _there(config, one, runs=one.name in running)
            if len(running) > 1:
                yield _policies(running)
            rules = running_gate(config)
            if rules is not None and rules.role is Role.CONTROL and not running:
                do = "Start `portcullis gateway --name NAME`."
                yield Finding("gateway", ok=False, found="none runs", do=do)
        except Problem as problem:
            yield Finding("hosts", ok=False, found=problem.detail, do=problem.hint)
        except SQLAlchemyError as error:
            do = "See `database` above; start the control plane once."
            yield Finding("hosts", ok=False, found=postgresql.reason(error), do=do)


def _published(config: Config, shelf: SqlShelf) -> Finding:
    """Whether the control plane has published what a gateway here starts from."""
    there = shelf.versions()
    missing = [name for name in NAMES if name not in there]
    if missing:
        do = "Start `portcullis control` on its host, with the same database."
        return Finding("control", ok=False, found="it has published nothing yet", do=do)
    for name in NAMES:
        shelf.get(name)
    taken = "taken over" if (config.state / SEEN).exists() else "not taken over yet"
    return Finding("control", ok=True, found=f"elsewhere; its keys are published, and {taken}")


def _retired(one: Retired) -> Finding:
    how = f"closed with {one.entries} entries" if one.closed else "not closed yet"
    found = f"retired {_long(max(0.0, time.time() - one.at))} ago; its log is {how}"
    return Finding(f"gateway {one.name}", ok=True, found=found)


def _there(config: Config, said: Presence, *, runs: bool) -> Finding:
    """Whether a gateway of another host runs, and its log comes here."""
    what, ago = f"gateway {said.name}", max(0.0, time.time() - said.at)
    if not runs:
        how = "ended" if said.ended else "was heard last"
        found = f"it does not run; on {said.host} it {how} {_long(ago)} ago"
        do = f"Start it. What has not run for {_GONE / _DAY:g} days is not missed."
        return Finding(what, said.ended or ago > _GONE, found, do)
    if not (audit_directory(config, said.log) / VKEY).exists():
        found = f"it runs on {said.host}, and its log has not come here"
        do = "Name the same store under `audit.replicate` on both hosts."
        return Finding(what, ok=False, found=found, do=do)
    checkpoint = audit_directory(config, said.log) / CHECKPOINT
    old = time.time() - checkpoint.stat().st_mtime if checkpoint.exists() else math.inf
    if old > _OLD:  # each look writes it, also when nothing is new
        seen = "never" if old == math.inf else f"last {_long(old)} ago"
        found = f"it runs on {said.host}, and its log was looked at {seen}"
        do = "Start the control plane, or see `hosts.log` in its log and the store."
        return Finding(what, ok=False, found=found, do=do)
    found = f"{said.urls.get('gate', said.host)} runs on {said.host}, version {said.version}"
    return Finding(what, ok=True, found=found)


def _policies(running: Mapping[str, str]) -> Finding:
    """Whether all gateways decide by one policy, as far as they have said by which."""
    groups: dict[str, list[str]] = {}
    for name, digest in running.items():
        if digest:
            groups.setdefault(digest, []).append(name)
    said = "; ".join(f"{', '.join(names)} by {digest[:15]}" for digest, names in groups.items())
    do = "If that lasts, give all hosts the same policy: see `policy_source`."
    return Finding("policy of gateways", len(groups) < 2, said or "not said yet", do)  # noqa: PLR2004 - one


def _long(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _HOUR else f"{seconds / _HOUR:.0f} h"
