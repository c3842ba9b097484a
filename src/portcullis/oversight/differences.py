"""What differs between the arguments of two calls, for whoever decides on the second."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import Any, Final, TypeAlias

import msgspec

from portcullis.core.desk import Difference
from portcullis.wire.json import encode

MOST: Final = 200
"""Most differences that are told; of more, the last one says how many."""
WINDOW: Final = 160
"""Characters of a text that are shown, around where it first differs, and where it last does."""
REST: Final = "\u2026"
"""Stands where a text was cut, and as the path of what is not told."""

_BEFORE: Final = 40
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_WORD: Final = re.compile(r"\s+|\S+")
_LONGEST: Final = 200
_ALIGNED: Final = 64
"""Most items of a list, or words, of which it is found out where they went."""
_NOTHING: Final = object()
_sorted: Final = msgspec.json.Encoder(order="sorted").encode

_Ranges: TypeAlias = tuple[int, int, int, int]
"""Where two sequences differ: from, to in the one, and from, to in the other."""


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[int, tuple[Difference, ...]]:
    """How many values are the same, and what differs.

    Both are JSON objects. First comes what changed, then what is only on one side, which is one
    difference, however much it holds; each in the order of ``after``. An item of a list before
    which others came or went is the same; the places of what changed and of what was added are
    those in ``after``. A number, a text and a truth value never are the same. A long text is two
    differences where its first and its last place do not stand together: their paths say of how
    many places at least. Texts that look alike are written with escapes, as Python does.
    """
    changed: list[Difference] = []
    others: list[Difference] = []
    same = count = 0
    for one in _compared("", dict(before), dict(after)):
        if one is None:
            same += 1
            continue
        count += 1
        kept = changed if one.kind == "changed" else others
        if len(kept) < MOST:
            kept.append(one)
    found = [*changed, *others]
    if count > MOST:
        more = f"{count - MOST + 1} more differences"
        rest = Difference(path=REST, kind="changed", before="", after=more)
        found = [*found[: MOST - 1], rest]
    return same, tuple(found)


def _compared(path: str, before: Any, after: Any) -> Iterator[Difference | None]:
    """Each value that is the same (None), and each that is not."""
    if isinstance(before, dict) and isinstance(after, dict) and (before or after):
        for name in (*after, *(name for name in before if name not in after)):
            yield from _compared(
                _member(path, name), before.get(name, _NOTHING), after.get(name, _NOTHING)
            )
    elif isinstance(before, list) and isinstance(after, list) and (before or after):
        yield from _items(path, before, after)
    elif before is _NOTHING:
        yield _only(path, "added", after)
    elif after is _NOTHING:
        yield _only(path, "removed", before)
    elif type(before) is type(after) and _json(before) == _json(after):
        yield None
    elif isinstance(before, str) and isinstance(after, str):
        yield from _texts(path, before, after)
    else:
        yield from _texts(path, _json(before), _json(after))


def _items(path: str, before: list[Any], after: list[Any]) -> Iterator[Difference | None]:
    at = 0
    for start, end, new_start, new_end in _ranges(
        [_sorted(one) for one in before], [_sorted(one) for one in after]
    ):
        for one in after[at:new_start]:
            yield from _compared(path, one, one)
        at = new_end
        for offset in range(max(end - start, new_end - new_start)):
            old = before[start + offset] if start + offset < end else _NOTHING
            new = after[new_start + offset] if new_start + offset < new_end else _NOTHING
            place = (start if new is _NOTHING else new_start) + offset
            yield from _compared(f"{path}[{place}]", old, new)
    for one in after[at:]:
        yield from _compared(path, one, one)


def _ranges(one: list[Any], other: list[Any]) -> list[_Ranges]:
    """Where they differ, in order; seen from the other side it is the same."""
    if one > other:
        return [(i, j, start, end) for start, end, i, j in _ranges(other, one)]
    head, tail = _ends(one, other)
    first, second = one[head : len(one) - tail], other[head : len(other) - tail]
    if max(len(first), len(second)) <= _ALIGNED:
        codes = SequenceMatcher(None, first, second, autojunk=False).get_opcodes()
        found = [(a, b, c, d) for tag, a, b, c, d in codes if tag != "equal"]
    else:  # place by place
        found = []
        both = range(min(len(first), len(second)))
        for alike, group in groupby(both, lambda at: first[at] == second[at]):
            run = list(group)
            if not alike:
                found.append((run[0], run[-1] + 1, run[0], run[-1] + 1))
        if len(first) != len(second):
            found.append((len(both), len(first), len(both), len(second)))
    return [(head + a, head + b, head + c, head + d) for a, b, c, d in found]


def _ends(one: Sequence[Any], other: Sequence[Any]) -> tuple[int, int]:
    """How long they are the same from the beginning, and from there on to the end."""
    most = min(len(one), len(other))
    head = next((at for at in range(most) if one[at] != other[at]), most)
    rest = most - head
    tail = next((at for at in range(rest) if one[-1 - at] != other[-1 - at]), rest)
    return head, tail


def _texts(path: str, before: str, after: str) -> Iterator[Difference]:
    """Where a text first differs; and where it last does, when that does not stand there too."""
    if _alike(before, after):
        before, after = _spelt(before), _spelt(after)
    head, tail = _ends(before, after)
    ends = len(before) - tail, len(after) - tail
    windows = _window(before, head), _window(after, head)
    if all(
        end <= _start(text, head) + WINDOW for text, end in zip((before, after), ends, strict=True)
    ):
        yield Difference(path=_short(path), kind="changed", before=windows[0], after=windows[1])
        return
    places = len(_ranges(_WORD.findall(before), _WORD.findall(after)))
    said = (f"first of at least {places} places", f"last of at least {places} places")
    first, last = said if places > 1 else ("begins", "ends")
    yield Difference(
        path=f"{_short(path)} ({first})", kind="changed", before=windows[0], after=windows[1]
    )
    yield Difference(
        path=f"{_short(path)} ({last})",
        kind="changed",
        before=_window(before, ends[0] - WINDOW + 2 * _BEFORE),
        after=_window(after, ends[1] - WINDOW + 2 * _BEFORE),
    )


def _alike(before: str, after: str) -> bool:
    """Whether they may look the same: by other code points, or by a foreign letter."""
    if _skeleton(before) == _skeleton(after):
        return True
    head, _ = _ends(before, after)
    return before[head : head + 1].isascii() != after[head : head + 1].isascii()


def _skeleton(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text)
    return "".join(one for one in plain if unicodedata.category(one) not in {"Mn", "Cf", "Cc"})


def _spelt(text: str) -> str:
    return text.encode("unicode_escape").decode()


def _only(path: str, kind: Any, value: Any) -> Difference:
    text = _window(value if isinstance(value, str) else _json(value), 0)
    before, after = (text, "") if kind == "removed" else ("", text)
    return Difference(path=_short(path), kind=kind, before=before, after=after)


def _start(text: str, at: int) -> int:
    return max(0, min(at - _BEFORE, len(text) - WINDOW))


def _window(text: str, at: int) -> str:
    start = _start(text, at)
    end = start + WINDOW
    return (REST if start else "") + text[start:end] + (REST if end < len(text) else "")


def _member(path: str, name: str) -> str:
    if _NAME.fullmatch(name):
        return f"{path}.{name}" if path else name
    return f"{path}[{_json(name)}]"


def _short(path: str) -> str:
    return path if len(path) <= _LONGEST else path[:_LONGEST] + REST


def _json(value: Any) -> str:
    return encode(value).decode()
