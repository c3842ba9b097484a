"""Places in the results of earlier calls, from which arguments of later ones come.

``2.[0].order_id`` is a place in the result of the second call: names, numbers, ``[field=value]``
for the first record that has it, ``[field~part]`` for the first that contains it. An argument that
is ``{"$ref": place}`` is what stands there, in ``{"$fmt": text}`` places stand in double braces;
``{"$enc": way, "of": text, "before": text}`` is a text with places, encoded.
"""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_STEP: Final = re.compile(r"([A-Za-z_]\w*)|\[([^\]]*)\]")
_BRACES: Final = re.compile(r"\{\{(.*?)\}\}")
_WAYS: Final[Mapping[str, Callable[[str], str]]] = {
    "b64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reverse": lambda text: text[::-1],
    "dots": ". ".join,
    "decimal": lambda text: " ".join(str(byte) for byte in text.encode()),
}

Shift = Callable[[int], int]
"""From the number that a call has in its list to the one that it has in the session."""


class Nowhere(Exception):  # noqa: N818 - what a refused call would have told is missing
    """There is no such place, because a call on the way to it was not executed."""


def resolved(argument: Any, results: Sequence[Any], shift: Shift) -> Any:
    """An argument with what stands at its places. Raises Nowhere."""
    if isinstance(argument, list):
        return [resolved(each, results, shift) for each in argument]
    if not isinstance(argument, dict):
        return argument
    if argument.keys() == {"$ref"}:
        return _at(argument["$ref"], results, shift)
    if argument.keys() == {"$fmt"}:
        return _BRACES.sub(lambda found: str(_at(found.group(1), results, shift)), argument["$fmt"])
    if argument.keys() == {"$enc", "of", "before"}:
        text = resolved({"$fmt": argument["of"]}, results, shift)
        return f"{argument['before']}{encoded(argument['$enc'], text)}"
    return argument


def encoded(way: str, text: str) -> str:
    """A text in another dress, as an attacker would send it."""
    return _WAYS[way](text)


def _at(place: str, results: Sequence[Any], shift: Shift) -> Any:
    number, _, rest = place.partition(".")
    try:
        value = results[shift(int(number)) - 1]
        for name, inside in _STEP.findall(rest):
            value = value[name] if name else _item(value, inside)
    except (LookupError, TypeError, StopIteration):
        raise Nowhere(place) from None
    return value


def _item(value: Any, inside: str) -> Any:
    if "=" in inside:
        name, _, wanted = inside.partition("=")
        return next(each for each in value if str(each[name]) == wanted)
    if "~" in inside:
        name, _, part = inside.partition("~")
        return next(each for each in value if part.lower() in str(each[name]).lower())
    return value[int(inside)]
