"""Mutants of what a role may use and see: its limits, its access to data, how tools show that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from portcullis.policy.data_access import ANY, NOTHING
from portcullis.policy.testing.mutant import Mutant, dropped, mutant
from portcullis.policy.testing.tree import Edit, Part, Tree

_SHOWN: Final = ("argument", "everything", "results")


def limits(tree: Tree, role: Part) -> Iterator[Mutant]:
    """Each of ``resource_limits`` gone, and a little higher."""
    for limit in tree.below(tree.child(role, "resource_limits")):
        needs = f"a case of an agent of {role.name} that expects `limits: {{{limit.name}: ...}}`"
        yield dropped(limit, needs, prune=True)
        higher = limit.value + 1
        yield mutant(
            "widen",
            limit,
            f"{limit.path} is {higher} instead of {limit.value}",
            needs,
            Edit("set", limit.file, limit.steps, higher),
        )


def access(tree: Tree, role: Part) -> Iterator[Mutant]:
    """Each dimension of ``data_access`` as wide as can be, each value gone, each no a yes."""
    for one in tree.below(tree.child(role, "data_access")):
        if isinstance(one.value, bool):
            wide: Any = not one.value
            told = f"{one.path} is {str(wide).lower()}"
            kind = "an allowed" if one.value else "a denied"
            needs = f"{kind} call by {role.name} that is about {one.name}"
            yield mutant("flip", one, told, needs, Edit("set", one.file, one.steps, wide))
            continue
        if one.value != [ANY]:
            needs = f"a denied call by {role.name} to others of {one.name}"
            edit = Edit("set", one.file, one.steps, [ANY])
            yield mutant("widen", one, f"{one.path} is all there are", needs, edit)
        for value in tree.below(one):
            yield mutant(
                "narrow",
                value,
                f"{one.path} without {value.value}",
                f"an allowed call by {role.name} to {value.value}",
                Edit("drop", value.file, value.steps)
                if len(one.value) > 1
                else Edit("drop", one.file, one.steps, prune=True),
            )


def bindings(tree: Tree, tool: Part) -> Iterator[Mutant]:
    """Each way gone by which calls of a tool show their data, and all of them."""
    data = tree.child(tool, "data")
    if data is None or data.value == NOTHING:
        return
    yield mutant(
        "widen",
        data,
        f"{data.path} is none",
        f"a call of {tool.name} that is denied because of the data it is about",
        Edit("set", data.file, data.steps, NOTHING),
    )
    for binding in tree.bindings(tool):
        for key in _SHOWN:
            part = tree.child(binding, key)
            if part is not None:
                yield dropped(part, _needs(tool, binding, key))
        yield from _classes(tree, tool, list(tree.below(tree.child(binding, "classes"))))


def _classes(tree: Tree, tool: Part, classes: list[Part]) -> Iterator[Mutant]:
    """A value that is of a class which some role has is of none; any other is of such a class."""
    had = [one for one in classes if _had(tree, one.name)]
    for one in classes:
        for value in tree.below(one):
            out = Edit("drop", value.file, value.steps)
            if one in had and len(one.value) > 1:
                told = f"{one.path} without {value.value}"
                needs = f"an allowed call of {tool.name} for {value.value}, or `rows` with it"
                yield mutant("narrow", value, told, needs, out)
            elif one not in had and had and len(one.value) > 1:
                told = f"{value.value} is of the class {had[0].name} instead of {one.name}"
                needs = f"a denied call of {tool.name} for {value.value}"
                into = Edit("add", had[0].file, had[0].steps, value.value)
                yield mutant("swap", value, told, needs, into, out)


def _had(tree: Tree, name: str) -> bool:
    """Whether some role may reach a class, or values of it."""
    access = (tree.child(role, "data_access") for role in tree.section("roles"))
    return any(
        isinstance(one.value, dict) and one.value.get(name) for one in access if one is not None
    )


def _needs(tool: Part, binding: Part, key: str) -> str:
    if key == "results":
        return f"an allowed call of {tool.name} that expects the obligation rows of {binding.name}"
    if key == "everything":
        return f"a denied call of {tool.name} that asks for everything"
    return f"a call of {tool.name} that is denied, and one that is allowed, for its {binding.name}"
