"""What the catalogue says of tools' meaning (``raise``, ``results``), and ``containment:``.

``containment:`` stands at the top (for every role) and in a role (key by key, before the former).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec
import yaml

from portcullis.core.call import RiskClass
from portcullis.core.containment import (
    ANY,
    ITEMS,
    KEYS,
    LINES,
    ArgumentModel,
    ArgumentRole,
    Condition,
    ConditionKind,
    Confidentiality,
    Containment,
    Lookup,
    QuestionKind,
    ResultField,
    RiskRule,
    ToolModel,
    Treatment,
)
from portcullis.policy.model import ContainmentLayer, Policy, Tool
from portcullis.policy.yaml import Reader

_SOURCES: Final = (
    ArgumentRole.DESTINATION,
    ArgumentRole.OBJECT,
    ArgumentRole.AMOUNT,
    ArgumentRole.CREDENTIAL,
)
"""The roles whose values need a source, and for which a field can be one."""

_STEP: Final = re.compile(r"(?P<name>[^\[\]]*)(?P<each>(?:\[(?:|keys|lines)\])*)")
_EACH: Final = re.compile(r"\[[a-z]*\]")
_FINAL: Final = (KEYS, LINES)
_KINDS: Final[dict[str, ConditionKind]] = {"equals": "equals", "in": "in", "over": "over"}
_KEYS: Final = (*QuestionKind, "never", "approvals")
_MARKS: Final = ("links", "named")
_MOST: Final = 512
"""Approved calls that a session's labels can count."""
_WORD: Final = r"[^\W\d_]{2,32}"

DEFAULTS: Final = Containment(
    treatments={
        QuestionKind.INTENT: {RiskClass.MODIFY: Treatment.ALLOW},
        QuestionKind.GRANT: dict.fromkeys(RiskClass, Treatment.DENY),
    }
)
"""What is done where ``containment:`` says nothing; whatever is left out here is held."""

_Value = TypeVar("_Value", bound=StrEnum)


def read_raise(reader: Reader, path: str, node: yaml.Node | None) -> tuple[RiskRule, ...]:
    """Read the ``raise:`` of a tool; None says nothing."""
    found = []
    for index, item in enumerate(reader.items(node, path)):
        place = f"{path}[{index}]"
        keys = reader.section(item, place, ("when", "risk"))
        if len(keys) != 2:  # noqa: PLR2004 - both of them
            reader.fault(item, f"{place} must say when and risk")
            continue
        risk = _one(reader, keys["risk"], f"{place}.risk", RiskClass)
        when = [
            _condition(reader, name.value, value, f"{place}.when.{name.value}")
            for name, value in reader.pairs(keys["when"], f"{place}.when")
        ]
        if not when:
            reader.fault(keys["when"], f"{place}.when says nothing", "Name an argument.")
        conditions = tuple(one for one in when if one is not None)
        if risk is not None and conditions:
            found.append(RiskRule(when=conditions, risk=risk))
    return tuple(found)


def _condition(reader: Reader, name: str, node: yaml.Node, path: str) -> Condition | None:
    argument = name.replace(ITEMS, "")
    if isinstance(node, yaml.ScalarNode):
        form = "present, absent, {equals: V}, {in: [...]} or {over: N}"
        entry = reader.text(node, path, "present|absent", form)
        bare: ConditionKind = "present" if entry and entry.value == "present" else "absent"
        return None if entry is None else Condition(argument=argument, kind=bare)
    pairs = list(reader.section(node, path, tuple(_KINDS)).items())
    if len(pairs) != 1:
        reader.fault(node, f"{path} must be one of equals, in and over")
        return None
    kind, value = pairs[0]
    said = reader.value(value, path)
    values = said if kind == "in" else [said]
    if not isinstance(values, list) or not values or not all(map(_scalar, values)):
        reader.fault(value, f"{path}.{kind}: strings, numbers and booleans only, at least one")
        return None
    if kind == "over" and (isinstance(said, bool) or not isinstance(said, int | float)):
        reader.fault(value, f"{path}.over must be a number")
    return Condition(argument=argument, kind=_KINDS[kind], values=tuple(values))


def _scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)


def read_results(reader: Reader, path: str, node: yaml.Node | None) -> tuple[ResultField, ...]:
    """Read the ``results:`` of a tool; None says nothing."""
    if node is None:
        return ()
    if not isinstance(node, yaml.MappingNode):
        reader.fault(node, f"{path} must be a mapping")
        return ()
    found: dict[tuple[str, ...], ResultField] = {}
    for key, value in node.value:
        entry = reader.text(key, path, r"[^\x00-\x1f\x7f]{0,256}", "of a path")
        steps = None if entry is None else steps_of(entry.value)
        if entry is None or steps is None:
            reader.fault(key, f"{path}: not a path", 'Such as "[].owner", "*.name" or "".')
            continue
        if steps in found:
            reader.fault(key, f"{path}: {entry.value} is named twice")
        found[steps] = _field(reader, f"{path}.{entry.value}", value, steps)
    return tuple(found.values())


