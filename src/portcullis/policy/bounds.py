"""The constraints of a tool's arguments, as the grammar reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

from portcullis.core.containment import ANY, ITEMS, ArgumentModel
from portcullis.policy.containment import read_role
from portcullis.policy.model import Bound, BoundKind
from portcullis.policy.yaml import Entry, Reader

Fragment: TypeAlias = Callable[[Any], str | None]
"""Says what is wrong with a JSON Schema fragment, or None."""

_KEYS: Final = (
    "equals",
    "enum",
    "prefix",
    "maximum",
    "minimum",
    "max_length",
    "required",
    "log",
    "schema",
    "tolerate",
    "role",
    "carries",
    "lookup",
)
_ROLE: Final = ("role", "carries", "lookup")
RULE: Final = r"[a-z][a-z-]{1,30}"
_SUBJECT: Final = "session.subject."
_USER: Final = "session.user"


@dataclass(frozen=True, slots=True)
class Arguments:
    """What ``arguments:`` of one tool says."""

    bounds: tuple[Bound, ...] = ()
    clear: tuple[str, ...] = ()
    schemas: dict[str, Any] = field(default_factory=dict)
    tolerated: dict[str, tuple[Entry, ...]] = field(default_factory=dict)
    roles: dict[str, ArgumentModel] = field(default_factory=dict)


def read_arguments(
    reader: Reader, tool: str, node: yaml.Node | None, fragment: Fragment
) -> Arguments:
    """Read the ``arguments:`` of the tool at path ``tool``; None says nothing."""
    if node is None:
        return Arguments()
    bounds: list[Bound] = []
    clear: list[str] = []
    schemas: dict[str, Any] = {}
    tolerated: dict[str, tuple[Entry, ...]] = {}
    roles: dict[str, ArgumentModel] = {}
    for name, value in reader.pairs(node, f"{tool}.arguments"):
        path = f"{tool}.arguments.{name.value}"
        keys = reader.section(value, path, _KEYS)
        if not keys:
            reader.fault(value, f"{path} says nothing", f"Known keys: {', '.join(_KEYS)}.")
        roles[name.value] = read_role(reader, path, keys)
        _several(reader, name.value, path, keys)
        for key, item in keys.items():
            where = f"{path}.{key}"
            if key == "log":
                if reader.text(item, where, "clear", "`clear`"):
                    clear.append(name.value)
            elif key == "schema":
                schemas[name.value] = _schema(reader, item, where, fragment)
            elif key == "tolerate":
                form = "the name of a rule, such as ssrf"
                tolerated[name.value] = reader.texts(item, where, RULE, form)
            elif key not in _ROLE:
                bounds.append(_READERS[key](reader, item, name.value, where))
        _contradictions(reader, value, bounds, name.value)
    return Arguments(tuple(bounds), tuple(clear), schemas, tolerated, roles)


def _several(reader: Reader, name: str, path: str, keys: dict[str, yaml.Node]) -> None:
    for key, item in keys.items():
        if key not in _ROLE and (name == ANY or ITEMS in name):
            reader.fault(item, f"{path}.{key}: only a role can be said of several values")


def _schema(reader: Reader, node: yaml.Node, path: str, fragment: Fragment) -> Any:
    schema = reader.value(node, path)
    wrong = fragment(schema)
    if wrong is not None:
        reader.fault(node, f"{path}: {wrong}")
    return schema


def _bound(
    reader: Reader,
    node: yaml.Node,
    argument: str,
    path: str,
    kind: BoundKind,
    value: Any,
    session: tuple[str, ...] = (),
) -> Bound:
    return Bound(argument, kind, value, Entry("", reader.place(node), path), session)


def _equals(reader: Reader, node: yaml.Node, argument: str, path: str) -> Bound:
    value = reader.value(node, path)
    session: tuple[str, ...] = ()
    if isinstance(value, str) and value.startswith("session."):
        if value == _USER:
            session = ("user",)
        elif value.startswith(_SUBJECT) and len(value) > len(_SUBJECT):
            session = ("subject", value.removeprefix(_SUBJECT))
        else:
            reader.fault(
                node, f"{path}: unknown reference", "Write session.subject.NAME or session.user."
            )
    elif isinstance(value, dict | list) or value is None:
        reader.fault(node, f"{path} must be a string, a number, a boolean or a reference")
    return _bound(reader, node, argument, path, "equals", value, session)


def _enum(reader: Reader, node: yaml.Node, argument: str, path: str) -> Bound:
    value = reader.value(node, path)
    if not isinstance(value, list) or not value:
        reader.fault(node, f"{path} must be a list of at least one value")
    elif any(isinstance(item, dict | list) or item is None for item in value):
        reader.fault(node, f"{path} must list strings, numbers or booleans")
    return _bound(reader, node, argument, path, "enum", value)


def _prefix(reader: Reader, node: yaml.Node, argument: str, path: str) -> Bound:
    value = reader.value(node, path)
    if not isinstance(value, str) or not value:
        reader.fault(node, f"{path} must be a string")
    elif "/" in value and not value.endswith("/"):
        reader.fault(
            node,
            f"{path}: a prefix of a path must end with /",
            "Without it, siblings whose names merely begin so would fit too.",
        )
    return _bound(reader, node, argument, path, "prefix", value)


def _limit(kind: BoundKind) -> Callable[[Reader, yaml.Node, str, str], Bound]:
    def read(reader: Reader, node: yaml.Node, argument: str, path: str) -> Bound:
        value = reader.value(node, path)
        length = kind == "max_length"
        if isinstance(value, bool) or not isinstance(value, int if length else int | float):
            reader.fault(node, f"{path} must be {'an integer' if length else 'a number'}")
        elif length and value < 0:
            reader.fault(node, f"{path} must not be negative")
        return _bound(reader, node, argument, path, kind, value)

    return read


def _required(reader: Reader, node: yaml.Node, argument: str, path: str) -> Bound:
    value = reader.value(node, path)
    if value is not True:
        reader.fault(node, f"{path} must be true", "Leave it out otherwise.")
    return _bound(reader, node, argument, path, "required", value)


_READERS: Final = {
    "equals": _equals,
    "enum": _enum,
    "prefix": _prefix,
    "maximum": _limit("maximum"),
    "minimum": _limit("minimum"),
    "max_length": _limit("max_length"),
    "required": _required,
}


def _contradictions(reader: Reader, node: yaml.Node, bounds: list[Bound], argument: str) -> None:
    """Bounds that no value can hold together, or of which one makes the others idle."""
    mine = {bound.kind: bound.value for bound in bounds if bound.argument == argument}
    if "equals" in mine and len(mine) > 1:
        reader.fault(node, f"{argument}: equals stands alone", "It already fixes the value.")
    low, high = mine.get("minimum"), mine.get("maximum")
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        reader.fault(node, f"{argument}: minimum is above maximum")
