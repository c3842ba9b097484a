"""Writes what a command does, while no gate runs, into the log that it opened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from portcullis.bootstrap.local import local_operator
from portcullis.control.services import Services
from portcullis.identity.records import IdentityRecords


def recorder(
    stack: contextlib.ExitStack, services: Services
) -> Callable[[str, dict[str, Any]], None]:
    """Records a method with its parameters durably, as of who runs the command."""
    runner = stack.enter_context(asyncio.Runner())
    records = IdentityRecords(services.gateway, services.recorder, services.clock, services.new_id)

    def record(method: str, parameters: dict[str, Any]) -> None:
        work = records.done(
            method,
            kind="operator",
            principal=local_operator(),
            credential="issuer-key",
            source="cli",
            parameters=parameters,
        )
        runner.run(work)

    return record
