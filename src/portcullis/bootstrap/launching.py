"""``portcullis run`` put together: the configured sandbox, the profile, what is the gate's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from portcullis.bootstrap.sandboxes import adapter
from portcullis.client.gate import Gate
from portcullis.config import Config
from portcullis.config.guarded import files_of, rule_places, secret_places
from portcullis.config.sandbox import Sandboxing
from portcullis.core.errors import Problem
from portcullis.core.sandbox import Ended, Order, Profile
from portcullis.core.sandbox_ports import Box
from portcullis.execution.launch import Cut, Launch, launch
from portcullis.execution.launch.mounts import Guarded


def profile_of(config: Config | None, name: str) -> Profile:
    """The profile of that name. Raises Problem PC5040 when there is none."""
    profiles = Sandboxing().named() if config is None else config.sandbox.named()
    if name not in profiles:
        raise Problem("PC5040", f"there is no profile {name}")
    return profiles[name]


def guarded_of(config: Config | None, path: Path, own: Iterable[str | Path | None]) -> Guarded:
    """What on this machine is the gate's, by its configuration at ``path``.

    ``own`` are secrets of the launcher: places, and references as its options have them.
    """
    given = tuple(own)
    places = tuple(one.absolute() for one in given if isinstance(one, Path))
    files = files_of(one for one in given if isinstance(one, str))
    if config is None:
        return Guarded(secret=(*places, *files))
    return Guarded(
        secret=(*places, *files, *secret_places(config)),
        rules=(path.absolute(), *rule_places(config)),
    )


async def launched(
    config: Config | None, order: Launch, gate: Gate, started: Callable[[Order, Box], None]
) -> Ended | Cut:
    """Run an agent in the box of this machine's configuration; see ``execution.launch.launch``."""
    chosen = Sandboxing() if config is None else config.sandbox
    return await launch(order, gate, adapter(chosen.adapter), started)
