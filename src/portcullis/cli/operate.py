"""Direct or remote: the one place that decides how a command administers a deployment.

While a gate runs it is the only writer of its log and holds the sessions, so commands ask its
control plane. Otherwise they open the store and the log themselves. Either way the authority is
the issuer's key in the state directory: whoever can read it is the operator ``local-NAME``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

from portcullis.bootstrap import (
    GATE,
    GATE_FILE,
    authority_of,
    founded,
    local_operator,
    started,
)
from portcullis.cli.direct import Direct
from portcullis.cli.remote import Remote, call
from portcullis.config import Config
from portcullis.core.errors import Problem

__all__ = [
    "PATIENCE_SECONDS",
    "Operations",
    "RunningGate",
    "call",
    "local_operator",
    "operations",
    "running_gate",
]

PATIENCE_SECONDS: Final = 5
"""How long a command waits for another process that has the log open and is no running gate."""


class RunningGate(msgspec.Struct, frozen=True):
    """What a running gate says of itself in ``gate.json``: its URLs and its process id.

    ``mtls`` is empty when that listener is off. ``started`` tells its process from a later one
    of the same number.
    """

    control: str
    gate: str
    pid: int
    mtls: str = ""
    started: str = ""


def running_gate(config: Config) -> RunningGate | None:
    """The gate that runs on this state directory, or None. Raises Problem PC7001 for a bad file."""
    path = config.state / GATE_FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=RunningGate)
        if found.started and found.started != started(found.pid):
            return None  # it left this file behind, and its number is another's now
        os.kill(found.pid, 0)
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return None
    except PermissionError as error:
        raise Problem("PC7001", f"the gate of {path} is another user's: {error.strerror}") from None
    except msgspec.DecodeError:
        hint = "If no gate runs, remove that file."
        raise Problem("PC7001", f"{path} is not what a gate writes", hint=hint) from None
    return found


@contextlib.contextmanager
def operations(config: Config, log: str = GATE) -> Iterator[Operations]:
    """Administer the deployment of ``config`` until the block ends.

    What is done is recorded by the gate that runs. While none does it is recorded in ``log`` or,
    when another process writes that, in the gate's own.
    """
    with contextlib.ExitStack() as stack:
        yield _reached(stack, config, log)


def _reached(stack: contextlib.ExitStack, config: Config, log: str) -> Operations:
    """The gate that runs, or else the store and a log; a gate that is starting gets its time."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        gate = running_gate(config)
        if gate is not None:
            return Remote(gate.control, authority_of(config))
        try:
            return _direct(stack, config, log)
        except Problem as problem:
            if problem.code != "PC6003" or time.monotonic() > until:
                raise
            log = GATE
        time.sleep(0.05)


def _direct(stack: contextlib.ExitStack, config: Config, log: str) -> Operations:
    """Open the store and a log, as its only writer (else Problem PC6003)."""
    services = founded(stack, config, log)
    return Direct(stack.enter_context(asyncio.Runner()), services)


Operations: TypeAlias = Remote | Direct
"""What the commands do. Refusals are Problems, recorded where they happen."""
