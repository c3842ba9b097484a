"""Rule packs: YAML files that say what to look for, with examples beside each rule."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import msgspec

from portcullis.config.yaml import Unreadable, compose, construct
from portcullis.core.errors import Problem
from portcullis.inspection.matcher import searcher
from portcullis.inspection.patterns import Patterns
from portcullis.inspection.rules import Example, Rule, fault
from portcullis.inspection.validators import VALIDATORS

__all__ = ["Pack", "Rule", "builtin", "examples", "load", "rules", "select"]


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one file, in its order."""

    name: str
    rules: tuple[Rule, ...]


def load(path: Path) -> Pack:
    """Read and check one pack. Raises Problem PC7014 with the file, the rule and the reason.

    Its examples are run by ``examples``, not here.
    """
    pack = _read(path)
    for rule in pack.rules:
        try:
            if rule.parsed is not None:
                searcher(rule, rule.parsed)
        except ValueError as error:
            raise Problem("PC7014", f"{path.name}: rule {rule.id}: pattern: {error}") from None
    return pack


def _read(path: Path | Traversable) -> Pack:
    file = path.name
    try:
        data = construct(compose(path.read_text(encoding="utf-8")))
    except Unreadable as unreadable:
        detail = f"{file}:{unreadable.line}: {unreadable.reason}"
        raise Problem("PC7014", detail, hint=unreadable.hint) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not valid UTF-8"
        raise Problem("PC7014", f"{file}: {reason}") from None
    if not isinstance(data, dict) or not isinstance(data.get("rules"), list):
        raise Problem("PC7014", f"{file}: expected `pack`, a name, and `rules`, a list")
    if unknown := sorted(map(str, data.keys() - {"pack", "rules"})):
        raise Problem("PC7014", f"{file}: unknown key {unknown[0]}")
    name = data.get("pack")
    if not isinstance(name, str) or not name:
        raise Problem("PC7014", f"{file}: `pack` must be a name")
    found = tuple(_rule(file, place, item) for place, item in enumerate(data["rules"], 1))
    _unique(found, file)
    return Pack(name=name, rules=found)


def _rule(file: str, place: int, item: object) -> Rule:
    known = item.get("id") if isinstance(item, dict) else None
    name = known if isinstance(known, str) else f"number {place}"
    try:
        rule = msgspec.convert(item, Rule)
    except msgspec.ValidationError as error:
        raise Problem("PC7014", f"{file}: rule {name}: {error}") from None
    if reason := fault(rule, VALIDATORS):
        raise Problem("PC7014", f"{file}: rule {name}: {reason}")
    return rule


def _unique(found: Sequence[Rule], place: str) -> None:
    seen: set[str] = set()
    for rule in found:
        if rule.id in seen:
            raise Problem("PC7014", f"{place}: rule {rule.id}: the id stands twice")
        seen.add(rule.id)


@cache
def builtin() -> tuple[Pack, ...]:
    """The packs that ship, by name. Raises Problem PC7014."""
    folder = resources.files("portcullis.inspection").joinpath("packs")
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".yaml")), key=_name)
    return tuple(_read(file) for file in files)


def _name(file: Traversable) -> str:
    return file.name


def rules(packs: Sequence[Pack]) -> tuple[Rule, ...]:
    """All rules of the packs, in order. Raises Problem PC7014 when an id stands in two."""
    found = tuple(rule for pack in packs for rule in pack.rules)
    _unique(found, "packs")
    return found


def select(packs: Sequence[Pack], without: Collection[str] = ()) -> tuple[Rule, ...]:
    """All rules of the packs but those whose ids are in ``without``.

    Raises Problem PC7014 for an id that stands in two packs, and for one in ``without`` that no
    pack holds: a rule that was meant to be off would be on.
    """
    found = rules(packs)
    if unknown := sorted(set(without) - {rule.id for rule in found}):
        raise Problem("PC7014", f"without: no rule is named {unknown[0]}")
    return tuple(rule for rule in found if rule.id not in without)


def examples(pack: Pack) -> None:
    """Run the examples of every rule. Raises Problem PC7014 naming the first that fails.

    A part of an example between « and » is the exact datum. An example of a rule with ``keys``
    may need a member's name: it must match by itself or as the value of the first key. A rule
    without a pattern is tried only so.
    """
    for rule in pack.rules:
        patterns = Patterns((rule,), accelerated=False)
        for number, example in enumerate(rule.match, 1):
            if not _matches(patterns, rule, joined(example)):
                raise _failed(pack, rule, f"match example {number} is not found")
        for number, example in enumerate(rule.reject, 1):
            key = "" if rule.pattern else rule.keys[0]
            if patterns.scan([joined(example)], [key])[0]:
                raise _failed(pack, rule, f"reject example {number} is found")


def joined(example: Example) -> str:
    """The text of an example, marks included."""
    return example if isinstance(example, str) else "".join(example)


def _matches(patterns: Patterns, rule: Rule, example: str) -> bool:
    start, end = example.find("«"), example.find("»")
    marked = 0 <= start < end
    text = example.replace("«", "").replace("»", "") if marked else example
    keys = ["", rule.keys[0]] if rule.keys else [""]
    for key in keys if rule.pattern else keys[1:]:
        spans = [(match.start, match.end) for match in patterns.scan([text], [key])[0]]
        if (start, end - 1) in spans if marked else spans:
            return True
    return False


def _failed(pack: Pack, rule: Rule, reason: str) -> Problem:
    return Problem("PC7014", f"pack {pack.name}: rule {rule.id}: {reason}")
