"""Direct or remote: the one place that decides how a command administers a deployment.

While a gate runs it is the only writer of its log and holds the sessions, so commands ask its
control plane. Otherwise they open the store and the log themselves. Either way the authority is
the issuer's key in the state directory: whoever can read it is the operator ``local-NAME``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import structs

from portcullis.bootstrap import GATE_FILE, authority_of, local_operator, own_log
from portcullis.bootstrap.presence import Running, found_in
from portcullis.cli.remote import Remote
from portcullis.cli.remote_call import call
from portcullis.config import Config
from portcullis.config.places import gateway_files
from portcullis.core.errors import Problem

if TYPE_CHECKING:
    from portcullis.cli.direct import Direct

__all__ = [
    "PATIENCE_SECONDS",
    "Operations",
    "RunningGate",
    "call",
    "local_operator",
    "operations",
    "running_gate",
    "running_gateways",
]

PATIENCE_SECONDS: Final = 5
"""How long a command waits for another process that has the log open and is no running gate."""


RunningGate: TypeAlias = Running
"""What rules a deployment says of itself: its control plane's URL, and those of its gateways."""


def running_gate(config: Config) -> RunningGate | None:
    """What rules this state directory now, or None: a gate, or a control plane beside gateways.

    Raises Problem PC7001 for a bad file.
    """
    path = config.state / GATE_FILE
    found = found_in(path)
    if found is not None and not found.control:
        hint = "If no gate runs, remove that file."
        raise Problem("PC7001", f"{path} is not what a gate writes", hint=hint)
    if found is None or (found.gate and found.mtls):
        return found
    for one in running_gateways(config).values():  # at addresses that the control plane cannot know
        found = structs.replace(found, gate=found.gate or one.gate, mtls=found.mtls or one.mtls)
    return found


def running_gateways(config: Config) -> dict[str, Running]:
    """The gateways that run, by name. Raises Problem PC7001 for a bad file."""
    found = {path.stem: found_in(path) for path in gateway_files(config)}
    return {name: one for name, one in found.items() if one is not None}


@contextlib.contextmanager
def operations(config: Config, log: str = "") -> Iterator[Operations]:
    """Administer the deployment of ``config`` until the block ends.

    What is done is recorded by the control plane that runs. While none does it is recorded in
    ``log`` or, by default and when another process writes that, in the deployment's own.
    """
    with contextlib.ExitStack() as stack:
        yield _reached(stack, config, log or own_log(config))


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
            log = own_log(config)
        time.sleep(0.05)


def _direct(stack: contextlib.ExitStack, config: Config, log: str) -> Operations:
    """Open the store and a log, as its only writer (else Problem PC6003)."""
    from portcullis.bootstrap import founded  # noqa: PLC0415 - not loaded to ask a running gate
    from portcullis.cli.direct import Direct  # noqa: PLC0415 - the same

    services = founded(stack, config, log)
    return Direct(stack.enter_context(asyncio.Runner()), services)


Operations: TypeAlias = "Remote | Direct"
"""What the commands do. Refusals are Problems, recorded where they happen."""
