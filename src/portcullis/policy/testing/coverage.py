"""Which parts of a policy decide a case at least once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from portcullis.core.verdict import Allow
from portcullis.policy.source import SourceFile
from portcullis.policy.testing.model import Case, Outcome
from portcullis.policy.testing.run import path_of
from portcullis.policy.testing.tree import Part, Tree, entry_name


class Coverable(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a policy that decides. ``told`` is what it says, in a word."""

    kind: Literal["grant", "denial", "bound", "condition"]
    path: str
    origin: str
    told: str


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What of a policy was decisive, and what never was."""

    covered: tuple[Coverable, ...]
    missed: tuple[Coverable, ...]

    @property
    def percent(self) -> float:
        """How much was decisive; 100 where there is nothing that could be."""
        total = len(self.covered) + len(self.missed)
        return 100.0 * len(self.covered) / total if total else 100.0


def coverage(
    files: tuple[SourceFile, ...], cases: Iterable[Case], outcomes: Iterable[Outcome]
) -> Coverage:
    """What decided cases that came out as expected.

    A grant is decisive where it allows, a denial, a bound and a condition where it denies, each
    where the verdict names it, or something below it. A provider's feature is where a model is
    allowed with it.
    """
    allowed: set[str] = set()
    denied: set[str] = set()
    features: set[str] = set()
    for case, outcome in zip(cases, outcomes, strict=True):
        if not outcome.passed:
            continue
        granted = isinstance(outcome.verdict, Allow)
        rule = outcome.verdict.rule
        path = path_of(rule)
        (allowed if granted else denied).update((path, f"{path.rpartition(']')[0]}]", rule))
        if granted:
            features |= {f"{path_of(rule)} {one}" for one in case.call.features}
    covered: list[Coverable] = []
    missed: list[Coverable] = []
    for one in coverable(Tree(files)):
        there = one.path in (allowed if one.kind == "grant" else denied)
        if one.path.startswith("custom."):
            there = f"{one.path} @ {one.origin}" in denied
        if ".provider_features[" in one.path:
            role = one.path.partition(".provider_features[")[0]
            there = any(
                said.startswith(f"{role}.") and said.endswith(f" {one.told}") for said in features
            )
        (covered if there else missed).append(one)
    return Coverage(covered=tuple(covered), missed=tuple(missed))


def coverable(tree: Tree) -> Iterator[Coverable]:
    """Everything in a policy that decides by itself."""
    for agent in tree.section("agents"):
        expires = tree.child(agent, "expires")
        if expires is not None:
            yield _coverable("condition", expires, str(expires.value))
    for role in tree.section("roles"):
        yield from (_condition(one) for one in tree.conditions(role))
        for grant in tree.grants(role):
            yield _coverable("grant", grant, _name(grant))
            yield from (_condition(one) for one in tree.conditions(grant))
        for denial in tree.below(tree.child(role, "denied_tools")):
            yield _coverable("denial", denial, _name(denial))
    for tool in tree.section("tools"):
        for bound in (*tree.bounds(tool), *tree.bindings(tool)):
            yield _coverable("bound", bound, bound.name)
    yield from (_coverable("denial", one, "hand-written") for one in tree.denials())


def _condition(part: Part) -> Coverable:
    return _coverable("condition", part, part.name)


def _name(part: Part) -> str:
    return entry_name(part.value)


def _coverable(
    kind: Literal["grant", "denial", "bound", "condition"], part: Part, told: str
) -> Coverable:
    return Coverable(kind=kind, path=part.path, origin=part.place.origin, told=told)
