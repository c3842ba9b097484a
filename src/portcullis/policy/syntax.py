"""Rego as a tree: what may stand in it, and where what may not stands.

It is asked of ``{rego: TEXT}`` and of hand-written files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import regorus

Tree: TypeAlias = Any
"""A module's tree, as regorus prints it."""

BUILTINS: Final = frozenset(
    {
        "abs",
        "array.concat",
        "concat",
        "contains",
        "count",
        "endswith",
        "is_array",
        "is_boolean",
        "is_number",
        "is_object",
        "is_string",
        "net.cidr_contains",
        "object.get",
        "object.keys",
        "object.union",
        "regex.match",
        "regex.replace",
        "split",
        "startswith",
        "sum",
        "trim_prefix",
        "trim_suffix",
    }
)
"""What policy's Rego may call: pure functions that every Rego engine has, and no network."""

_INSERTED: Final = {"concat": 0, "regex.replace": 2}
"""Which argument of a function is repeated for each of the others."""
_MAKERS: Final = frozenset({"array.concat", *_INSERTED})
"""Whose value may be longer than all that they are given."""
_LITERAL_TEXTS: Final = frozenset({"String", "RawString"})

_PLACE: Final = re.compile(r"--> [^\n]*?:(\d+):(\d+)")
_REASON: Final = re.compile(r"error: (.*)")


@dataclass(frozen=True, slots=True)
class Wrong:
    """What may not stand in a text of Rego; line and column count from 1."""

    line: int
    column: int
    message: str
    hint: str = ""


def parsed(text: str) -> Tree | Wrong:
    """The tree of a module, or what keeps it from being read."""
    line = _nested(text)
    if line:
        hint = f"At most {_DEEPEST} brackets in each other, and {_MOST_CHAINED} operators in all."
        return Wrong(line, 1, "too many brackets in brackets, or operators", hint)
    engine = regorus.Engine()
    try:
        engine.add_policy("module.rego", text)
        return json.loads(engine.get_ast_as_json())[0]["ast"]
    except (RuntimeError, ValueError, RecursionError) as error:
        return told(str(error), "not Rego v1")


_TOKENS: Final = re.compile(
    r"""\n|\#[^\n]*|`[^`]*`|"(?:\\.|[^"\\\n])*"|\bsome\b|:=|[\[{(\]})+\-*/%|&]"""
)
_CHAINED: Final = frozenset({"some", ":=", "[", "+", "-", "*", "/", "%", "|", "&"})
_DEEPEST: Final = 12
_MOST_TRIED: Final = 2**18
_MOST_CHAINED: Final = 2000


def _nested(text: str) -> int:
    """The line at which regorus' parser would take too long; 0 for none.

    It reads what stands in brackets twice, and within these again: two seconds at 16 of them. What
    follows one another in an expression or a body takes its stack, and 15 000 of them all of it.
    """
    line, depth, tries, chained = 1, 0, 0, 0
    for token in _TOKENS.findall(text):
        line += str(token).count("\n")
        chained += token in _CHAINED
        if token in {"[", "{"}:
            depth += 1
            tries += 1 << depth
        elif token in {"]", "}"}:
            depth = max(0, depth - 1)
        if depth > _DEEPEST or tries > _MOST_TRIED or chained > _MOST_CHAINED:
            return line
    return 0


def tried(text: str, rule: str) -> Wrong | None:
    """What goes wrong when a rule of a module is evaluated of nothing, such as unsafe variables.

    Call it for what ``faults`` has nothing against.
    """
    engine = regorus.Engine()
    try:
        engine.add_policy("module.rego", text)
        engine.set_input_json("{}")
        engine.eval_rule_as_json(rule)
    except RuntimeError as error:
        return told(str(error), "cannot be evaluated")
    return None


def told(error: str, what: str) -> Wrong:
    """An error of the engine's, at its place."""
    said = error.partition("Stack backtrace")[0]
    place, reason = _PLACE.search(said), _REASON.search(said)
    return Wrong(
        int(place[1]) if place else 1,
        int(place[2]) if place else 1,
        f"{what}: {reason[1].strip() if reason else 'it cannot be read'}",
    )


def faults(tree: Tree, *, machine: bool) -> Iterator[Wrong]:
    """What a policy's author must not write.

    It replaces no input, calls what is on the list and what it defines itself, and negates nothing
    that engines judge in two ways. ``machine``: it runs in regorus' virtual machine, so it does
    nothing either that this judges otherwise than an interpreter.
    """
    if machine:
        yield from _machine(tree)
    rules = _names(tree)
    for negated in found(tree, "NotExpr"):
        if not _plainly(negated["expr"], rules):
            hint = "Make it a rule of its own, and write `not NAME`."
            message = "`not` of what may be undefined is true to one engine and not to another"
            yield _wrong(negated, message, hint)
    for mods in _members(tree, "with_mods"):
        for one in mods:
            yield _wrong(one, "`with` replaces what is decided on", "Leave it to tests.")
    known = BUILTINS | functions(tree)
    for call in found(tree, "Call"):
        name = dotted(call["fcn"])
        if name not in known:
            hint = f"Known functions: {', '.join(sorted(BUILTINS))}."
            yield _wrong(call, f"{name} is not on the list of functions", hint)
        at = _INSERTED.get(name)
        if at is not None and not _literal(call["params"], at):
            hint = "Of two long texts it would make one that no memory holds."
            yield _wrong(call, f"what {name} puts in between is a literal", hint)