def _field(reader: Reader, path: str, node: yaml.Node, steps: tuple[str, ...]) -> ResultField:
    keys = reader.section(node, path, ("trusted", "confidentiality", "clearance", *_MARKS))
    if not keys:
        reader.fault(node, f"{path} says nothing", "Known keys: trusted, confidentiality.")
    trusted = _roles(reader, keys.get("trusted"), f"{path}.trusted")
    if "clearance" in keys and ArgumentRole.DESTINATION not in trusted and "named" not in keys:
        reader.fault(keys["clearance"], f"{path}: only a trusted destination has a clearance")
    for name in _MARKS:
        if name in keys and reader.value(keys[name], f"{path}.{name}") is not True:
            reader.fault(keys[name], f"{path}.{name} must be true", "Leave it out otherwise.")
    levels = {
        name: _one(reader, keys[name], f"{path}.{name}", Confidentiality) or Confidentiality.SECRET
        for name in ("confidentiality", "clearance")
        if name in keys
    }
    links, named = ("links" in keys), ("named" in keys)
    return ResultField(path=steps, trusted=trusted, links=links, named=named, **levels)


def _roles(reader: Reader, node: yaml.Node | None, path: str) -> tuple[ArgumentRole, ...]:
    if node is None:
        return ()
    form = f"one of {', '.join(_SOURCES)}"
    if isinstance(node, yaml.ScalarNode):
        entry = reader.text(node, path, "|".join(_SOURCES), form)
        return () if entry is None else (ArgumentRole(entry.value),)
    entries = reader.texts(node, path, "|".join(_SOURCES), form)
    return tuple(ArgumentRole(entry.value) for entry in entries)


def steps_of(text: str) -> tuple[str, ...] | None:
    """The steps of a path such as ``items[].owner``; None when it is none."""
    found: list[str] = []
    for part in text.split(".") if text else ():
        step = _STEP.fullmatch(part)
        if step is None or not part:
            return None
        found += ([step["name"]] if step["name"] else []) + _EACH.findall(step["each"])
    misplaced = any(step in _FINAL for step in found[:-1])
    return None if misplaced else tuple(found)


def read_role(reader: Reader, path: str, keys: Mapping[str, yaml.Node]) -> ArgumentModel:
    """Read ``role:``, ``carries:`` and ``lookup:``; without a role it is a destination."""
    role, carries = keys.get("role"), keys.get("carries")
    found = None if role is None else _one(reader, role, f"{path}.role", ArgumentRole)
    if carries is not None and reader.value(carries, f"{path}.carries") is not True:
        reader.fault(carries, f"{path}.carries must be true", "Leave it out otherwise.")
    if carries is not None and found is ArgumentRole.SELECTOR:
        reader.fault(carries, f"{path}: what carries data is no selector")
    return ArgumentModel(
        role=found or ArgumentRole.DESTINATION,
        carries=carries is not None,
        lookups=_lookups(reader, f"{path}.lookup", keys.get("lookup")),
    )


def _lookups(reader: Reader, path: str, node: yaml.Node | None) -> tuple[Lookup, ...]:
    if node is None:
        return ()
    items = reader.items(node, path) if isinstance(node, yaml.SequenceNode) else [node]
    found = []
    for item in items:
        keys = reader.section(item, path, ("tool", "query"))
        tool = reader.text(keys["tool"], f"{path}.tool") if "tool" in keys else None
        query = reader.text(keys["query"], f"{path}.query") if "query" in keys else None
        if tool is None:
            reader.fault(item, f"{path} names no tool", "Write {tool: SERVER.TOOL}.")
        else:
            found.append(Lookup(tool=tool.value, query=query.value if query else ""))
    return tuple(found)


def unread(tool: Tool, others: Mapping[str, Tool]) -> Lookup | None:
    """A lookup of a tool's that is no plain reading of the same server's, if any."""
    for argument in tool.roles.values():
        for one in argument.lookups:
            other = others.get(one.tool)
            reads = other is not None and other.risk is RiskClass.READ and not other.rules
            here = one.tool.partition(".")[0] == tool.name.value.partition(".")[0]
            known = other is not None and (not one.query or one.query in other.roles)
            if not (reads and here and known):
                return one
    return None


def read_answers(reader: Reader, path: str, node: yaml.Node | None) -> dict[str, ArgumentModel]:
    """Read the ``answers:`` of a tool: what its questions' answers are, by field."""
    found: dict[str, ArgumentModel] = {}
    for name, value in [] if node is None else reader.pairs(node, path):
        place = f"{path}.{name.value}"
        keys = reader.section(value, place, ("role", "carries"))
        if "role" not in keys:
            reader.fault(value, f"{place} has no role", "Write `role: NAME`.")
        found[name.value] = read_role(reader, place, keys)
    return found


