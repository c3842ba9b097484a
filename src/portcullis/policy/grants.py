"""Entries of a role's lists: the short form, and the long one that says on what terms.

``- crm.send`` and ``- {tool: crm.send, during: office_hours}``. What holds on no terms at all is
data that Rego looks up by name; what holds on some is a list beside it, asked one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml

from portcullis.policy.conditions import read_condition
from portcullis.policy.model import Environments, Grant, Permission, Terms
from portcullis.policy.moments import read_moment
from portcullis.policy.obligations import obligations_data, read_obligations
from portcullis.policy.windows import NAME as WINDOW
from portcullis.policy.yaml import Entry, Reader

TERMS: Final = ("when", "during", "environments", "until", "reason")
TOOL_TERMS: Final = (*TERMS, "obligations")
SHOWN_TERMS: Final = (*TERMS, "data")
_SPELT: Final = re.compile(r"^[0-9]|[^A-Za-z0-9]")
ENVIRONMENT: Final = r"[a-z0-9][a-z0-9_-]{0,62}"
_ENVIRONMENT_FORM: Final = "a word such as production"
_OF_TOOLS: Final = frozenset({"permissions", "allowed_tools"})
"""The lists whose conditions may ask about arguments, and whose grants may oblige."""
SHOWN: Final = frozenset({"allowed_resources", "allowed_prompts"})
"""The lists of what a server shows, which has neither columns nor records."""


def read_grants(
    reader: Reader, node: yaml.Node | None, path: str, key: str, pattern: str, form: str
) -> tuple[Grant, ...]:
    """A list of strings or of mappings with ``key`` and terms; None is the empty list."""
    found: list[Grant] = []
    for index, item in enumerate(reader.items(node, path)):
        place, terms, text = f"{path}[{index}]", Terms(), item
        if isinstance(item, yaml.MappingNode):
            keys = reader.section(item, place, (key, *_terms(path)))
            if key not in keys:
                reader.fault(item, f"{place} does not say {key}", f"Write `{key}: NAME`.")
                continue
            terms, text = read_terms(reader, keys, place), keys[key]
        entry = reader.text(text, place, pattern, form)
        if entry is not None:
            grant = Grant(entry.value, reader.place(item), place, terms)
            _once(reader, item, path, grant, (one for one in found if one.value == entry.value))
            found.append(grant)
    return tuple(found)


def read_denied(
    reader: Reader, node: yaml.Node | None, path: str, pattern: str, form: str
) -> tuple[Entry, ...]:
    """``denied_tools``: strings, or mappings that say why. A denial has no terms."""
    found: dict[str, Entry] = {}
    for index, item in enumerate(reader.items(node, path)):
        place, text = f"{path}[{index}]", item
        if isinstance(item, yaml.MappingNode):
            keys = reader.section(item, place, ("tool", *TERMS))
            for name in TERMS[:-1]:
                if name in keys:
                    hint = "Grant it on terms instead: what is not granted is denied."
                    reader.fault(keys[name], f"{place}.{name}: a denial holds always", hint)
            if "tool" not in keys:
                reader.fault(item, f"{place} does not say tool", "Write `tool: NAME`.")
                continue
            if "reason" in keys:
                reader.text(keys["reason"], f"{place}.reason")
            text = keys["tool"]
        entry = reader.text(text, place, pattern, form)
        if entry is None:
            continue
        if entry.value in found:
            reader.fault(item, f"{entry.value} is listed twice in {path}")
        found[entry.value] = Entry(entry.value, reader.place(item), place)
    return tuple(found.values())


def read_permissions(
    reader: Reader,
    node: yaml.Node | None,
    path: str,
    verbs: tuple[str, ...],
    pattern: str,
) -> tuple[Permission, ...]:
    """``permissions``: one verb and its resource each, perhaps with terms."""
    found: list[Permission] = []
    for index, item in enumerate(reader.items(node, path)):
        place = f"{path}[{index}]"
        keys = reader.section(item, place, (*verbs, *TOOL_TERMS))
        pairs = [(name, value) for name, value in keys.items() if name in verbs]
        if len(pairs) != 1:
            reader.fault(item, f"{place} must be one pair", "Write `- read: RESOURCE`.")
            continue
        verb, value = pairs[0]
        resource = reader.text(value, place, pattern, "of a resource's name")
        if resource is None:
            continue
        name = f"{verb}:{resource.value}"
        grant = Grant(name, resource.place, place, read_terms(reader, keys, place))
        known = (one.entry for one in found if one.entry.value == name)
        _once(reader, item, path, grant, known)
        found.append(Permission(verb, resource.value, grant))
    return tuple(found)


def read_terms(reader: Reader, keys: dict[str, yaml.Node], path: str) -> Terms:
    """The terms among a mapping's keys."""
    when = read_condition(reader, keys["when"], f"{path}.when") if "when" in keys else None
    argued = when is not None and when.tree is not None and when.argued
    if argued and _terms(path.rpartition("[")[0]) is not TOOL_TERMS:
        reader.fault(keys["when"], f"{path}.when: only tools have arguments to ask about")
    reason = reader.text(keys["reason"], f"{path}.reason") if "reason" in keys else None
    form = "a window's name"
    return Terms(
        environments=read_environments(reader, keys.get("environments"), f"{path}.environments"),
        until=read_moment(reader, keys["until"], f"{path}.until") if "until" in keys else None,
        during=reader.text(keys["during"], f"{path}.during", WINDOW, form)
        if "during" in keys
        else None,
        when=when,
        obligations=read_obligations(reader, f"{path}.obligations", keys.get("obligations")),
        bare="data" in keys and _bare(reader, keys["data"], f"{path}.data"),
        reason="" if reason is None else reason.value,
    )