def _literal(params: list[Tree], at: int) -> bool:
    return len(params) > at and bool(_LITERAL_TEXTS & params[at].keys())


def _machine(tree: Tree) -> Iterator[Wrong]:
    """What regorus' virtual machine judges in its own way where something is undefined.

    And what would take all memory: each of its steps may, however few there are.
    """
    for call in found(tree, "Call"):
        name = dotted(call["fcn"])
        if name in _MAKERS and not all(map(_given, call["params"])):
            hint = "Give it what stands in the call, such as input.arguments.NAME, and literals."
            yield _wrong(call, f"{name} is given what was made before", hint)
    for node in found(tree, "AssignExpr"):
        hint = "Write `some x in [EXPRESSION]`, or compare with ==."
        yield _wrong(node, "a body assigns (:= or =)", hint)
    for kind in ("ArrayCompr", "SetCompr", "ObjectCompr"):
        for node in found(tree, kind):
            heads = [node[name] for name in ("term", "key", "value") if name in node]
            if not all(_defined(head, set()) for head in heads):
                hint = "Write `[x | ...; some x in [EXPRESSION]]`."
                yield _wrong(node, "a comprehension gathers variables and literals", hint)


def _given(node: Tree) -> bool:
    """Whether it stands in the question, in data or in the text."""
    kind, inner = next(iter(node.items()))
    if kind == "Array":
        return all(map(_given, inner["items"]))
    if kind == "RefBrack":
        return _given(inner["refr"]) and bool(_LITERALS & inner["index"].keys())
    if kind == "RefDot":
        return _given(inner["refr"])
    return kind in _LITERALS or (kind == "Var" and inner["value"] in {"input", "data"})


_LITERALS: Final = frozenset({"String", "RawString", "Number", "Bool", "Null"})
_ALWAYS: Final = frozenset(
    f"input.{name}" for name in ("action", "server", "name", "environment", "arguments", "features")
)
"""What every question has."""


def _plainly(node: Tree, rules: set[str]) -> bool:
    """Whether all engines agree on its negation."""
    kind, inner = next(iter(node.items()))
    if kind == "Call":
        return all(_defined(one, rules) for one in inner["params"])
    if kind == "BoolExpr" and inner["op"] == "Eq":
        return all(_named(inner[side]) or _defined(inner[side], rules) for side in ("lhs", "rhs"))
    if kind == "BoolExpr":
        return all(_defined(inner[side], rules) for side in ("lhs", "rhs"))
    if kind == "Membership":
        return all(_defined(inner[side], rules) for side in ("value", "collection"))
    return _named(node)


def _named(node: Tree) -> bool:
    """Whether it is a name, or members of one by names."""
    kind, inner = next(iter(node.items()))
    if kind == "RefBrack":
        return _named(inner["refr"]) and bool(_LITERALS & inner["index"].keys())
    return kind == "Var" or (kind == "RefDot" and _named(inner["refr"]))


def _defined(node: Tree, rules: set[str]) -> bool:
    """Whether it has a value whatever is asked."""
    kind, inner = next(iter(node.items()))
    if kind == "Var":
        return inner["value"] not in rules | {"input", "data"}
    if kind in {"Array", "Set"}:
        return all(_defined(item, rules) for item in inner["items"])
    return kind in _LITERALS or dotted(node) in _ALWAYS


def _names(tree: Tree) -> set[str]:
    """The rules of a module."""
    heads = [
        inner if kind == "Default" else next(iter(inner["head"].values()))
        for rule in tree["rules"]
        for kind, inner in rule.items()
    ]
    return {dotted(head["refr"]).partition(".")[0] for head in heads}


def functions(tree: Tree) -> set[str]:
    """The functions that a module defines."""
    heads = (rule.get("Spec", {}).get("head", {}) for rule in tree["rules"])
    return {dotted(head["Func"]["refr"]) for head in heads if "Func" in head}


def found(node: Tree, kind: str) -> Iterator[dict[str, Any]]:
    """All nodes of one kind in a syntax tree."""
    yield from (value for value in _members(node, kind) if isinstance(value, dict))


def references(tree: Tree) -> Iterator[Tree]:
    """All that is written with a dot, the inner ones too."""
    for inner in found(tree, "RefDot"):
        yield {"RefDot": inner}


def dotted(reference: Tree) -> str:
    """A reference by its parts; ``?`` for what is no name."""
    if "Var" in reference:
        return str(reference["Var"]["value"])
    if "RefDot" in reference:
        inner = reference["RefDot"]
        return f"{dotted(inner['refr'])}.{inner['field'][1]}"
    return "?"


def _members(node: Tree, key: str) -> Iterator[Any]:
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        for value in node.values():
            yield from _members(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _members(value, key)


def _wrong(node: Tree, message: str, hint: str) -> Wrong:
    span = node["span"]
    return Wrong(span["line"], span["col"], message, hint)
