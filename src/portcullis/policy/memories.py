"""What the catalogue says of tools that keep something for other sessions: ``memory:``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import yaml

from portcullis.core.containment import ITEMS, KEYS, LINES, VALUES, Memory, Step
from portcullis.policy.containment import steps_of
from portcullis.policy.yaml import Reader

_STORE: Final = r"/?[A-Za-z0-9_-]{1,64}"
_KEYS: Final = ("store", "writes", "appends", "record", "from", "records")
_NOT_IN_ARGUMENTS: Final = frozenset({VALUES, KEYS, LINES})


def read_memory(
    reader: Reader,
    path: str,
    node: yaml.Node | None,
    *,
    server: str,
    arguments: Collection[str],
) -> Memory | None:
    """Read the ``memory:`` of a tool; None says nothing.

    A store is its server's own, but for one whose name begins with a slash. ``arguments`` are the
    names that the policy knows.
    """
    if node is None:
        return None
    keys = reader.section(node, path, _KEYS)
    if "store" not in keys:
        reader.fault(node, f"{path} has no store", "Write `store: NAME`.")
        return None
    store = reader.text(keys["store"], f"{path}.store", _STORE, "NAME, or /NAME for all servers")
    for name in ("writes", "appends"):
        if name in keys and reader.value(keys[name], f"{path}.{name}") is not True:
            reader.fault(keys[name], f"{path}.{name} must be true", "Leave it out otherwise.")
    if "from" in keys and "writes" not in keys:
        reader.fault(keys["from"], f"{path}: only what writes takes something from a record")
    if "appends" in keys and "writes" not in keys:
        reader.fault(keys["appends"], f"{path}: only what writes appends")
    known = {name.replace(ITEMS, "") for name in arguments}
    given = {
        name: _places(reader, keys.get(name), f"{path}.{name}", known)
        for name in ("record", "from")
    }
    records = _places(reader, keys.get("records"), f"{path}.records", None)
    if store is None:
        return None
    name = store.value if store.value.startswith("/") else f"{server}/{store.value}"
    return Memory(
        store=name,
        writes="writes" in keys,
        appends="appends" in keys,
        record=given["record"],
        sources=given["from"],
        records=records,
    )


def _places(
    reader: Reader, node: yaml.Node | None, path: str, arguments: Collection[str] | None
) -> tuple[tuple[Step, ...], ...]:
    """One path or a list of them; ``arguments`` where they lead into a call's arguments."""
    if node is None:
        return ()
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    found: list[tuple[Step, ...]] = []
    for one in nodes:
        entry = reader.text(one, path, r"[^\x00-\x1f\x7f]{0,256}", "of a path")
        place = None if entry is None else steps_of(entry.value)
        if entry is None or place is None or LINES in place:
            reader.fault(one, f"{path}: not a path", 'Such as key or "[].key".')
            continue
        if arguments is not None and (not place or _NOT_IN_ARGUMENTS & set(place)):
            reader.fault(one, f"{path}: {entry.value} leads to no argument")
        elif arguments is not None and ".".join(s for s in place if s != ITEMS) not in arguments:
            reader.fault(one, f"{path}: arguments do not name {entry.value}", "Give it a role.")
        found.append(place)
    return tuple(found)
