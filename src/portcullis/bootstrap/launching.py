"""``portcullis run`` put together: the configured sandbox, the profile, what is the gate's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from portcullis.bootstrap.sandboxes import adapter
from portcullis.client.gate import Gate
from portcullis.config import Config
from portcullis.config.identity import FileKeys
from portcullis.config.sandbox import Sandboxing
from portcullis.core.errors import Problem
from portcullis.core.sandbox import Ended, Order, Profile
from portcullis.core.sandbox_ports import Box
from portcullis.execution.launch import Cut, Launch, launch
from portcullis.execution.launch.mounts import Guarded

_FILE: Final = "file:"


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
    places = [one for one in own if isinstance(one, Path)]
    named = [*_references([one for one in own if isinstance(one, str)])]
    if config is not None:
        places += [config.state, *_keys(config)]
        named += _references(config.model_dump())
    files = (Path(one.removeprefix(_FILE)).absolute() for one in named)
    rules = () if config is None else (path, *_files(config.model_dump()))
    return Guarded(
        secret=(*(one.absolute() for one in places), *files),
        rules=tuple(one.absolute() for one in rules),
    )


async def launched(
    config: Config | None, order: Launch, gate: Gate, started: Callable[[Order, Box], None]
) -> Ended | Cut:
    """Run an agent in the box of this machine's configuration; see ``execution.launch.launch``."""
    chosen = Sandboxing() if config is None else config.sandbox
    return await launch(order, gate, adapter(chosen.adapter), started)


def _keys(config: Config) -> Iterator[Path]:
    """Files that open what is the gate's, and whose places are no references."""
    if isinstance(config.keys, FileKeys) and config.keys.path is not None:
        yield config.keys.path
    cluster = config.sandbox.kubernetes
    if cluster is not None and cluster.kubeconfig is not None:
        yield cluster.kubeconfig


def _files(value: Any) -> Iterator[Path]:
    """The files and folders that a configuration names: policy, rules, whom it trusts.

    The working directories of tools are not the gate's own.
    """
    if isinstance(value, Path):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            if name != "cwd":
                yield from _files(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _files(one)


def _references(value: Any) -> Iterator[str]:
    """The texts in a configuration that are references to files."""
    if isinstance(value, str) and value.startswith(_FILE):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _references(one)