def read_environments(reader: Reader, node: yaml.Node | None, path: str) -> Environments | None:
    """``environments``: where something holds; None says nothing."""
    if node is None:
        return None
    found = reader.texts(node, path, ENVIRONMENT, _ENVIRONMENT_FORM)
    if not found:
        reader.fault(node, f"{path} is empty", "Leave it out where it holds everywhere.")
    return Environments(tuple(entry.value for entry in found), Entry("", reader.place(node), path))


def _bare(reader: Reader, node: yaml.Node, path: str) -> bool:
    if reader.value(node, path) == "none":
        return True
    hint = "Say it of what shows nothing that is masked or out of reach; leave it out else."
    reader.fault(node, f"{path} can only be none", hint)
    return False


def _terms(path: str) -> tuple[str, ...]:
    """The terms that grants of a list can have."""
    name = path.rpartition(".")[2]
    return TOOL_TERMS if name in _OF_TOOLS else SHOWN_TERMS if name in SHOWN else TERMS


def _once(
    reader: Reader, node: yaml.Node, path: str, grant: Grant, others: Iterable[Grant]
) -> None:
    """The same may be granted on different terms: any of them is enough."""
    for other in others:
        if grant.terms.plain or other.terms.plain or _said_of(grant) == _said_of(other):
            reader.fault(node, f"{grant.value} is listed twice in {path}")


def _said_of(grant: Grant) -> tuple[object, ...]:
    """What its terms ask, wherever they stand."""
    data, when = terms_data(grant.terms), grant.terms.when
    asked = (None, "") if when is None else (when.tree, when.rego)
    names = ("environments", "until", "during")
    return (*(data[name] for name in names), asked, grant.terms.obligations)


def terms_data(terms: Terms) -> dict[str, Any]:
    """The terms as ``terms.rego`` asks for them, each with the rule that verdicts name."""
    placed, until, during, when = terms.environments, terms.until, terms.during, terms.when
    rules = {
        "environments": _rule(placed.entry) if placed else None,
        "until": _rule(until.entry) if until else None,
        "during": _rule(during) if during else None,
        "when": _rule(when.entry) if when else None,
    }
    return {
        "environments": list(placed.names) if placed else None,
        "until": until.text if until else None,
        "during": during.value if during else None,
        "when": rule_name(when.entry.path) if when else None,
        "shown": _shown(terms),
        "rules": {name: rule for name, rule in rules.items() if rule},
    }


def granted(grant: Grant) -> dict[str, Any]:
    """A grant on terms, as data."""
    obliged = grant.terms.obligations
    entry: dict[str, Any] = {"rule": grant.rule, "terms": terms_data(grant.terms)}
    return entry if obliged is None else entry | {"obligations": [obligations_data(obliged)]}


def conditional(
    grants: Iterable[tuple[str, Grant]], *, listed: bool = False
) -> dict[str, list[dict[str, Any]]]:
    """Those on terms, by name; ``listed``: what counts is whether some call could be granted."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, grant in grants:
        if grant.terms.plain:
            continue
        entry = granted(grant)
        if listed:
            entry = {"rule": entry["rule"], "terms": entry["terms"]}
            entry["terms"]["when"] = entry["terms"]["shown"]
        if entry not in (those := found.setdefault(name, [])):
            those.append(entry)
    return found


def plain(grants: Iterable[Grant]) -> dict[str, str]:
    """Those that hold always: the rule of each, by name."""
    return {grant.value: grant.rule for grant in grants if grant.terms.plain}


def rules_of(grants: Iterable[Grant]) -> Iterator[str]:
    """The rules of the role's module: one comment for each grant, and its condition."""
    for grant in grants:
        when = grant.terms.when
        yield f"# {grant.place.origin} {grant.path.split('.', 2)[2]} {grant.value}{_said(grant)}\n"
        if when is None:
            continue
        yield f"# {when.entry.place.origin} when: {when.entry.value}\n" + when.rules(
            rule_name(when.entry.path)
        )
        possible = when.possible(f"{rule_name(when.entry.path)}_shown") if when.argued else ""
        if possible:
            yield "# whether it may hold of some arguments\n" + possible


def _said(grant: Grant) -> str:
    terms = grant.terms
    said = []
    if terms.environments is not None:
        said.append(f"environments {', '.join(terms.environments.names)}")
    if terms.until is not None:
        said.append(f"until {terms.until.text}")
    if terms.during is not None:
        said.append(f"during {terms.during.value}")
    return f" ({'; '.join(said)})" if said else ""


def _shown(terms: Terms) -> str | None:
    when = terms.when
    if when is None:
        return None
    if not when.argued:
        return rule_name(when.entry.path)
    if not when.possible("x"):
        return None
    return f"{rule_name(when.entry.path)}_shown"


def rule_name(path: str) -> str:
    """``roles.r.permissions[0].when`` as a rule's name: ``r_permissions_0``.

    No two paths have the same: what no name of a rule has is spelt out, and ``_`` is doubled.
    """
    _, role, grant, *_ = path.split(".")
    return f"{_SPELT.sub(_spelt, role)}_{grant.replace('[', '_').rstrip(']')}"


def _spelt(found: re.Match[str]) -> str:
    return "__" if found[0] == "_" else f"_{ord(found[0]):02x}_"


def _rule(entry: Entry) -> str:
    return f"{entry.path} @ {entry.place.origin}"
