"""Putting other values into a JSON value, by path, without touching the original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from portcullis.core.inspection import JSON_TEXT, Path
from portcullis.wire.json import decode, encode

_KEEP: Final = object()


class _Node:
    """What happens at a place: ``value`` goes there, the member gets ``name``, or both below."""

    __slots__ = ("below", "name", "value")

    def __init__(self) -> None:
        self.value: Any = _KEEP
        self.name: str | None = None
        self.below: dict[str | int, _Node] = {}

    def at(self, path: Path) -> _Node:
        node = self
        for step in path:
            node = node.below.setdefault(step, _Node())
        return node


def replaced(
    payload: Any, changes: Mapping[Path, Any], names: Mapping[Path, str] | None = None
) -> Any:
    """The payload with ``changes`` (path -> value), and members renamed (path -> name).

    Only what lies on the paths is copied. A JSON text with a change inside is encoded anew,
    canonically. The paths are those of the payload as it is, old names included; where a name
    exists already, a number is added. Token probabilities beside what changed would still tell
    it, piece by piece: they are emptied. Raises KeyError, IndexError or TypeError for a path
    that is not in the payload: that is our bug.
    """
    root = _Node()
    for path, value in changes.items():
        root.at(path).value = value
    for path, name in (names or {}).items():
        root.at(path).name = name
    return _apply(payload, root)


def _apply(value: Any, node: _Node) -> Any:
    if node.value is not _KEEP:
        return node.value
    if not node.below:
        return value
    if (document := node.below.get(JSON_TEXT)) is not None:
        return encode(_apply(decode(value.encode()), document)).decode()
    if type(value) is list:
        items: dict[Any, Any] = dict(enumerate(value))
        for index, below in node.below.items():
            items[index] = _apply(items[index], below)
        return list(items.values())
    members = {
        name: _apply(item, node.below[name]) if name in node.below else item
        for name, item in value.items()
    }
    if missing := node.below.keys() - members.keys():
        raise KeyError(min(map(str, missing)))
    if _tells(members.get("logprobs")):
        members["logprobs"] = [] if type(members["logprobs"]) is list else None
    return _renamed(members, node)


def _renamed(members: dict[str, Any], node: _Node) -> dict[str, Any]:
    new = {name: below.name for name, below in node.below.items() if below.name is not None}
    if not new:
        return members
    taken = members.keys() - new.keys()
    found: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for name, item in members.items():
        wanted = shown = new.get(name, name)
        while name in new and shown in taken:
            counts[wanted] = counts.get(wanted, 1) + 1
            shown = f"{wanted}_{counts[wanted]}"
        taken.add(shown)
        found[shown] = item
    return found


def _tells(logprobs: Any) -> bool:
    """Whether this is a list of tokens as the OpenAI APIs give them."""
    if type(logprobs) is dict:
        return "content" in logprobs or "refusal" in logprobs
    return type(logprobs) is list and any(type(t) is dict and "token" in t for t in logprobs)
