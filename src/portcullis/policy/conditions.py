"""``when:`` of a grant: an expression of ours, or a body of Rego, as rules of the role's module.

An expression is true, false or *unknown*, and holds when it is true. A test is unknown when what
it looks at is not there, or is of another type than what it is compared to: nothing is converted.
``not`` of unknown is unknown; ``and`` is false when one side is, and else unknown when one side
is; ``or`` is true when one side is, and else unknown when one side is (Kleene). The rules below
say when it is TRUE, with every ``not`` moved down to the tests; each test and its opposite ask of
``values.rego``, where what is undefined or of another type is neither.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import yaml

from portcullis.policy import expressions
from portcullis.policy.expressions import Not, Operand, Path, Several, Test, Tree, plain
from portcullis.policy.snippets import snippet
from portcullis.policy.yaml import Entry, Reader

_OPPOSITE: Final = {
    "==": "!=",
    "!=": "==",
    "<": ">=",
    "<=": ">",
    ">": "<=",
    ">=": "<",
    "in": "not in",
    "not in": "in",
}
_FUNCTIONS: Final = {
    "==": "alike",
    "!=": "unlike",
    "<": "below",
    "<=": "at_most",
    ">": "above",
    ">=": "at_least",
    "in": "among",
    "not in": "apart",
    "startswith": "begins",
    "matches": "fits",
}
_NEITHER: Final = {"startswith": "begins_otherwise", "matches": "misfits"}


@dataclass(frozen=True, slots=True)
class Condition:
    """When a grant holds. ``tree`` is an expression's, ``rego`` the body of a snippet's rule.

    ``argued``: the arguments of the call are asked about, so that whether it could hold of some
    call is another question than whether it holds.
    """

    entry: Entry
    tree: Tree | None = None
    rego: str = ""
    argued: bool = True

    def rules(self, name: str) -> str:
        """The rule ``name`` (true when it holds) and its helpers, as Rego."""
        if self.tree is None:
            body = "\n".join(f"\t{line}".rstrip() for line in self.rego.strip().splitlines())
            return f"{name} if {{\n{body}\n}}\n"
        return _Writer(name).whole(self.tree)

    def possible(self, name: str) -> str:
        """The rule ``name``: true when it holds of some arguments. Empty: it may always."""
        found = None if self.tree is None else _possible(self.tree, wanted=True)
        return "" if found is None else _Writer(name).whole(found)


def read_condition(reader: Reader, node: yaml.Node, path: str) -> Condition | None:
    """Read ``when:``, a text or ``{rego: TEXT}``; ``path`` is the key's."""
    if isinstance(node, yaml.MappingNode):
        keys = reader.section(node, path, ("rego",))
        text = reader.value(keys["rego"], f"{path}.rego") if "rego" in keys else None
        if not isinstance(text, str):
            reader.fault(node, f"{path} must be an expression or `{{rego: TEXT}}`")
            return None
        wrong = snippet(text)
        if wrong:
            reader.fault(keys["rego"], f"{path}.rego: {wrong.message}", wrong.hint)
            return None
        return Condition(Entry("rego", reader.place(node), path), rego=text)
    text = reader.value(node, path)
    if not isinstance(text, str):
        reader.fault(node, f"{path} must be an expression or `{{rego: TEXT}}`", "Quote it.")
        return None
    try:
        tree = expressions.read(text)
    except expressions.Unreadable as fault:
        reader.fault_within(node, fault.offset, f"{path}: {fault.message}", fault.hint)
        return None
    entry = Entry(" ".join(text.split()), reader.place(node), path)
    return Condition(entry, tree=tree, argued=any(test.argued for test in _tests(tree)))


def _tests(tree: Tree) -> Iterator[Test]:
    if isinstance(tree, Test):
        yield tree
    elif isinstance(tree, Not):
        yield from _tests(tree.inner)
    else:
        for inner in tree.inner:
            yield from _tests(inner)


