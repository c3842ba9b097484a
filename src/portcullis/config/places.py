"""Which processes a deployment has, and where each keeps what is its own.

A log's name says what its writer is: ``gate`` is everything in one process, ``control`` the
control plane alone, ``mcp-...`` a ``portcullis mcp``; every other name is a gateway's. In a folder
that was restored from a backup a point and the time of that follow (``log_name``).
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Final

from portcullis.config import Config
from portcullis.config.common import NAME
from portcullis.core.errors import Problem

GATE: Final = "gate"
"""The name of the gate's own log, where one process is everything."""
CONTROL: Final = "control"
"""The name of the control plane's log, where gateways are processes of their own."""
_WRAPPER: Final = "mcp-"
_WRAPPERS: Final = "mcp"
_LOGS: Final = "logs"
_GATEWAYS: Final = "gateways"
VKEY: Final = "log.vkey"
EPOCH: Final = "epoch"
"""Below the state directory, where it was restored: what the names of its logs end in since."""


class Role(StrEnum):
    """What a process is to its deployment.

    Who ``rules`` is the only one of its kind: it changes the authority, decides, keeps up what all
    share. Who ``enforces`` serves agents over the network. What a process that is not ``alone``
    knows, others have to know too.
    """

    ALONE = "alone"
    CONTROL = "control"
    GATEWAY = "gateway"
    WRAPPER = "wrapper"

    @classmethod
    def of(cls, log: str) -> Role:
        """The role of whoever writes the log of this name."""
        log = log.partition(".")[0]
        if log == GATE:
            return cls.ALONE
        if log == CONTROL:
            return cls.CONTROL
        return cls.WRAPPER if log.startswith(_WRAPPER) else cls.GATEWAY

    @property
    def rules(self) -> bool:
        """Whether it is the control plane, alone or not."""
        return self in {Role.ALONE, Role.CONTROL}

    @property
    def enforces(self) -> bool:
        """Whether it has listeners for agents."""
        return self in {Role.ALONE, Role.GATEWAY}

    @property
    def alone(self) -> bool:
        """Whether no other process serves the same agents in the same sessions."""
        return self is Role.ALONE

    @property
    def lasting(self) -> bool:
        """Whether its log is the deployment's: witnessed, stamped, replicated. A wrapper's is not.

        A wrapper is started and ended by a desktop client, many times over.
        """
        return self is not Role.WRAPPER


def gateway_name(name: str) -> str:
    """The name of a gateway. Raises Problem PC7004 for one that it cannot have."""
    if re.fullmatch(NAME.strip("^$"), name) is None:
        raise Problem("PC7004", "--name is 1 to 63 of a-z, 0-9, - and _")
    if Role.of(name) is not Role.GATEWAY:
        raise Problem("PC7004", f"{name} is the name of another kind of process")
    return name


def log_name(config: Config, process: str) -> str:
    """What the log of a process is called: as the process, until its folder was restored.

    From then on each has a new one, since the old logs went on after the backup was made: who
    added to the copy would write another history. Raises Problem PC7001.
    """
    try:
        epoch = (config.state / EPOCH).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return process
    except (OSError, ValueError) as error:
        raise Problem("PC7001", f"{config.state / EPOCH} cannot be read: {error}") from None
    return f"{process}.{epoch}"


def audit_directory(config: Config, name: str = GATE) -> Path:
    """Where a log lies, by its name."""
    match Role.of(name):
        case Role.ALONE if name == GATE:
            return config.state / "log"
        case Role.WRAPPER:
            return config.state / _WRAPPERS / name
        case _:
            return config.state / _LOGS / name


def logs_of(config: Config) -> dict[str, Path]:
    """The logs that there are, by name: of every process that has ever had one."""
    found = {GATE: audit_directory(config)}
    for folder in (_LOGS, _WRAPPERS):
        for path in (config.state / folder).glob(f"*/{VKEY}"):
            found[path.parent.name] = path.parent
    return {name: path for name, path in sorted(found.items()) if (path / VKEY).is_file()}


def gateway_logs(config: Config) -> dict[str, Path]:
    """Those of gateways that are processes of their own."""
    found = logs_of(config)
    return {name: path for name, path in found.items() if Role.of(name) is Role.GATEWAY}


def own_log(config: Config) -> str:
    """The log of what commands do while nothing runs.

    The gate's, unless there is only that of a control plane.
    """
    split = audit_directory(config, CONTROL).exists() and not audit_directory(config).exists()
    return log_name(config, CONTROL if split else GATE)


def ruling_logs(config: Config) -> tuple[Path, ...]:
    """Where the logs lie that tell of holds and erasures: those of who rules, or ruled."""
    names = {GATE, CONTROL, log_name(config, GATE), log_name(config, CONTROL)}
    names |= {name for name in logs_of(config) if Role.of(name).rules}
    return tuple(audit_directory(config, name) for name in sorted(names))


def gateway_file(config: Config, name: str) -> Path:
    """What a running gateway says of itself."""
    return config.state / _GATEWAYS / f"{name}.json"


def gateway_feed(config: Config, name: str) -> Path:
    """What a gateway keeps of the kill feed, for when it starts again."""
    return config.state / _GATEWAYS / f"{name}.feed"


def gateway_figures(config: Config, name: str) -> Path:
    """The figures of a running gateway, in Prometheus' text format."""
    return config.state / _GATEWAYS / f"{name}.prom"


def gateway_files(config: Config) -> tuple[Path, ...]:
    """What the gateways say that run, or did not end well."""
    return tuple(sorted((config.state / _GATEWAYS).glob("*.json")))
