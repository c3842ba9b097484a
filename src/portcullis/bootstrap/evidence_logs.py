"""Which logs a deployment's evidence is of: of those who rule and of gateways, now and before."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from portcullis.audit.keys import SIGNER_FILE
from portcullis.audit.publish import CHECKPOINT
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.figures import shown_lately
from portcullis.bootstrap.presence import GATE_FILE, found_in, present
from portcullis.config import Config
from portcullis.config.places import (
    CONTROL,
    GATE,
    VKEY,
    Role,
    audit_directory,
    gateway_file,
    log_name,
    logs_of,
    own_log,
)
from portcullis.core.errors import Problem
from portcullis.review.logs import Log, Logs

_BEGINNING: Final = 60.0
"""For so many seconds a log that begins may have keys and no checkpoint."""


def evidence_logs(
    config: Config, now: float, own: str | None = None, *, patient: bool = False
) -> Logs:
    """The logs at ``now``, in seconds since the epoch; ``own`` is by default that of who rules.

    Missing are those of which only the keys are left, or whose own key is none or another's; logs
    of ``portcullis mcp`` are not among them. ``patient`` leaves out one that has begun within the
    last minute and published nothing yet: nothing that is signed rests on that. Blocks. Raises
    Problem PC7005 when there is no log of who rules.
    """
    own = own or ruling(config)
    others, missing = [], set[str]()
    for name, place in logs_of(config).items():
        if name == own or not Role.of(name).lasting:
            continue
        if patient and not (place / CHECKPOINT).exists() and _young(place / VKEY, now):
            continue
        try:
            key = own_verifier(place)
        except Problem:
            missing.add(name)
            continue
        if key.name == f"{config.trust_domain}/{name}":
            others.append(Log(name, place, key, _rests(config, name)))
        else:  # another's log in its place
            missing.add(name)
    missing |= {
        name
        for name, key in _keys(config).items()
        if not (audit_directory(config, name) / VKEY).exists()
        and not (patient and _young(key, now))
    }
    place = audit_directory(config, own)
    return Logs(Log(own, place, own_verifier(place)), tuple(others), tuple(sorted(missing)))


def ruling(config: Config) -> str:
    """The log of who rules now or, while nothing runs, of what commands do."""
    try:
        running = found_in(config.state / GATE_FILE)
    except Problem:
        running = None
    if running is None:
        return own_log(config)
    own = log_name(config, GATE if running.role is Role.ALONE else CONTROL)
    return own if own in logs_of(config) else own_log(config)


def _rests(config: Config, name: str) -> bool:
    """Whether nobody writes a log that is not the ruling one."""
    if Role.of(name).rules:
        return True
    process = name.partition(".")[0]
    if name != log_name(config, process):
        return True
    return present(gateway_file(config, process)) is None and not shown_lately(config, process)


def _keys(config: Config) -> dict[str, Path]:
    """The logs that there have ever been, with the key of each."""
    keys = (config.state / "keys").glob(f"*/{SIGNER_FILE}")
    return {path.parent.name: path for path in keys if Role.of(path.parent.name).lasting}


def _young(path: Path, now: float) -> bool:
    try:
        return now - path.stat().st_mtime < _BEGINNING
    except OSError:
        return False
