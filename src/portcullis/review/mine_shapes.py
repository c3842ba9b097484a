"""How the values of an argument become a condition: what was seen, and no more than its shape.

In this order, and the first that fits:

1. equal to a value of the session's own in every call: that (row scope);
2. booleans, or at most 8 different values, each of them seen three times: these;
3. numbers: from the lowest to the highest that was seen, with no slack;
4. five different paths or more below one folder (of a URL: below its host): that folder.

What is none of these is not bound, and the draft says so. Two values of Python that JSON tells
apart (``1`` and ``true``) are never one. A value that came out of the sealed content is named only
when three subjects had it, also as the end of a range or as a folder: what is one person's does
not become policy.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from portcullis.review.mine_evidence import Learned

MOST_VALUES: Final = 8
"""How many different values may be listed."""
EACH_SEEN: Final = 3
"""How often each of them has to have been seen; and for how many subjects, if it was sealed."""
PATHS: Final = 5
"""How many different paths there have to be below a folder."""
_LONGEST: Final = 128
_EXACT: Final = 2**53
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]*")
"""What means the same wherever it is written: YAML folds other line breaks."""
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]+/")


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one argument of one tool.

    ``test`` is a condition that all calls hold, empty for none; ``said`` is for people, and names
    no value. In ``present`` calls of ``calls`` the argument was there; in ``known`` its value is.
    """

    argument: str
    calls: int
    present: int
    known: int
    test: str = ""
    said: str = ""


def shapes(learned: Sequence[Learned]) -> tuple[Shape, ...]:
    """The shapes of all arguments of calls of one tool, by name."""
    names = sorted({name for one in learned for name in one.asked.call.arguments})
    return tuple(_shape(name, learned) for name in names)


def _shape(name: str, learned: Sequence[Learned]) -> Shape:
    there = [one for one in learned if name in one.asked.call.arguments]
    known = [one for one in there if name not in one.asked.unknown]
    given = [one for one in known if one.asked.call.arguments[name] is not None]
    test, said = "", "its values are not in the log"
    if not _writable(name):
        said = "no condition can name it"
    elif len(known) == len(there) and given:
        test, said = _generalised(name, given)
    elif len(known) == len(there):
        said = "always null"
    if test and len(given) < len(learned):
        test = f"(not exists {_path(name)} or {test})"
        said = f"{said}; not in every call"
    return Shape(
        argument=name,
        calls=len(learned),
        present=len(there),
        known=len(known),
        test=test,
        said=said,
    )


def _generalised(name: str, given: Sequence[Learned]) -> tuple[str, str]:
    path = _path(name)
    own = set.intersection(*(set(one.own.get(name, ())) for one in given))
    if own:
        scope = min(own, key=lambda one: (one == "session.user", one))
        return f"{path} == {scope}", f"always {scope}"
    values = [one.asked.call.arguments[name] for one in given]
    counts = Counter((type(value).__name__, value) for value in values if _scalar(value))
    if sum(counts.values()) < len(values):
        return "", f"{len(values)} values that are no scalars: not bound"
    listed = _listed(path, counts, name, given)
    if listed:
        return listed, f"one of {len(counts)}" if len(counts) > 1 else "always the same"
    if all(_number(value) for value in values):
        return _ranged(path, values, name, given)
    if all(isinstance(value, str) for value in values):
        folder = _folder({value for value in values if isinstance(value, str)})
        if folder and _shared(name, given):
            said = f"{len(counts)} paths below one folder"
            return f"{path} startswith {_literal(folder)}", said
    return "", f"{len(counts)} different values: not bound"


def _ranged(
    path: str, values: Sequence[Any], name: str, given: Sequence[Learned]
) -> tuple[str, str]:
    """From the lowest to the highest number; nothing where either is somebody's own."""
    low, high = min(values), max(values)
    for end in (low, high):
        of = [one for one in given if one.asked.call.arguments[name] == end]
        if not _shared(name, of):
            return "", "numbers whose lowest or highest is one person's: not bound"
    return f"{path} >= {_literal(low)} and {path} <= {_literal(high)}", "the range seen"


def _listed(
    path: str, counts: Counter[tuple[str, Any]], name: str, given: Sequence[Learned]
) -> str:
    """A test that lists the values, empty where they are too many, too rare or somebody's own."""
    values = [value for _, value in counts]
    booleans = all(isinstance(value, bool) for value in values)
    if not booleans and (len(counts) > MOST_VALUES or min(counts.values()) < EACH_SEEN):
        return ""
    if not all(_writable(value) for value in values):
        return ""
    for key in () if booleans else counts:
        of = [one for one in given if _key(one.asked.call.arguments[name]) == key]
        if not _shared(name, of):
            return ""
    written = sorted(_literal(value) for value in values)
    if len(written) == 1:
        return f"{path} == {written[0]}"
    return f"{path} in [{', '.join(written)}]"


def _key(value: Any) -> tuple[str, Any]:
    return type(value).__name__, value


def _shared(name: str, of: Sequence[Learned]) -> bool:
    """Whether what these calls have in common may stand in a policy."""
    return len(_subjects(of)) >= EACH_SEEN or not any(name in one.sealed for one in of)


def _subjects(of: Sequence[Learned]) -> set[str]:
    return {one.asked.commitments.get("subject", "") or one.asked.agent for one in of}


def _scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _number(value: Any) -> bool:
    """Whether it is a number that an expression can name: without an exponent."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < _EXACT and "e" not in json.dumps(value)


def _writable(value: Any) -> bool:
    """Whether an expression can name it."""
    if isinstance(value, str):
        quoted = "'" in value and '"' in value
        return len(value) <= _LONGEST and bool(_TEXT.fullmatch(value)) and not quoted
    return isinstance(value, bool) or _number(value)


def _folder(values: set[str]) -> str:
    """The folder that all are below, with its slash; empty for none, and for the root."""
    if len(values) < PATHS or not all("/" in value for value in values):
        return ""
    low, high = min(values), max(values)
    same = next((at for at, pair in enumerate(zip(low, high, strict=False)) if len({*pair}) > 1))
    folder = low[: low.rfind("/", 0, same + 1) + 1] if same < len(low) else low
    folder = folder[: folder.rfind("/") + 1]
    url = _URL.match(low)
    if url is not None and not folder.startswith(url.group()):
        return ""
    return folder if folder.strip("/.") and _writable(folder) else ""


def _path(name: str) -> str:
    return f"arguments.{name}" if _WORD.fullmatch(name) else f"arguments[{_literal(name)}]"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"' if "'" in value else f"'{value}'"
    return json.dumps(value)
