"""Where workloads on this machine find the gate of a configuration."""

from __future__ import annotations

from typing import NamedTuple

from portcullis.cli.operate import running_gate
from portcullis.config import Config
from portcullis.core.errors import Problem


class Addresses(NamedTuple):
    """``gate`` is its mutual TLS listener, ``enrol`` where join tokens are redeemed."""

    gate: str
    enrol: str


def addresses(config: Config) -> Addresses:
    """Those of the gate that runs, else as configured. Raises Problem PC7004 without ``mtls``."""
    try:
        running = running_gate(config)
    except Problem:
        running = None  # it is another user's: what is configured is what we know
    if running is not None and running.mtls:
        return Addresses(here(running.mtls), running.gate)
    if config.listen.mtls is None:
        hint = "Set listen.mtls, or give --gate and --enrol."
        raise Problem("PC7004", "the gate of this configuration has no listen.mtls", hint=hint)
    return Addresses(here(f"https://{config.listen.mtls}"), f"http://{config.listen.gate}")


def here(url: str) -> str:
    """The same place, for a client on this machine."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
