"""What one policy holds back and another does not, or less: each named in one line.

Where it cannot be told that the new is at least as strict as the old, it counts as less.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from portcullis.core.call import RiskClass
from portcullis.core.containment import (
    LEVELS,
    RISKS,
    Containment,
    Memory,
    QuestionKind,
    ResultField,
    RiskRule,
    ToolModel,
    Treatment,
)
from portcullis.policy.model import Bound, Tool
from portcullis.provenance.arguments import argument_of
from portcullis.provenance.intent import wanted

_STRICT: Final = {one: rank for rank, one in enumerate(Treatment)}


def containment(old: Containment | None, new: Containment | None) -> Iterator[str]:
    """What is asked, held, denied or limited less than before."""
    if old is None:
        return
    if new is None:
        yield "containment is gone"
        return
    for kind in QuestionKind:
        yield from _treatments(kind, old, new)
    for kinds in old.never:
        if not any(some <= kinds for some in new.never) and not _denied(kinds, new):
            yield f"never [{', '.join(sorted(kinds))}] is gone"
    if old.approvals is not None and (new.approvals is None or new.approvals > old.approvals):
        limit = "no limit" if new.approvals is None else new.approvals
        yield f"approvals {old.approvals} -> {limit}"


def _treatments(kind: QuestionKind, old: Containment, new: Containment) -> Iterator[str]:
    changed: dict[tuple[Treatment, Treatment], list[RiskClass]] = {}
    for risk in RiskClass:
        was, now = old.treatment_of(kind, risk), new.treatment_of(kind, risk)
        if _STRICT[now] < _STRICT[was]:
            changed.setdefault((was, now), []).append(risk)
    for (was, now), risks in changed.items():
        where = "" if len(risks) == len(RiskClass) else f" ({', '.join(risks)})"
        yield f"{kind}{where}: {was} -> {now}"


def _denied(kinds: frozenset[QuestionKind], said: Containment) -> bool:
    """Whether one of these questions is a denial by itself."""
    return any(
        all(said.treatment_of(kind, risk) is Treatment.DENY for risk in RiskClass) for kind in kinds
    )


def limits(old: Tool, new: Tool) -> Iterator[str]:
    """The class, bounds, schemas and rules of suspicious values that hold a tool back less."""
    name = old.name.value
    if RISKS[new.risk] < RISKS[old.risk]:
        yield f"risk of {name}: {old.risk} -> {new.risk}"
    for rule in old.rules:
        if not _raised(rule, new):
            arguments = ", ".join(one.argument for one in rule.when)
            yield f"raise of {name} to {rule.risk} by {arguments} is gone"
    for bound in old.bounds:
        if not implied(bound, new):
            same = any(
                (one.argument, one.kind) == (bound.argument, bound.kind) for one in new.bounds
            )
            how = "wider" if same else "gone"
            yield f"bound {bound.kind} of {name}.{bound.argument} is {how}"
    for argument, schema in old.schemas.items():
        if new.schemas.get(argument) != schema:
            yield f"schema of {name}.{argument} is another"
    for argument, rules in new.tolerated.items():
        known = {entry.value for entry in old.tolerated.get(argument, ())}
        for one in sorted({entry.value for entry in rules} - known):
            yield f"{name}.{argument} tolerates {one}"


def _raised(rule: RiskRule, new: Tool) -> bool:
    """Whether the tool is of no lower class whenever this rule holds."""
    wanted = RISKS[rule.risk]
    return RISKS[new.risk] >= wanted or any(
        set(one.when) <= set(rule.when) and RISKS[one.risk] >= wanted for one in new.rules
    )


def implied(bound: Bound, new: Tool) -> bool:
    """Whether the new bounds of the same argument let through nothing that this one does not."""
    others = {one.kind: one for one in new.bounds if one.argument == bound.argument}
    same, fixed, listed = others.get(bound.kind), others.get("equals"), others.get("enum")
    if same is not None and _narrower(bound, same):
        return True
    if bound.kind == "required" or bound.session:
        return fixed is not None and bound.kind == "required"
    if fixed is not None and not fixed.session:
        return holds(bound, fixed.value)
    return listed is not None and all(holds(bound, one) for one in listed.value)


def _narrower(old: Bound, new: Bound) -> bool:
    was, now = old.value, new.value
    match old.kind:
        case "equals":
            return _same(was, now) and old.session == new.session
        case "enum":
            return all(holds(old, one) for one in now)
        case "prefix":
            return bool(now.startswith(was))
        case "maximum" | "max_length":
            return bool(now <= was)
        case "minimum":
            return bool(now >= was)
        case "required":
            return True


def holds(bound: Bound, value: Any) -> bool:
    """Whether a value that policy names is within a bound."""
    limit = bound.value
    if bound.kind in {"equals", "enum"}:
        return any(_same(one, value) for one in (limit if bound.kind == "enum" else [limit]))
    if bound.kind in {"maximum", "minimum"}:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and bool(value <= limit if bound.kind == "maximum" else value >= limit)
    if not isinstance(value, str):
        return False
    if bound.kind == "prefix":
        return value.startswith(limit) and ".." not in value
    return bound.kind == "max_length" and len(value) <= int(limit)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def catalogue(was: ToolModel | None, now: ToolModel) -> Iterator[str]:
    """What of a tool's meaning lets it be asked about less; ``was`` is None where it had none."""
    name = now.tool
    if was is None:
        yield f"the catalogue knows {name}"
        return
    yield from _arguments(name, was, now)
    answers = (msgspec.structs.replace(one, arguments=one.answers) for one in (was, now))
    yield from _arguments(f"{name} (answer)", *answers)
    yield from _results(name, was.results, now.results)
    if wanted(now) - wanted(was):
        yield f"intent of {name} goes by {', '.join(now.intent) or 'its name'}"
    if now.bare and not was.bare:
        yield f"{name} sends nothing but its arguments"
    yield from _memory(name, was.memory, now.memory)


