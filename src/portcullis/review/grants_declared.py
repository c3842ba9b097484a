"""What a role's grants cover: the tools that each is about, and the uses that go by it.

A use counts for every grant of the agent's role that covers what was called: where the same thing
is granted on several terms, the log's calls are counted for each of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from portcullis.core.call import Action
from portcullis.policy.model import EgressRule, Policy, Role, Terms
from portcullis.policy.model import Grant as Entry
from portcullis.policy.obligations import in_words
from portcullis.review.grants import Grant, Used

_ACTIONS: Final = {
    "permissions": Action.TOOL,
    "allowed_tools": Action.TOOL,
    "models": Action.MODEL,
    "allowed_resources": Action.RESOURCE,
    "allowed_prompts": Action.PROMPT,
    "egress": Action.EGRESS,
}
"""The kinds of grants whose uses the log tells."""
_LISTS: Final = (
    *("allowed_tools", "models", "provider_features", "allowed_resources", "allowed_prompts"),
    "server_requests",
)


Meant: TypeAlias = Mapping[tuple[str, str], tuple[str, ...]]
"""The tools that a verb on a resource means, by name."""


def meant_by(policy: Policy) -> Meant:
    """Of every verb and resource of the catalogue."""
    found: dict[tuple[str, str], list[str]] = {}
    for tool in policy.tools:
        if tool.verb:
            found.setdefault((tool.verb, tool.resource), []).append(tool.name.value)
    return {key: tuple(sorted(names)) for key, names in found.items()}


def declared(role: Role, meant: Meant, used: Sequence[Used] | None) -> tuple[Grant, ...]:
    """The grants of a role, resolved, with their uses; ``used`` is None where there is no log."""
    return tuple(_grants(role, meant, used))


def _grants(role: Role, meant: Meant, used: Sequence[Used] | None) -> Iterator[Grant]:
    for permission in role.permissions:
        tools = meant.get((permission.verb, permission.resource), ())
        yield _grant("permissions", permission.entry, tools, used)
    for kind in _LISTS:
        for entry in getattr(role, kind):
            tools = (entry.value,) if kind == "allowed_tools" else ()
            yield _grant(kind, entry, tools, used)
    for rule in role.egress:
        yield _grant("egress", rule.host, (), used, _ports(rule))


def _ports(rule: EgressRule) -> tuple[int, ...]:
    return rule.ports


def _grant(
    kind: str,
    entry: Entry,
    tools: tuple[str, ...],
    used: Sequence[Used] | None,
    ports: tuple[int, ...] = (),
) -> Grant:
    count, last = None, 0.0
    if used is not None and kind in _ACTIONS:
        uses = [one for one in used if _covers(kind, entry.value, tools, ports, one)]
        count = sum(one.count for one in uses)
        last = max((one.last for one in uses), default=0.0)
    return Grant(
        role=entry.path.removeprefix("roles.").rpartition(f".{kind}")[0],
        kind=kind,
        value=entry.value,
        rule=entry.rule,
        place=entry.place.origin,
        terms="; ".join(said(entry.terms)),
        tools=tools,
        count=count,
        last=last,
    )


def _covers(
    kind: str, value: str, tools: Collection[str], ports: Collection[int], use: Used
) -> bool:
    if use.action != _ACTIONS[kind]:
        return False
    if kind in {"permissions", "allowed_tools"}:
        return use.target in tools
    if kind == "egress":
        host, _, port = use.name.rpartition(":")
        return host_covers(value, host or use.name) and (
            not host or not port.isdecimal() or int(port) in ports
        )
    return pattern(value).fullmatch(use.target) is not None


def host_covers(rule: str, host: str) -> bool:
    """Whether a host of ``egress:`` stands for a name."""
    return host.endswith(rule[1:]) if rule.startswith("*.") else host == rule


def pattern(value: str) -> re.Pattern[str]:
    """What a value with ``*`` stands for."""
    return re.compile(".*".join(map(re.escape, value.split("*"))), re.DOTALL)


def said(terms: Terms) -> Iterator[str]:
    """The terms of a grant, one by one, in the words of the policy."""
    if terms.when is not None:
        entry = terms.when.entry
        yield f"when {terms.when.rego.strip() if terms.when.tree is None else entry.value}"
    if terms.during is not None:
        yield f"during {terms.during.value}"
    if terms.environments is not None:
        yield f"in {', '.join(terms.environments.names)}"
    if terms.until is not None:
        yield f"until {terms.until.entry.value}"
    if terms.obligations is not None:
        yield from in_words(terms.obligations)
