"""A first draft of a server's tools for the policy: guesses, for a human to correct.

From names, formats and types of the schemas, and from the server's own hints. A guess that is in
doubt is the stricter one: an argument is a destination, a tool deletes. What a server says of
itself is never more than a comment. The draft does not load until somebody has taken its first
line away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, TypeGuard

import msgspec

from portcullis.config.yaml import shipped
from portcullis.core.call import RiskClass
from portcullis.core.containment import ArgumentRole

MARK: Final = "draft: unreviewed"
"""The line that keeps a draft from being loaded."""
_SAID: Final = 90
_LEAVES: Final = 24
"""Most fields of a result that are listed."""

_DATA: Final = shipped(files(__package__).joinpath("words.yaml").read_text("utf-8"))
_VERBS: Final[dict[str, str]] = _DATA["effects"]
_NOUNS: Final[dict[str, str]] = _DATA["roles"]
_EFFECTS: Final = {RiskClass(one): frozenset(_VERBS[one].split()) for one in _VERBS}
_ROLES: Final = {ArgumentRole(one): frozenset(_NOUNS[one].split()) for one in _NOUNS}
"""Words by class and by role, the strictest first."""
_FORMATS: Final = {
    "email": ArgumentRole.DESTINATION,
    "idn-email": ArgumentRole.DESTINATION,
    "uri": ArgumentRole.DESTINATION,
    "url": ArgumentRole.DESTINATION,
    "iri": ArgumentRole.DESTINATION,
    "uri-reference": ArgumentRole.DESTINATION,
    "hostname": ArgumentRole.DESTINATION,
    "password": ArgumentRole.CREDENTIAL,
    "uuid": ArgumentRole.OBJECT,
    "date": ArgumentRole.SELECTOR,
    "date-time": ArgumentRole.SELECTOR,
    "time": ArgumentRole.SELECTOR,
}
_HINTS: Final = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
_NAMED: Final = re.compile(r"[!-)+-~]{1,128}")
"""A name that policy can speak of."""
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def draft(server: str, definitions: Mapping[str, str]) -> str:
    """The YAML for these tools of a server: by name, each definition as JSON (``ToolSpec``)."""
    head = [
        MARK,
        f"# What follows was guessed from what {server} says of its tools. Read every line,",
        "# compare with what the tool really does, correct it, and take the first line away.",
        "version: 1",
        "",
        "tools:",
    ]
    tools = [_tool(server, name, definitions[name]) for name in sorted(definitions)]
    return "\n".join([*head, *(line for lines in tools for line in lines), ""])


def role_of(name: str, schema: Any) -> tuple[ArgumentRole, bool]:
    """What an argument seems to be, and whether that is more than a guess in the dark.

    Its name goes first: a format or a list of choices is the server's word, and makes a selector
    only in doubt.
    """
    words = _words(name)
    for word in (name.lower(), *reversed(words)):  # the last word says what it is
        for role, names in _ROLES.items():
            if word in names:
                return role, True
    said = schema if _is(schema) else {}
    known = _FORMATS.get(str(said.get("format", "")))
    if known is not None:
        return known, known is not ArgumentRole.SELECTOR
    if said.get("type") == "boolean" or isinstance(said.get("enum"), list):
        return ArgumentRole.SELECTOR, False
    return ArgumentRole.DESTINATION, False


def risk_of(name: str) -> tuple[RiskClass, bool]:
    """What a tool seems to do, and whether that is more than a guess in the dark.

    The highest class of any word in its name; a read only where its first word says so.
    """
    words = _words(name)
    for risk, verbs in _EFFECTS.items():
        if risk is not RiskClass.READ and not verbs.isdisjoint(words):
            return risk, True
    reads = bool(words) and words[0] in _EFFECTS[RiskClass.READ]
    return (RiskClass.READ if reads else RiskClass.DELETE), reads


def _tool(server: str, name: str, definition: str) -> Iterator[str]:
    if not _NAMED.fullmatch(name):
        yield f"  # left out, for its name: {_clean(name)}"
        return
    said = _object(definition)
    risk, known = risk_of(name)
    hints = said.get("annotations")
    claimed = [f"{hint} {hints[hint]}" for hint in _HINTS if hint in hints] if _is(hints) else []
    yield ""
    yield f"  # {_clean(str(said.get('description') or 'it does not describe itself'))}"
    if claimed:
        yield f"  # it claims: {_clean(', '.join(claimed))}"
    yield f"  {_quoted(f'{server}.{name}')}:"
    yield f"    risk: {risk.value}{'' if known else '   # nothing is known of it'}"
    schema = said.get("inputSchema")
    properties = schema.get("properties") if _is(schema) else None
    if _is(properties) and any(map(_NAMED.fullmatch, properties)):
        yield "    arguments:"
        for argument, one in properties.items():
            if not _NAMED.fullmatch(argument):
                yield f"      # left out, for its name: {_clean(argument)}"
                continue
            role, sure = role_of(argument, one)
            doubt = "" if sure else "   # nothing is known of it"
            yield f"      {_quoted(argument)}: {{role: {role.value}}}{doubt}"
    fields = list(_leaves(said.get("outputSchema"), ""))[:_LEAVES]
    if fields:
        yield "    # Nothing that it gives back is trusted. A field is a source only if nobody"
        yield "    # outside can write it: then, and only then, name it."
        yield "    # results:"
        for path in fields:
            yield f"    #   {_quoted(path)}: {{trusted: ..., confidentiality: ...}}"


def _leaves(schema: Any, path: str) -> Iterator[str]:
    """The paths of an output's fields."""
    if not _is(schema) or path.count(".") > 4:  # noqa: PLR2004 - deep enough for a comment
        return
    if _is(schema.get("items")):
        yield from _leaves(schema["items"], f"{path}[]")
    elif _is(schema.get("properties")):
        for name, one in schema["properties"].items():
            yield from _leaves(one, f"{path}.{name}" if path else name)
    elif path and path.isascii() and path.isprintable():
        yield path


def _words(name: str) -> Sequence[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _object(definition: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(definition, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return {}


def _is(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _quoted(text: str) -> str:
    """A YAML string that is nothing else."""
    return msgspec.json.encode(text).decode()


def _clean(text: str) -> str:
    """One line of printable ASCII: what a server writes may be written for whoever reads it."""
    line = " ".join(text.split())
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in line)
    return shown if len(shown) <= _SAID else f"{shown[:_SAID]}..."
