"""The ``obligations:`` of a tool, a role or a grant: what must be done when a call goes on."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
import yaml

from portcullis.core.call import RiskClass
from portcullis.core.obligation import (
    EACH,
    MOST_APPROVERS,
    NAMES,
    ColumnMask,
    MaskTreatment,
    Obligations,
    joined,
)
from portcullis.policy.yaml import Reader

KEYS: Final = ("mask", "log", "approvers")
_PATH: Final = r"[^\x00-\x1f\x7f]{1,256}"
_ARGUMENT: Final = r"[^\x00-\x1f\x7f]{1,128}"
_STEP: Final = re.compile(r"(?P<name>[^\[\]]*)(?P<each>(?:\[\])*)")
_MOST: Final = 64
"""Most columns of one tool, role or grant."""


def read_obligations(
    reader: Reader, path: str, node: yaml.Node | None, *, mask: bool = True
) -> Obligations | None:
    """Read obligations; None says nothing. ``mask``: whether there are results with columns.

    Columns are named by their path in the result, as under ``results:``; ``*`` and ``[]`` both
    mean every item, and ``{}`` at the end the names of an object's members.
    """
    if node is None:
        return None
    keys = reader.section(node, path, KEYS)
    if not keys:
        reader.fault(node, f"{path} obliges to nothing", f"Known keys: {', '.join(KEYS)}.")
    if "mask" in keys and not mask:
        reader.fault(keys["mask"], f"{path}.mask: only results of tools have columns")
    approvers, by_risk = _approvers(reader, f"{path}.approvers", keys.get("approvers"))
    return Obligations(
        mask=_masks(reader, f"{path}.mask", keys.get("mask")),
        log=tuple(
            entry.value
            for entry in reader.texts(
                keys.get("log"), f"{path}.log", _ARGUMENT, "of an argument's name"
            )
        ),
        approvers=approvers,
        by_risk=by_risk,
    )


def steps_of(text: str) -> tuple[str, ...] | None:
    """The steps of a path such as ``items[].owner`` or ``items.*.owner``; None when it is none."""
    found: list[str] = []
    for part in text.split("."):
        step = _STEP.fullmatch(part)
        if step is None or not part:
            return None
        found += [step["name"]] if step["name"] else []
        found += [EACH] * step["each"].count("[]")
    return tuple(found)


def in_words(obligations: Obligations) -> tuple[str, ...]:
    """Each of them in a line, for people."""
    people = {0: (), 1: ("a human has to let it through",)}
    return (
        *people.get(obligations.approvers, ("two people have to let it through",)),
        *(f"in the log in clear: {name}" for name in obligations.log),
        *(
            f"only records whose {one.name} is among "
            + (", ".join(map(str, one.values)) or "nothing")
            for one in obligations.rows
        ),
        *(f"column {'.'.join(one.path)}: {one.treatment}" for one in obligations.mask),
    )


def obligations_data(obligations: Obligations) -> dict[str, Any]:
    """As it stands in the data of a bundle: every member is there."""
    found: dict[str, Any] = msgspec.to_builtins(obligations)
    return found


def _masks(reader: Reader, path: str, node: yaml.Node | None) -> tuple[ColumnMask, ...]:
    if node is None:
        return ()
    form = f"one of {', '.join(MaskTreatment)}"
    found: dict[tuple[str, ...], ColumnMask] = {}
    pairs = reader.pairs(node, path)
    if not pairs:
        reader.fault(node, f"{path} masks nothing", 'Such as {"customers.*.iban": mask}.')
    for key, value in pairs:
        steps = _column(key.value)
        if steps is None or not re.fullmatch(_PATH, key.value):
            reader.fault(value, f"{path}: {key.value} is no path", 'Such as "customers.*.iban".')
            continue
        said = reader.text(value, f"{path}.{key.value}", "|".join(MaskTreatment), form)
        if steps in found:
            reader.fault(value, f"{path}: {key.value} is named twice")
        if said is not None:
            found[steps] = ColumnMask(path=steps, treatment=MaskTreatment(said.value))
    if len(found) > _MOST:
        reader.fault(node, f"{path} names more than {_MOST} columns", "Name what holds them.")
    return tuple(found.values())


def _column(text: str) -> tuple[str, ...] | None:
    """The steps of a column's path, which may end in the names of members: ``accounts{}``."""
    if not text.endswith(NAMES):
        return steps_of(text)
    holder = text.removesuffix(NAMES)
    steps = steps_of(holder) if holder else ()
    return None if steps is None else (*steps, NAMES)


def _approvers(
    reader: Reader, path: str, node: yaml.Node | None
) -> tuple[int, tuple[tuple[str, int], ...]]:
    """A number for every call, or one for each class of risk that is named."""
    if node is None:
        return 0, ()
    if not isinstance(node, yaml.MappingNode):
        return _number(reader, path, node), ()
    classes = reader.section(node, path, tuple(RiskClass))
    if not classes:
        reader.fault(node, f"{path} names no class", "Such as {external: 1, delete: 2}.")
    found = {name: _number(reader, f"{path}.{name}", one) for name, one in classes.items()}
    return 0, tuple(found.items())


def _number(reader: Reader, path: str, node: yaml.Node) -> int:
    value = reader.value(node, path)
    if type(value) is int and 1 <= value <= MOST_APPROVERS:
        return value
    reader.fault(node, f"{path} must be 1 or 2", "How many people have to let the call through.")
    return 0


def joined_obligations(one: Obligations | None, other: Obligations | None) -> Obligations | None:
    """Both together: every mask, every name, the higher number of approvers."""
    return joined((one, other))
