"""What on this machine is the gate's own, by its configuration: what no box is to see, or write.

And what the gate itself uses secrets for, beside the upstreams of calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from portcullis.config.common import SECRET
from portcullis.config.identity import FileKeys

_FILE: Final = "file:"
_REFERENCE: Final = re.compile(SECRET)
_UPSTREAMS: Final = frozenset({"models", "mcp", "tools", "egress", "secrets"})
"""Sections whose secrets are calls', or only described."""


def secret_places(config: Any) -> tuple[Path, ...]:
    """The state directory, the files of keys, and those that references name; absolute paths.

    ``config`` is a ``Config``.
    """
    places = [config.state]
    if isinstance(config.keys, FileKeys) and config.keys.path is not None:
        places.append(config.keys.path)
    cluster = config.sandbox.kubernetes
    if cluster is not None and cluster.kubeconfig is not None:
        places.append(cluster.kubeconfig)
    return (*(one.absolute() for one in places), *files_of(references(config.model_dump())))


def rule_places(config: Any) -> tuple[Path, ...]:
    """Every file and folder that it names: policy, rules, whom it trusts; absolute paths."""
    return tuple(one.absolute() for one in _files(config.model_dump()))


def files_of(named: Iterable[str]) -> tuple[Path, ...]:
    """The files among references."""
    found = (one.removeprefix(_FILE) for one in named if one.startswith(_FILE))
    return tuple(Path(one).absolute() for one in found)


def own_secrets(config: Any) -> Iterator[tuple[str, str]]:
    """What the gate itself uses, by reference, and what for (``notifications.pager``)."""
    for name, section in config.model_dump().items():
        if name not in _UPSTREAMS:
            yield from _own(name, section)


def references(value: Any) -> Iterator[str]:
    """The texts in a configuration that are references to secrets."""
    for one, _ in _texts(value, ""):
        if _REFERENCE.match(one):
            yield one


def _own(place: str, value: Any) -> Iterator[tuple[str, str]]:
    for text, at in _texts(value, place):
        if _REFERENCE.match(text):
            yield text, at


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every text, and the part that it is of: by its key, in a list by its name, two steps deep."""
    if isinstance(value, str):
        yield value, place
    elif isinstance(value, dict):
        for key, one in value.items():
            deep = place.count(".") >= 1 or not isinstance(one, dict | list | tuple)
            yield from _texts(one, place if deep else f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for one in value:
            name = one.get("name", "") if isinstance(one, dict) else ""
            yield from _texts(one, f"{place}.{name}" if name else place)


def _files(value: Any) -> Iterator[Path]:
    """The working directories of tools are not the gate's own."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            if name != "cwd":
                yield from _files(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _files(one)