def _memory(tool: str, was: Memory | None, now: Memory | None) -> Iterator[str]:
    if was is None or now == was:
        return
    if now is None or msgspec.structs.replace(now, written=was.written) != was:
        yield f"memory of {tool} is another"
    elif was.written:
        yield f"no tool writes the memory of {tool}"


def _arguments(tool: str, old: ToolModel, new: ToolModel) -> Iterator[str]:
    for name in sorted({*old.arguments, *new.arguments}):
        was, now = argument_of(old, name), argument_of(new, name)
        place = f"{tool}.{name}"
        if now is None:
            yield f"{place} is known no more"
            continue
        if was is None:
            yield f"{place} is known: {now.role}"
            continue
        if now.role is not was.role:  # of each role, something else is asked
            yield f"role of {place}: {was.role} -> {now.role}"
        if was.carries and not now.carries:
            yield f"{place} carries nothing"
        if set(now.lookups) - set(was.lookups):
            yield f"{place} has another lookup"


def _results(
    tool: str, old: tuple[ResultField, ...], new: tuple[ResultField, ...]
) -> Iterator[str]:
    before = {field.path: field for field in old}
    after = {field.path: field for field in new}
    for path in sorted({*before, *after}):
        was, now = (side.get(path, ResultField(path=path)) for side in (before, after))
        place = f"{tool} {'.'.join(path) or 'result'}"
        for role in sorted(set(now.trusted) - set(was.trusted)):
            yield f"{place} is trusted as {role}"
        if LEVELS[now.confidentiality] < LEVELS[was.confidentiality]:
            yield f"confidentiality of {place}: {was.confidentiality} -> {now.confidentiality}"
        if (now.trusted or now.named) and LEVELS[now.clearance] > LEVELS[was.clearance]:
            yield f"clearance of {place}: {was.clearance} -> {now.clearance}"
        if now.links and not was.links:
            yield f"links of {place} may be read"
        if now.named and not was.named:
            yield f"addresses in {place} that bear a name of the user's are destinations"
