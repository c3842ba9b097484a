"""Mutants of the terms of a grant: patterns, conditions, obligations, what egress may ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from portcullis.policy.testing.mutant import Mutant, dropped, mutant
from portcullis.policy.testing.tree import Edit, Part, Tree

_TOKEN: Final = re.compile(r"'[^']*'|\"[^\"]*\"|<=|>=|==|!=|<|>|\bnot\s+in\b|\bin\b|\band\b|\bor\b")
_PATTERNS: Final = {"models": "model", "allowed_resources": "resource"}
"""The lists of patterns, and by which key an entry on terms names its own."""
_OTHER: Final = {
    "<=": "<",
    ">=": ">",
    "<": "<=",
    ">": ">=",
    "==": "!=",
    "!=": "==",
    "in": "not in",
    "and": "or",
    "or": "and",
}


def terms(tree: Tree, grant: Part, whose: str) -> Iterator[Mutant]:
    """A pattern that fits more, an egress rule that asks less, an obligation that is gone."""
    kind = str(grant.steps[-2])
    name = tree.child(grant, _PATTERNS[kind]) if kind in _PATTERNS else None
    name = grant if kind in _PATTERNS and name is None else name
    wide = None if name is None else _pattern(kind, str(name.value))
    if name is not None and wide is not None and wide != name.value:
        yield mutant(
            "widen",
            name,
            f"{name.path} is {wide} instead of {name.value}",
            f"a denied call that fits {wide} and not {name.value}",
            Edit("set", name.file, name.steps, wide),
        )
    if kind == "egress":
        for key in ("methods", "paths"):
            part = tree.child(grant, key)
            if part is not None:
                yield dropped(part, f"a denied request of {whose} with another of {key}")
    yield from obligations(tree, grant, whose)


def conditions(tree: Tree, part: Part, whose: str) -> Iterator[Mutant]:
    """Each condition gone, each word of an expression another."""
    for condition in tree.conditions(part):
        needs = f"a call that {whose} would allow, denied because of its `{condition.name}`"
        yield dropped(condition, needs)
        if condition.name == "when" and isinstance(condition.value, str):
            for told, text in _expressions(condition.value):
                yield mutant(
                    "flip",
                    condition,
                    f"{condition.path}: {told}",
                    f"a call of {whose} that `{condition.value}` and `{text}` decide differently",
                    Edit("set", condition.file, condition.steps, text),
                )


def obligations(tree: Tree, part: Part, whose: str) -> Iterator[Mutant]:
    """Each mask, each name that is logged, each approver gone."""
    stands = tree.child(part, "obligations") if isinstance(part.value, dict) else None
    if stands is None:
        return
    for key in ("mask", "log"):
        for one in tree.below(tree.child(stands, key)):
            name = one.value if key == "log" else one.name
            needs = f"an allowed call of {whose} that expects the obligation {key} of {name}"
            yield dropped(one, needs, prune=True)
    approvers = tree.child(stands, "approvers")
    if approvers is not None:
        several = isinstance(approvers.value, dict)
        for one in list(tree.below(approvers)) if several else [approvers]:
            yield _fewer(one, whose, f" and the class {one.name}" if several else "")


def _fewer(number: Part, whose: str, of: str) -> Mutant:
    """One person less has to let a call through."""
    needs = f"an allowed call of {whose} that expects `approvers: {number.value}`{of}"
    if number.value == 1:
        return dropped(number, needs, prune=True)
    return mutant(
        "lower",
        number,
        f"{number.path} is {number.value - 1} instead of {number.value}",
        needs,
        Edit("set", number.file, number.steps, number.value - 1),
    )


def _pattern(kind: str, value: str) -> str | None:
    """A pattern that fits what this one fits, and more."""
    if kind == "models":
        return "*" if value.endswith("*") else f"{value}*"
    if not value.endswith("/*"):
        return None
    parent = value.removesuffix("/*").rpartition("/")[0]
    return None if not parent or parent.endswith("/") else f"{parent}/*"


def _expressions(text: str) -> Iterator[tuple[str, str]]:
    """The expression with one comparison or connective another, each once; texts stay."""
    for found in _TOKEN.finditer(text):
        word = " ".join(found[0].split())
        other = "in" if word == "not in" else _OTHER.get(word)
        if other is not None:
            changed = f"{text[: found.start()]}{other}{text[found.end() :]}"
            yield f"{word} is {other} (column {found.start() + 1})", changed
