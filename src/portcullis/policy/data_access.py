"""Which data a role may reach, and where a tool's calls and results show what they are of.

A role's ``data_access:`` names dimensions: a list of values (``namespaces: [monitoring]``) or,
of a class of things, yes or no (``secrets: false``). A tool's ``data:`` binds dimensions to its
arguments and to fields of its results. What nothing names is not granted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from portcullis.core.obligation import Scalar
from portcullis.policy.obligations import steps_of
from portcullis.policy.yaml import Entry, Reader

ANY: Final = "*"
NOTHING: Final = "none"
BINDING_KEYS: Final = ("argument", "is", "everything", "results", "classes")
_NAME: Final = r"[a-z][a-z0-9_]{0,62}"
_NAME_FORM: Final = "a name of a-z, 0-9 and _"
_PATH: Final = r"[^\x00-\x1f\x7f]{1,256}"
_SUBJECT: Final = "session.subject."
_USER: Final = "session.user"


@dataclass(frozen=True, slots=True)
class Dimension:
    """What a role may reach of one dimension; ``yes`` is None where it is a list of values.

    ``session`` are paths within the session at which further values stand.
    """

    entry: Entry
    yes: bool | None = None
    any: bool = False
    values: tuple[Scalar, ...] = ()
    session: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class DataAccess:
    """A role's ``data_access:``, by dimension."""

    dimensions: dict[str, Dimension] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a call and its result show what they are of, in one dimension.

    A call says it in ``argument`` (a path), or always is of ``fixed``, or does not say it; with
    ``everything`` it asks for all there is. ``results`` are paths of a result. With ``classes``,
    each value belongs to the class that it maps to, and each class is a dimension of its own.
    """

    entry: Entry
    argument: tuple[str, ...] = ()
    everything: tuple[str, ...] = ()
    fixed: Scalar | None = None
    results: tuple[tuple[str, ...], ...] = ()
    classes: dict[Scalar, str] = field(default_factory=dict)

    @property
    def dimensions(self) -> frozenset[str]:
        """What of ``data_access`` it binds."""
        return frozenset(self.classes.values()) or frozenset([self.entry.value])


def read_data_access(reader: Reader, path: str, node: yaml.Node | None) -> DataAccess | None:
    """Read a role's ``data_access:``; None says nothing."""
    if node is None:
        return None
    pairs = reader.pairs(node, path)
    if not pairs:
        reader.fault(node, f"{path} names nothing", "Such as {namespaces: [monitoring]}.")
    found: dict[str, Dimension] = {}
    for key, value in pairs:
        if reader.match(key, path, _NAME, _NAME_FORM):
            found[key.value] = _dimension(reader, f"{path}.{key.value}", key, value)
    return DataAccess(found)


def _dimension(reader: Reader, path: str, key: Entry, node: yaml.Node) -> Dimension:
    entry = Entry(key.value, key.place, path)
    if isinstance(node, yaml.ScalarNode):
        value = reader.value(node, path)
        if not isinstance(value, bool):
            reader.fault(node, f"{path} must be a list of values, or true or false")
        return Dimension(entry, yes=value is True)
    values: list[Scalar] = []
    session: list[tuple[str, ...]] = []
    for index, item in enumerate(reader.items(node, path)):
        value = _scalar(reader, item, f"{path}[{index}]")
        if isinstance(value, str) and value.startswith("session."):
            session += _reference(reader, item, f"{path}[{index}]", value)
        elif value is not None:
            values.append(value)
    if ANY in values and len(values) + len(session) > 1:
        reader.fault(node, f'{path}: "*" stands alone', "It already means every value.")
    if not values and not session:
        reader.fault(node, f"{path} names no value", "Leave the dimension out to grant nothing.")
    return Dimension(
        entry,
        any=ANY in values,
        values=tuple(one for one in values if one != ANY),
        session=tuple(session),
    )


def _reference(reader: Reader, node: yaml.Node, path: str, value: str) -> list[tuple[str, ...]]:
    if value == _USER:
        return [("user",)]
    if value.startswith(_SUBJECT) and len(value) > len(_SUBJECT):
        return [("subject", value.removeprefix(_SUBJECT))]
    reader.fault(node, f"{path}: unknown reference", "Write session.subject.NAME or session.user.")
    return []


def read_data(reader: Reader, path: str, node: yaml.Node | None) -> tuple[Binding, ...] | None:
    """Read a tool's ``data:``. None says nothing; () says that it shows none (``data: none``)."""
    if node is None:
        return None
    if isinstance(node, yaml.ScalarNode):
        if node.value != NOTHING:
            reader.fault(node, f"{path} must be a mapping, or `none`", "`none`: it shows none.")
        return ()
    found = []
    for key, value in reader.pairs(node, path):
        if reader.match(key, path, _NAME, _NAME_FORM):
            found.append(_binding(reader, f"{path}.{key.value}", key, value))
    if not found:
        reader.fault(node, f"{path} binds nothing", "Write `none` for a tool that shows none.")
    return tuple(found)


