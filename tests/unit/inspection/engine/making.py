"""Rules for tests."""

from __future__ import annotations

from functools import cache
from typing import Any

from portcullis.core.inspection import Category, Match
from portcullis.inspection import packs
from portcullis.inspection.patterns import Patterns
from portcullis.inspection.rules import Rule


@cache
def shipped(*, accelerated: bool | None = None) -> Patterns:
    return Patterns(packs.select(packs.builtin()), accelerated=accelerated)


def rule(pattern: str = "", entity: str = "THING", **rest: Any) -> Rule:
    values = {"id": entity.lower().replace("_", "-"), "category": Category.PERSONAL} | rest
    return Rule(entity=entity, pattern=pattern, **values)


def spans(text: str, found: tuple[Match, ...]) -> list[tuple[str, str]]:
    return [(one.entity, text[one.start : one.end]) for one in found]
