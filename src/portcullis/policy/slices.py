"""A policy's data in pieces, so that no thread ever has to load all of it at once.

regorus takes data as one document and holds the interpreter's lock meanwhile: some 6 ms for each
megabyte, in which no call gets on. A question is about one agent, whose role says what it may, and
about tools that it names. So the agents and roles are dealt out to documents of ``PART`` characters
each, of which a question sees the one that its agent is in; and the entries of the catalogue that
it names go with it. What a question sees of ``data.policy`` is what it would see in the whole.

A condition that is somebody's own Rego may ask for any of ``data.policy``: then there is one
document, the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from portcullis.policy.compiler import GRANTS, Bundle
from portcullis.policy.syntax import Wrong, found, parsed

PART: Final = 65_536
"""Characters of a document, but where a single role takes more: a third of a millisecond."""
CATALOGUE: Final = "data.policy.catalogue"
GIVEN: Final = "input.catalogue"
_UNASKED: Final = frozenset({"model"})
"""Of a tool, what no rule asks for."""
_SHOWN: Final = frozenset({"verb", "resource", "observable"})
"""Of a tool, what the rules ask for that say what an agent is shown."""

_encode = msgspec.json.Encoder().encode


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """``documents`` are JSON, ``places`` say which of them an agent is in: else the first.

    ``tools`` and ``shown`` are members of a JSON object for each tool, by qualified name: what a
    decision asks of it, and what a list of tools does.
    """

    documents: tuple[str, ...]
    places: dict[str, int] = {}
    tools: dict[str, str] = {}
    shown: dict[str, str] = {}

    def asked(self, question: str, tools: Sequence[str], *, listed: bool) -> str:
        """A question (a JSON object with members) with what the catalogue says of these tools."""
        known = self.shown if listed else self.tools
        if len(tools) == 1:
            found = known.get(tools[0], "")
        else:
            found = ",".join([known[one] for one in tools if one in known])
        return f'{question[:-1]},"catalogue":{{{found}}}}}' if found else question


class _Agent(msgspec.Struct):
    role: str


class _Policy(msgspec.Struct):
    agents: dict[str, msgspec.Raw]
    roles: dict[str, msgspec.Raw]
    catalogue: dict[str, dict[str, msgspec.Raw]]
    custom: dict[str, msgspec.Raw] = {}


class _Data(msgspec.Struct):
    policy: _Policy | None = None


_data = msgspec.json.Decoder(_Data).decode
_agent = msgspec.json.Decoder(_Agent).decode


def divided(bundle: Bundle) -> Parts | None:
    """The bundle's data in pieces; None where its rules may ask for more than a question sees."""
    own = (text for name, text in bundle.modules if _somebodys(name))
    policy = _data(bundle.data).policy
    if policy is None or any(map(_asks, own)):
        return None
    agents: dict[str, dict[str, msgspec.Raw]] = {role: {} for role in policy.roles}
    for name, said in policy.agents.items():
        agents.setdefault(_agent(said).role, {})[name] = said
    documents, places = list[str](), dict[str, int]()
    for some in _dealt(policy, agents):
        found = {name: said for role in some for name, said in agents[role].items()}
        places |= dict.fromkeys(found, len(documents))
        roles = {role: policy.roles[role] for role in some}
        document = {"agents": found, "roles": roles, "custom": policy.custom}
        documents.append(_encode({"policy": document}).decode())
    return Parts(
        documents=tuple(documents),
        places=places,
        tools=_members(policy.catalogue, lambda key: key not in _UNASKED),
        shown=_members(policy.catalogue, _SHOWN.__contains__),
    )


def _dealt(policy: _Policy, agents: dict[str, dict[str, msgspec.Raw]]) -> Iterator[list[str]]:
    """The roles, as many together as fit into one document; one list at least."""
    some, size = list[str](), 0
    for role, said in policy.roles.items():
        more = len(said) + sum(len(name) + len(one) for name, one in agents[role].items())
        if some and size + more > PART:
            yield some
            some, size = [], 0
        some.append(role)
        size += more
    yield some


def _members(
    catalogue: dict[str, dict[str, msgspec.Raw]], wanted: Callable[[str], bool]
) -> dict[str, str]:
    found = {}
    for name, tool in catalogue.items():
        said = {key: value for key, value in tool.items() if wanted(key)}
        found[name] = _encode({name: said}).decode()[1:-1]
    return found


def _somebodys(name: str) -> bool:
    """Whether a module of a role is a condition in Rego: it is named ``ROLE.RULE.rego``."""
    return name.startswith(GRANTS) and name.count(".") > 1


def _asks(text: str) -> bool:
    """Whether a module names ``data`` (not in a comment, or a text), or what is given instead."""
    if "catalogue" in text:
        return True
    if "data" not in text:
        return False
    tree = parsed(text)
    return isinstance(tree, Wrong) or any(one["value"] == "data" for one in found(tree, "Var"))