def _binding(reader: Reader, path: str, key: Entry, node: yaml.Node) -> Binding:
    keys = reader.section(node, path, BINDING_KEYS)
    if not keys.keys() & {"argument", "is", "results"}:
        hint = "Name one of argument, is, results."
        reader.fault(node, f"{path} does not say where it shows", hint)
    if "argument" in keys and "is" in keys:
        reader.fault(keys["is"], f"{path}: a call says it, or it is always the same")
    if "everything" in keys and "argument" not in keys:
        reader.fault(keys["everything"], f"{path}: everything goes beside an argument")
    fixed = _scalar(reader, keys["is"], f"{path}.is") if "is" in keys else None
    classes = _classes(reader, f"{path}.classes", keys.get("classes"))
    if classes and fixed is not None and fixed not in classes:
        reader.fault(keys["is"], f"{path}.is: no class has this value")
    return Binding(
        Entry(key.value, key.place, path),
        argument=_step(reader, keys.get("argument"), f"{path}.argument"),
        everything=_step(reader, keys.get("everything"), f"{path}.everything"),
        fixed=fixed,
        results=_paths(reader, keys.get("results"), f"{path}.results"),
        classes=classes,
    )


def _classes(reader: Reader, path: str, node: yaml.Node | None) -> dict[Scalar, str]:
    found: dict[Scalar, str] = {}
    for key, value in [] if node is None else reader.pairs(node, path):
        if not reader.match(key, path, _NAME, _NAME_FORM):
            continue
        items = reader.items(value, f"{path}.{key.value}")
        if not items:
            reader.fault(value, f"{path}.{key.value} has no value")
        for index, item in enumerate(items):
            one = _scalar(reader, item, f"{path}.{key.value}[{index}]")
            if one is None:
                continue
            if one in found:
                reader.fault(item, f"{path}: {one} is listed twice")
            found[one] = key.value
    return found


def _step(reader: Reader, node: yaml.Node | None, path: str) -> tuple[str, ...]:
    """The path of an argument: member names, without lists."""
    entry = None if node is None else reader.text(node, path, _PATH, "of an argument's path")
    steps = () if entry is None else tuple(entry.value.split("."))
    if node is not None and entry is not None and (not all(steps) or ANY in steps):
        reader.fault(node, f"{path}: no argument's path", "Such as namespace or spec.namespace.")
    return steps


def _paths(reader: Reader, node: yaml.Node | None, path: str) -> tuple[tuple[str, ...], ...]:
    if node is None:
        return ()
    items = [node] if isinstance(node, yaml.ScalarNode) else reader.items(node, path)
    if not items:
        reader.fault(node, f"{path} names nothing", "Leave it out, or name a path.")
    found = []
    for item in items:
        entry = reader.text(item, path, _PATH, "of a path")
        steps = None if entry is None else steps_of(entry.value)
        if entry is not None and steps is None:
            reader.fault(item, f"{path}: not a path", 'Such as "items.*.metadata.namespace".')
        if steps is not None:
            found.append(steps)
    return tuple(dict.fromkeys(found))


def _scalar(reader: Reader, node: yaml.Node, path: str) -> Scalar | None:
    value = reader.value(node, path)
    if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
        return value
    reader.fault(node, f"{path} must be a text or a whole number")
    return None


def joined_data_access(parent: DataAccess | None, child: DataAccess | None) -> DataAccess | None:
    """What a role that inherits may reach: the values of both; a no of either holds."""
    if parent is None or child is None:
        return child or parent
    found = dict(parent.dimensions)
    for name, own in child.dimensions.items():
        known = found.get(name)
        found[name] = own if known is None else _both(known, own)
    return DataAccess(found)


def _both(parent: Dimension, child: Dimension) -> Dimension:
    if parent.yes is not None or child.yes is not None:
        return Dimension(child.entry, yes=parent.yes is True and child.yes is True)
    return Dimension(
        child.entry,
        any=parent.any or child.any,
        values=tuple(dict.fromkeys((*parent.values, *child.values))),
        session=tuple(dict.fromkeys((*parent.session, *child.session))),
    )


def access_data(access: DataAccess) -> dict[str, Any]:
    """A role's, as it stands in the data of a bundle."""
    return {
        name: {
            "any": one.any or one.yes is True,
            "values": list(one.values),
            "session": [list(path) for path in one.session],
        }
        for name, one in access.dimensions.items()
    }


def binding_data(bindings: tuple[Binding, ...]) -> list[dict[str, Any]]:
    """A tool's, as it stands in the data of a bundle."""
    return [_bound(one) for one in bindings]


def _bound(one: Binding) -> dict[str, Any]:
    name = one.entry.value
    asks = "argument" if one.argument else "results" if one.fixed is None else "fixed"
    said = f"{'.'.join(one.argument)} is" if one.argument else "it is"
    return {
        "name": name,
        "asks": asks,
        "argument": list(one.argument),
        "everything": list(one.everything),
        "fixed": one.fixed,
        "paths": [list(path) for path in one.results],
        "classed": bool(one.classes),
        "classes": _listed(one.classes),
        "reason": f"{said} not among the role's {name}",
        "rule": f"{one.entry.path} @ {one.entry.place.origin}",
    }


def _listed(classes: Mapping[Scalar, str]) -> list[dict[str, Any]]:
    """A mapping whose keys may be numbers, as JSON has it."""
    return [{"value": value, "of": name} for value, name in classes.items()]