def read_sends(reader: Reader, path: str, node: yaml.Node | None) -> bool:
    """Read the ``sends:`` of a tool: ``arguments`` says that nothing else goes out with it."""
    return node is not None and bool(reader.text(node, path, "arguments", "`arguments`"))


def read_intent(reader: Reader, path: str, node: yaml.Node | None) -> tuple[str, ...]:
    """Read the ``intent:`` of a tool: words of which the user says one to ask for it."""
    return tuple(entry.value for entry in reader.texts(node, path, _WORD, "one word"))


def read_containment(reader: Reader, path: str, node: yaml.Node | None) -> ContainmentLayer | None:
    """Read one ``containment:``; None says nothing."""
    if node is None:
        return None
    keys = reader.section(node, path, _KEYS)
    treatments = {
        kind: _treatments(reader, keys[kind], f"{path}.{kind}")
        for kind in QuestionKind
        if kind in keys
    }
    never = None
    if "never" in keys:
        sets = enumerate(reader.items(keys["never"], f"{path}.never"))
        never = tuple(_kinds(reader, item, f"{path}.never[{index}]") for index, item in sets)
    limit = keys.get("approvals")
    approvals = None if limit is None else _limit(reader, limit, f"{path}.approvals")
    return ContainmentLayer(treatments=treatments, never=never, approvals=approvals)


def _treatments(reader: Reader, node: yaml.Node, path: str) -> dict[RiskClass, Treatment]:
    if isinstance(node, yaml.ScalarNode):
        one = _one(reader, node, path, Treatment)
        return dict.fromkeys(RiskClass, one or Treatment.DENY)
    found = reader.section(node, path, tuple(RiskClass))
    return {
        RiskClass(risk): _one(reader, value, f"{path}.{risk}", Treatment) or Treatment.DENY
        for risk, value in found.items()
    }


def _kinds(reader: Reader, node: yaml.Node, path: str) -> frozenset[QuestionKind]:
    entries = reader.texts(node, path, "|".join(QuestionKind), f"one of {', '.join(QuestionKind)}")
    if not entries:
        reader.fault(node, f"{path} names no question")
    return frozenset(QuestionKind(entry.value) for entry in entries)


def _limit(reader: Reader, node: yaml.Node, path: str) -> int:
    value = reader.value(node, path)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        reader.fault(node, f"{path} must be a number of calls, at most {_MOST}")
        return 0
    return value


def _one(reader: Reader, node: yaml.Node, path: str, kind: type[_Value]) -> _Value | None:
    entry = reader.text(node, path, "|".join(kind), f"one of {', '.join(kind)}")
    return None if entry is None else kind(entry.value)


def contained(layers: Sequence[ContainmentLayer | None]) -> Containment | None:
    """What holds by all layers, the later before the earlier; None when none says anything."""
    given = [layer for layer in layers if layer is not None]
    if not given:
        return None
    found = DEFAULTS
    for layer in given:
        treatments = dict(found.treatments)
        for kind, said in layer.treatments.items():
            treatments[kind] = {**treatments.get(kind, {}), **said}
        found = Containment(
            treatments=treatments,
            never=found.never if layer.never is None else layer.never,
            approvals=found.approvals if layer.approvals is None else layer.approvals,
        )
    return found


def model(tool: Tool) -> ToolModel:
    """What a tool means, as the provenance engine wants it."""
    fixed = {bound.argument for bound in tool.bounds if bound.kind == "equals"}
    return ToolModel(
        tool=tool.name.value,
        risk=tool.risk,
        rules=tool.rules,
        arguments={
            name.replace(ITEMS, ""): msgspec.structs.replace(argument, fixed=name in fixed)
            for name, argument in tool.roles.items()
        },
        results=tool.results,
        intent=tool.intent,
        bare=tool.bare,
        answers={name.replace(ITEMS, ""): one for name, one in tool.answers.items()},
        memory=tool.memory,
    )


def models(policy: Policy) -> dict[str, ToolModel]:
    """The catalogue, by qualified tool; each knows whether any tool writes its memory."""
    written = {tool.memory.store for tool in policy.tools if tool.memory and tool.memory.writes}
    found = {}
    for tool in policy.tools:
        meant, memory = model(tool), tool.memory
        if memory is not None and memory.store not in written:
            unwritten = msgspec.structs.replace(memory, written=False)
            meant = msgspec.structs.replace(meant, memory=unwritten)
        found[tool.name.value] = meant
    return found


def unnamed(tool: Tool) -> str | None:
    """An argument that ``raise:`` goes by and ``arguments:`` does not name, if any."""
    known = {name.replace(ITEMS, "") for name in tool.roles}
    if ANY in known:
        return None
    for rule in tool.rules:
        for condition in rule.when:
            if condition.argument not in known:
                return condition.argument
    return None
