"""How long hand-written Rego may take: by its loops, and by how much a call brings to them.

regorus' interpreter runs for as long as it takes, and who sends a list of thousands to two nested
loops decides how long that is. So the loops of each rule are counted when a package is loaded, and
what they come to is computed from the question before it is asked. It errs upwards: each loop over
what a rule gathers counts as one in all of that rule's. Rules that make lists longer than what the
question holds are beyond it; what it does not foresee ends by the clock (``policy.custom``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from portcullis.policy.syntax import Tree, dotted, found, parsed

MOST_STEPS: Final = 200_000
"""Turns of loops in one decision, some 0.4 s on a slow machine."""
MOST_DEEP: Final = 64
"""How many rules may stand behind one another."""
_BYTES: Final = 4096
"""Of so much text, a turn may look at all."""
_MAKING: Final = frozenset({"concat", "regex.replace"})
"""What makes longer texts of shorter ones."""
_LITERAL: Final = ("Array", "Set", "Object")


@dataclass(frozen=True, slots=True)
class Loops:
    """Loops one in another: over what a call brings, and over ``data``.

    ``fixed`` are the turns of those over lists that stand in the text.
    """

    asked: int = 0
    said: int = 0
    fixed: int = 1

    def within(self, other: Loops) -> Loops:
        """The two, one in the other."""
        return Loops(self.asked + other.asked, self.said + other.said, self.fixed * other.fixed)

    def turns(self, most: int, known: int) -> int:
        """How many turns that is where no list has more items than these."""
        own = min(max(known, 1) ** self.said, MOST_STEPS // 100)  # the author's, not the caller's
        return int(max(most, 1) ** self.asked * own * self.fixed)


@dataclass(frozen=True, slots=True)
class Cost:
    """What the rules of some packages cost; ``known`` is the longest collection of their data.

    ``splits``: they make lists of texts; ``makes``: they make texts, too.
    """

    rules: tuple[Loops, ...]
    splits: bool
    makes: bool
    known: int = 0

    def steps(self, question: Any, size: int) -> int:
        """An upper bound of the turns that a question of ``size`` bytes takes."""
        items, text = _largest(question)
        if self.splits:
            items = max(items, size if self.makes else text)
        looks = 1 + size // _BYTES
        return sum(one.turns(items, self.known) * (looks if one.asked else 1) for one in self.rules)


def cost(texts: tuple[str, ...], data: Any) -> Cost:
    """What packages cost that were read before."""
    seen = [_looked(text) for text in texts]
    return Cost(
        tuple(loops for rules, _ in seen for loops in rules),
        any("split" in calls for _, calls in seen),
        any(_MAKING & calls for _, calls in seen),
        _largest(data)[0],
    )


def endless(tree: Tree) -> bool:
    """Whether its own lists, one in another, are more than a decision may take."""
    return any(one.fixed > MOST_STEPS for one in _rules(tree))


def tangled(tree: Tree) -> str:
    """What of its functions and rules would take regorus' whole stack; empty for nothing.

    It ends the process: a function that calls itself, or a chain that is too long.
    """
    named = _named_rules(tree)
    calls = {
        name: {dotted(one["fcn"]) for one in found(rules, "Call")} & named.keys()
        for name, rules in named.items()
    }
    for name in sorted(named):
        reached, left = set[str](), set(calls[name])
        while left:
            one = left.pop()
            reached.add(one)
            left |= calls[one] - reached
        if name in reached:
            return f"{name} calls itself"
    uses = {
        name: {one["value"] for rule in rules for one in found(_inside(rule), "Var")} & named.keys()
        for name, rules in named.items()
    }
    known: dict[str, int] = {}

    def depth(name: str, above: int) -> int:
        if above > MOST_DEEP:
            return above
        if name not in known:
            known[name] = 0  # in between: a rule that refers to itself is refused by the engine
            known[name] = 1 + max((depth(one, above + 1) for one in uses[name]), default=0)
        return known[name]

    deep = any(depth(name, 0) > MOST_DEEP for name in sorted(named))
    return f"rules refer to each other more than {MOST_DEEP} deep" if deep else ""


def _inside(rule: Tree) -> list[Tree]:
    """A rule without its own name."""
    head = next(iter(rule["head"].values())) if "head" in rule else {}
    return [rule.get("bodies"), {key: value for key, value in head.items() if key != "refr"}]


def _named_rules(tree: Tree) -> dict[str, list[Tree]]:
    named: dict[str, list[Tree]] = {}
    for rule in tree["rules"]:
        kind, inner = next(iter(rule.items()))
        head = inner if kind == "Default" else next(iter(inner["head"].values()))
        named.setdefault(dotted(head["refr"]).partition(".")[0], []).append(inner)
    return named


@functools.lru_cache(maxsize=256)
def _looked(text: str) -> tuple[tuple[Loops, ...], frozenset[str]]:
    tree = parsed(text)
    return tuple(_rules(tree)), frozenset(dotted(one["fcn"]) for one in found(tree, "Call"))


def _largest(value: Any) -> tuple[int, int]:
    """The items of the longest collection in a value, and the characters of the longest text."""
    items = text = 0
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            text = max(text, len(one))
        elif isinstance(one, dict | list):
            items = max(items, len(one))
            left += one.values() if isinstance(one, dict) else one
            text = max(text, *map(len, one)) if isinstance(one, dict) and one else text
    return items, text


def _rules(tree: Tree) -> list[Loops]:
    """The loops of each rule, with those of what it refers to."""
    named = _named_rules(tree)
    known: dict[str, tuple[Loops, ...]] = {}

    def of(name: str) -> tuple[Loops, ...]:
        """All that a name may come to; one that refers to itself does not compile."""
        if name not in known:
            known[name] = (Loops(),)
            known[name] = tuple(one for rule in named[name] for one in _of(rule, of, named))
        return known[name]

    return [one for name in named for one in of(name)]


def _of(
    rule: Tree, of: Callable[[str], tuple[Loops, ...]], named: dict[str, list[Tree]]
) -> Iterator[Loops]:
    """The loops of one rule, each of its bodies apart."""
    head = {key: value for key, value in rule.items() if key != "bodies"}
    bound = _bound(rule)
    for body in rule.get("bodies") or [None]:
        loops = _own([head, body], bound)
        for name in _used([head, body]):
            loops = loops.within(_worst(of(name))) if name in named else loops
        yield loops


def _used(part: Tree) -> list[str]:
    """The names whose values go on into something, such as a loop, as often as they do.

    A rule is evaluated once; one that is only true or not, or counted, costs what it costs itself.
    """
    names = [one["value"] for one in found(part, "Var")]
    alone = [one["expr"] for kind in ("Expr", "NotExpr") for one in found(part, kind)]
    for call in found(part, "Call"):
        alone += call["params"] if dotted(call["fcn"]) == "count" else []
    for one in alone:
        if "Var" in one:
            names.remove(one["Var"]["value"])
    return names


def _worst(loops: tuple[Loops, ...]) -> Loops:
    """At least as much as each of them."""
    return Loops(
        max(one.asked for one in loops),
        max(one.said for one in loops),
        max(one.fixed for one in loops),
    )


def _own(part: Tree, bound: set[str]) -> Loops:
    loops = Loops()
    for kind, over in (("SomeIn", "collection"), ("Every", "domain"), ("Membership", "collection")):
        for node in found(part, kind):
            loops = loops.within(_over(node[over], member=kind == "Membership"))
    free: set[str] = set()
    for node in found(part, "RefBrack"):
        index = node["index"]
        name = index.get("Var", {}).get("value")
        if name == "_" or any(one in index for one in _LITERAL):
            loops = loops.within(_over(node["refr"]))
        elif name is not None and name not in bound | free:
            free.add(name)
            loops = loops.within(_over(node["refr"]))
    return loops


def _over(collection: Tree, *, member: bool = False) -> Loops:
    for kind in _LITERAL:
        if kind in collection:
            inner = collection[kind]
            items = inner.get("items", inner.get("fields", ()))
            return Loops() if member else Loops(fixed=max(1, len(items)))
    while isinstance(collection, dict):
        kind, inner = next(iter(collection.items()))
        if kind not in {"RefDot", "RefBrack"}:
            break
        collection = inner["refr"]
    said = collection.get("Var", {}).get("value") == "data"
    return Loops(said=1) if said else Loops(asked=1)


def _bound(rule: Tree) -> set[str]:
    """The variables that something else gives a value: arguments, `:=`, and loops by name."""
    given: list[Tree] = [one["args"] for one in found(rule, "Func")]
    given += [one["lhs"] for one in found(rule, "AssignExpr")]
    for node in found(rule, "SomeIn"):
        given += [node["key"], node["value"]]
    return {one["value"] for one in found(given, "Var")}