def _possible(tree: Tree, *, wanted: bool) -> Tree | None:
    """What must be so, whatever the arguments, for the tree to be ``wanted``; None for nothing."""
    if isinstance(tree, Test):
        if tree.argued:
            return None
        return tree if wanted else Not(tree)
    if isinstance(tree, Not):
        return _possible(tree.inner, wanted=not wanted)
    word = tree.word if wanted else ("or" if tree.word == "and" else "and")
    found = [_possible(inner, wanted=wanted) for inner in tree.inner]
    kept = tuple(one for one in found if one is not None)
    if not kept or (word == "or" and len(kept) < len(found)):
        return None
    return kept[0] if len(kept) == 1 else Several(word, kept)


class _Writer:
    """Writes the rules of one condition; ``or`` and ``exists`` take helper rules."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers = itertools.count(1)
        self._helpers: list[str] = []

    def whole(self, tree: Tree) -> str:
        bodies = self._bodies(tree, wanted=True)
        return "\n".join([*(self._rule(self._name, body) for body in bodies), *self._helpers])

    def _bodies(self, tree: Tree, *, wanted: bool) -> list[list[str]]:
        """The bodies of a rule, any of which is enough."""
        if isinstance(tree, Not):
            return self._bodies(tree.inner, wanted=not wanted)
        if isinstance(tree, Several) and (tree.word == "or") == wanted:
            return [body for one in tree.inner for body in self._bodies(one, wanted=wanted)]
        return [self._lines(tree, wanted=wanted)]

    def _lines(self, tree: Tree, *, wanted: bool) -> list[str]:
        """The lines of one body, all of which must hold."""
        if isinstance(tree, Not):
            return self._lines(tree.inner, wanted=not wanted)
        if isinstance(tree, Test):
            return [self._test(tree, wanted=wanted)]
        if (tree.word == "and") == wanted:
            return [line for one in tree.inner for line in self._lines(one, wanted=wanted)]
        helper = self._helper("any")
        bodies = self._bodies(tree, wanted=wanted)
        self._helpers += [self._rule(helper, body) for body in bodies]
        return [helper]

    def _test(self, test: Test, *, wanted: bool) -> str:
        left = _operand(test.left)
        if test.operator == "exists":
            helper = self._helper("given")
            self._helpers.append(self._rule(helper, [f"{left} != null"]))
            return helper if wanted else f"not {helper}"
        operator: str = test.operator
        if not wanted and operator in _OPPOSITE:
            operator, wanted = _OPPOSITE[operator], True
        function = _FUNCTIONS[operator] if wanted else _NEITHER[operator]
        right = (
            f"[{', '.join(map(_operand, test.right))}]"
            if isinstance(test.right, tuple)
            else plain(f"^(?:{test.right})$")
            if operator == "matches"
            else _operand(test.right)
        )
        return f"values.{function}({left}, {right})"

    def _helper(self, word: str) -> str:
        return f"{self._name}_{word}{next(self._numbers)}"

    @staticmethod
    def _rule(name: str, lines: list[str]) -> str:
        if len(lines) == 1:
            return f"{name} if {lines[0]}\n"
        return f"{name} if {{\n" + "".join(f"\t{line}\n" for line in lines) + "}\n"


_ROOTS: Final[dict[str, Callable[[tuple[str | int, ...]], str]]] = {
    "arguments": lambda parts: "input.arguments" + _members(parts),
    "session": lambda parts: "input.session" + _members(parts),
    "agent": lambda parts: (
        "input.principal.id"
        if parts == ("id",)
        else "data.policy.agents[input.principal.id]" + _members(parts)
    ),
    "environment": lambda _: "input.environment",
}


def _operand(operand: Operand) -> str:
    if not isinstance(operand, Path):
        return plain(operand)
    path = _ROOTS[str(operand.parts[0])](operand.parts[1:])
    return f"values.size({path})" if operand.counted else path


def _members(parts: tuple[str | int, ...]) -> str:
    return "".join(f"[{plain(part)}]" for part in parts)
