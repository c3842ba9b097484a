"""A mined policy as files: a role of the agent's own, its line that names it, and a patch of both.

What is not mined stays as it was written. The role is made to narrow the present one: what that
one says beside its grants goes with it, and a limit that names that one is repeated for it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec
import yaml

from portcullis.config.yaml import compose
from portcullis.policy.model import Agent, Role
from portcullis.policy.source import SourceFile
from portcullis.review.mine_evidence import Evidence
from portcullis.review.mine_role import Mined, written

_CARRIED: Final = ("inspection", "containment", "data_access", "resource_limits")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]")
_WIDTH: Final = 100


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """The files of the whole policy with the mined role, by name, and the patch that leads there.

    ``added`` is the name of the new file.
    """

    role: str
    added: str
    files: tuple[SourceFile, ...]
    patch: str


def draft(
    files: tuple[SourceFile, ...],
    agent: Agent,
    role: Role,
    mined: Sequence[Mined],
    evidence: Evidence,
    *,
    taken: frozenset[str],
) -> Draft:
    """Write the draft; ``taken`` are the names of roles that there are."""
    base = f"mined-{_UNFIT.sub('-', agent.name.value)}"[:120]
    name = next(one for one in (base, *(f"{base}-{n}" for n in range(2, 1000))) if one not in taken)
    folder = files[0].name.rpartition("/")[0]
    added = SourceFile(
        f"{folder}/{name}.yaml", _role_text(name, files, agent, role, mined, evidence)
    )
    changed = [_renamed(file, agent, name) for file in files]
    new = tuple(sorted([*changed, added], key=lambda one: one.name))
    patch = "".join(_diff(old, now) for old, now in zip(files, changed, strict=True))
    return Draft(
        role=name, added=added.name, files=new, patch=patch + _diff(SourceFile("", ""), added)
    )


def _role_text(
    name: str,
    files: tuple[SourceFile, ...],
    agent: Agent,
    role: Role,
    mined: Sequence[Mined],
    evidence: Evidence,
) -> str:
    raw = _raw(files)
    said = "nothing"
    if evidence.first is not None and evidence.last is not None:
        days = f"{evidence.first:%Y-%m-%d} to {evidence.last:%Y-%m-%d}"
        said = f"{len(evidence.learned)} calls, {days}"
    body = [*_granting(mined, raw, role, evidence), *_beside(raw, role)]
    lines = [
        f"# Mined for {_flat(agent.name.value)} from {said}.",
        f"# Not learned from: {_unlearned(evidence)}.",
        f"# It takes the place of the role {role.name.value}. Read it before you activate it.",
        "version: 1",
        "",
        "roles:",
        *([f"  {name}:", *body] if body else [f"  {name}: {{}}"]),
    ]
    limits = dict(_limits(raw, role.name.value, name))
    if limits:
        lines += ["", "limits:", *(f"  {key}: {_flow(one)}" for key, one in limits.items())]
    return "\n".join(lines) + "\n"


def _unlearned(evidence: Evidence) -> str:
    """How many calls taught nothing, and why."""
    refused, failed, suspect = evidence.refused, evidence.failed, evidence.suspect
    return f"{refused} refused, {failed} failed or without a result, {suspect} of attacked sessions"


def _granting(
    mined: Sequence[Mined], raw: Mapping[str, Any], role: Role, evidence: Evidence
) -> Iterator[str]:
    """What the role grants."""
    for kind in dict.fromkeys(one.list for one in mined):
        yield f"    {kind}:"
        for one in mined:
            if one.list == kind:
                yield from _entry(one)
    egress = [one for one in _egress(raw, role) if _used(one, evidence)]
    if egress:
        yield "    egress:"
        yield from (f"      - {_flow(one)}" for one in egress)


def _beside(raw: Mapping[str, Any], role: Role) -> Iterator[str]:
    """What the present role says beside its grants."""
    if role.denied_tools:
        yield "    denied_tools:"
        yield from (f"      - {_flow(one.value)}" for one in role.denied_tools)
    if role.obligations is not None:
        yield f"    obligations: {_flow(written(role.obligations))}"
    for key in _CARRIED:
        value = _carried(raw, role.name.value, key)
        if value is not None:
            yield f"    {key}: {_flow(value)}"


def _entry(one: Mined) -> list[str]:
    """An entry with its evidence above it: what is not bound is said as well."""
    lines = [f"      # {one.evidence}"]
    lines += [f"      #   {_flat(note)}"[:_WIDTH] for note in one.notes]
    reason = {"reason": f"mined: {one.evidence}"}
    return [*lines, f"      - {_flow({one.key: one.name} | one.terms | reason)}"]


def _flow(value: Any) -> str:
    """A value in JSON, which is YAML."""
    return msgspec.json.encode(value).decode()


def _flat(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)


def _raw(files: tuple[SourceFile, ...]) -> dict[str, Any]:
    """Roles and limits as they are written, of all files together."""
    found: dict[str, Any] = {"roles": {}, "limits": {}}
    for file in files:
        told = yaml.safe_load(file.text) if file.name.endswith(".yaml") else {}
        for name, part in found.items():
            part.update(told.get(name) or {})
    return found


def _carried(raw: Mapping[str, Any], role: str, key: str) -> Any:
    """What a role says of something, with what it inherits below that."""
    own = raw["roles"].get(role) or {}
    found: Any = None
    for parent in own.get("inherits", ()):
        found = _merged(found, _carried(raw, parent, key))
    return _merged(found, own.get(key))


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return {
            key: _merged(below.get(key), above.get(key)) for key in dict.fromkeys([*below, *above])
        }
    return below if above is None else above


def _egress(raw: Mapping[str, Any], role: Role) -> Iterator[Mapping[str, Any]]:
    """The role's rules of egress as they are written, its parents' first."""
    own = raw["roles"].get(role.name.value) or {}
    for parent in own.get("inherits", ()):
        yield from (raw["roles"].get(parent) or {}).get("egress", ())
    yield from own.get("egress", ())


def _used(rule: Mapping[str, Any], evidence: Evidence) -> bool:
    """Whether a call that was learned from went to a host of this rule."""
    host = str(rule.get("host", ""))
    hosts = {
        one.asked.call.arguments["host"]
        for one in evidence.learned
        if one.asked.call.action == "egress"
    }
    return any(
        host == name or (host.startswith("*.") and str(name).endswith(host[1:])) for name in hosts
    )


def _limits(raw: Mapping[str, Any], old: str, new: str) -> Iterator[tuple[str, Any]]:
    """The limits for the old role, as limits for the new one."""
    for key, limit in raw["limits"].items():
        named = (limit.get("for") or {}).get("role")
        globs = [named] if isinstance(named, str) else named or []
        fits = any(fnmatchcase(old, glob) for glob in globs)
        if fits and not any(fnmatchcase(new, glob) for glob in globs):
            name = f"{key}-{new.lower()}"[:63]
            yield name, {**limit, "for": {**limit["for"], "role": new}}


def _renamed(file: SourceFile, agent: Agent, role: str) -> SourceFile:
    """The file with the agent's new role, and without its observation."""
    if agent.role.place.file != file.name:
        return file
    root = compose(file.text, aliases=False)
    if not isinstance(root, yaml.MappingNode):
        return file
    agents = _member(root, "agents")
    entry = None if agents is None else _member(agents, agent.name.value)
    named = None if entry is None else _member(entry, "role")
    if not isinstance(entry, yaml.MappingNode) or named is None:
        return file
    cuts = [(named.start_mark.index, named.end_mark.index, role)]
    gone = _gone(file.text, entry, "observe")
    cuts += [] if gone is None else [(*gone, "")]
    text = file.text
    for start, end, instead in sorted(cuts, reverse=True):
        text = text[:start] + instead + text[end:]
    return SourceFile(file.name, text)


def _member(node: yaml.Node, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)


def _gone(text: str, node: yaml.MappingNode, key: str) -> tuple[int, int] | None:
    """From where to where a member stands, with what separates it from its neighbour."""
    pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
    at = next((index for index, (name, _) in enumerate(pairs) if name.value == key), None)
    if at is None or len(pairs) == 1:
        return None
    start, end = pairs[at][0].start_mark.index, pairs[at][1].end_mark.index
    if at + 1 < len(pairs):
        return start, pairs[at + 1][0].start_mark.index
    before = pairs[at - 1][1].end_mark.index
    return (before, end) if node.flow_style else (before, len(text[:end].rstrip()))


def _diff(old: SourceFile, new: SourceFile) -> str:
    names = (_within(old.name, "a"), _within(new.name, "b"))
    lines = difflib.unified_diff(
        old.text.splitlines(keepends=True), new.text.splitlines(keepends=True), *names
    )
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_END}\n" for line in lines)


_NO_END: Final = "\\ No newline at end of file"


def _within(name: str, side: str) -> str:
    return f"{side}/{name.rpartition('/')[2]}" if name else "/dev/null"
