"""Values that tell nothing and still fit a JSON Schema, where a plain mask would not.

The schema decides: each candidate is tried against it, and when none fits there is no value. A
value that is picked from an ``enum`` would be another order than the one that was given, so an
enum has no mask.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from portcullis.checks.treat import Span
from portcullis.core.inspection import JSON_TEXT, Path

MAX_FITTED: Final = 64
"""Most values that are fitted one by one in one call."""
_NODES: Final = 64
_FORMATS: Final = {
    **dict.fromkeys(("email", "idn-email"), "masked@example.invalid"),
    **dict.fromkeys(("uri", "url", "iri", "uri-reference"), "https://example.invalid/"),
    **dict.fromkeys(("hostname", "idn-hostname"), "example.invalid"),
    "date": "1970-01-01",
    "date-time": "1970-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "ipv4": "0.0.0.0",  # noqa: S104 - an address that means none
    "ipv6": "::",
}
_ENTITIES: Final = {"EMAIL_ADDRESS": "email", "URL": "uri", "IP_ADDRESS": "ipv4"}
_LAYOUTS: Final = (("0", "x"), ("0", "a"), ("1", "x"))
"""What stands for each digit and each letter, whose case is kept."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A text and what is done with it: ``plain`` is what stands in its place if that fits."""

    text: str
    plain: str
    spans: tuple[Span, ...]
    number: bool = False


def fitted(
    changes: Mapping[Path, Change],
    schema: Any,
    fits: Callable[[Mapping[Path, Any]], bool],
) -> dict[Path, Any] | None:
    """What to put at each path so that the whole fits, or None when nothing is known that does.

    ``fits`` tries some values at their paths; what there is without them fits.
    """
    plain: dict[Path, Any] = {path: change.plain for path, change in changes.items()}
    if fits(plain):
        return plain
    if len(changes) > MAX_FITTED:
        return None
    chosen: dict[Path, Any] = {}
    for path, change in changes.items():
        nodes = fragments(schema, path)
        for candidate in (change.plain, *_candidates(change, nodes)):
            if fits({path: candidate}):
                chosen[path] = candidate
                break
        else:
            return None
    return chosen if fits(chosen) else None


def fragments(schema: Any, path: Path) -> list[dict[str, Any]]:
    """The parts of a schema that speak of the value at a path; references within it are followed.

    It is a guess that helps to find candidates: the schema itself decides.
    """
    here = _applied(schema, [schema])
    for part in path:
        if part == JSON_TEXT:
            return []
        below: list[Any] = []
        for node in here:
            if isinstance(part, int):
                prefix = node.get("prefixItems")
                listed = prefix if isinstance(prefix, list) else []
                below.append(listed[part] if part < len(listed) else node.get("items"))
            else:
                properties = node.get("properties")
                named = properties if isinstance(properties, dict) else {}
                below.append(named.get(part, node.get("additionalProperties")))
        here = _applied(schema, below)
    return here


def _applied(root: Any, nodes: Sequence[Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    queue = list(nodes)
    while queue and len(found) < _NODES:
        node = queue.pop(0)
        if not isinstance(node, dict):
            continue
        found.append(node)
        for key in ("allOf", "anyOf", "oneOf"):
            parts = node.get(key)
            queue += parts if isinstance(parts, list) else []
        if isinstance(node.get("$ref"), str):
            queue.append(_referred(root, node["$ref"]))
    return found


def _referred(root: Any, reference: str) -> Any:
    node = root
    for part in reference.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        node = node.get(name) if isinstance(node, dict) else None
    return node if node is not root else None


def _candidates(change: Change, nodes: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    if not change.spans or any("enum" in node or "const" in node for node in nodes):
        return
    if change.number or any(node.get("type") in {"integer", "number"} for node in nodes):
        yield from _numbers(change.text, nodes)
    formats = [node["format"] for node in nodes if isinstance(node.get("format"), str)]
    formats += [_ENTITIES[span.entity] for span in change.spans if span.entity in _ENTITIES]
    for name in formats:
        if name in _FORMATS:
            yield _FORMATS[name]
    for digit, letter in _LAYOUTS:
        yield _laid_out(change.text, change.spans, digit, letter)
        whole = Span(0, len(change.text), "", change.spans[0].treatment)
        yield _laid_out(change.text, (whole,), digit, letter)


def _numbers(text: str, nodes: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    yield 0
    for key, step in (("minimum", 0), ("exclusiveMinimum", 1), ("maximum", 0)):
        for node in nodes:
            if type(node.get(key)) in {int, float}:
                yield node[key] + step
    yield 10 ** min(len(re.sub(r"\D", "", text)) - 1, 17)


def _laid_out(text: str, spans: Sequence[Span], digit: str, letter: str) -> str:
    """The text with every digit and letter of the spans gone; all else stands, so does its form."""
    parts, at = [], 0
    for span in spans:
        hidden = text[span.start : span.end]
        hidden = re.sub(r"[^\W\d_]", lambda c: letter.upper() if c[0].isupper() else letter, hidden)
        parts += [text[at : span.start], re.sub(r"\d", digit, hidden)]
        at = span.end
    return "".join((*parts, text[at:]))
