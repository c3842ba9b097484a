"""The expressions of ``when:``: text to a tree, or a fault at a column.

    or      := and ("or" and)*
    and     := not ("and" not)*
    not     := "not" not | "(" or ")" | "exists" path | operand test
    test    := ("==" | "!=" | "<" | "<=" | ">" | ">=") operand | "startswith" text
             | "matches" text | ["not"] "in" (path | "[" literal ("," literal)* "]")
    operand := path | literal | "count" "(" path ")"

A text stands in single or double quotes and has no escapes; a path is ``arguments.NAME``, and so
on, with ``["any name"]`` and ``[0]`` for members that are no words.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import re2

MAX_CHARACTERS: Final = 2048
_MAX_DEPTH: Final = 32
_MAX_PATTERN: Final = 256
_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?![\w.]))
    | (?P<text>'[^'\x00-\x1f\x7f]*'|"[^"\x00-\x1f\x7f]*")
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,|\.)
    )""",
    re.VERBOSE | re.ASCII,
)
_WORDS: Final = frozenset({"and", "or", "not", "in", "exists", "count", "startswith", "matches"})
_CONNECTED: Final = "`and`, `or` and `not` are words."
_HINTS: Final = {
    "'": "There are no escapes; a text with ' stands in \".",
    '"': "There are no escapes; a text with ' stands in \".",
    "=": "Compare with ==.",
    "&": _CONNECTED,
    "|": _CONNECTED,
    "!": _CONNECTED,
    "-": 'A name with other signs in it: arguments["a-b"].',
}
"""What to do about the sign from which on nothing can be read."""
_EXACT: Final = 2**53
_ROOTS: Final = {
    ("arguments",): True,
    ("session", "user"): False,
    ("session", "subject"): True,
    ("agent", "id"): False,
    ("agent", "owner"): False,
    ("environment",): False,
}
"""What a path begins with, and whether a member must follow."""

Compared: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]
COMPARISONS: Final[tuple[Compared, ...]] = ("==", "!=", "<", "<=", ">", ">=")


class Unreadable(Exception):  # noqa: N818 - a verdict on a text; it never leaves this package
    """What is wrong, at which offset of the text, and what to do about it."""

    def __init__(self, offset: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Path:
    """``arguments.x[0]`` as its parts; ``counted`` for the number of what it holds."""

    parts: tuple[str | int, ...]
    counted: bool = False

    @property
    def argued(self) -> bool:
        """Whether it is about the arguments of the call."""
        return self.parts[0] == "arguments"


Operand: TypeAlias = Path | str | int | float | bool


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison; ``right`` of ``in`` is a path or a tuple of literals."""

    operator: Compared | Literal["startswith", "matches", "in", "not in", "exists"]
    left: Operand
    right: Operand | tuple[Operand, ...] = ""

    @property
    def argued(self) -> bool:
        """Whether the arguments of the call decide it."""
        return any(isinstance(one, Path) and one.argued for one in (self.left, self.right))


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    inner: Tree


@dataclass(frozen=True, slots=True)
class Several:
    """All of them (``and``), or any (``or``)."""

    word: Literal["and", "or"]
    inner: tuple[Tree, ...]


Tree: TypeAlias = Test | Not | Several


def read(text: str) -> Tree:
    """The tree of an expression. Raises Unreadable."""
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(0, f"an expression has at most {MAX_CHARACTERS} characters")
    return _Parser(text).whole()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    offset: int


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def whole(self) -> Tree:
        found = self._or()
        if self._token.kind != "end":
            raise self._wrong("`and`, `or` or the end")
        return found

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _is(self, *texts: str) -> bool:
        return self._token.kind in {"word", "sign"} and self._token.text in texts

    def _take(self) -> _Token:
        token = self._token
        self._next += 1
        return token

    def _expect(self, text: str) -> None:
        if not self._is(text):
            raise self._wrong(f"`{text}`")
        self._take()

    def _wrong(self, wanted: str) -> Unreadable:
        found = self._token.text or "the end"
        small = found.lower()
        hint = f"Write `{small}`." if small != found and small in _WORDS else ""
        return Unreadable(self._token.offset, f"expected {wanted}, found {found}", hint)

    def _or(self) -> Tree:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Unreadable(self._token.offset, "nested too deeply")
        found = [self._and()]
        while self._is("or"):
            self._take()
            found.append(self._and())
        self._depth -= 1
        return found[0] if len(found) == 1 else Several("or", tuple(found))

    def _and(self) -> Tree:
        found = [self._not()]
        while self._is("and"):
            self._take()
            found.append(self._not())
        return found[0] if len(found) == 1 else Several("and", tuple(found))

    def _not(self) -> Tree:
        turned = False
        while self._is("not"):
            self._take()
            turned = not turned
        found = self._one()
        return Not(found) if turned else found

    def _one(self) -> Tree:
        if self._is("("):
            self._take()
            inner = self._or()
            self._expect(")")
            return inner
        if self._is("exists"):
            self._take()
            return Test("exists", self._path())
        start = self._token.offset
        left = self._operand()
        test = self._test(left)
        if not any(isinstance(one, Path) for one in (test.left, test.right)):
            raise Unreadable(start, "compares two literals", "One side is a path.")
        return test

    def _test(self, left: Operand) -> Test:
        for comparison in COMPARISONS:
            if self._is(comparison):
                return self._comparison(left, comparison)
        if self._is("startswith", "matches"):
            return self._textual(left)
        if self._is("in", "not"):
            turned = self._take().text == "not"
            if turned:
                self._expect("in")
            return Test("not in" if turned else "in", left, self._list())
        hint = (
            f"One of {' '.join(COMPARISONS)} in, not in, startswith, matches; a truth value is"
            " compared, too: `arguments.urgent == true`."
        )
        raise Unreadable(self._token.offset, "expected a comparison", hint)

    def _comparison(self, left: Operand, comparison: Compared) -> Test:
        self._take()
        at = self._token.offset
        right = self._operand()
        for side in (left, right):
            if comparison not in {"==", "!="} and isinstance(side, str | bool):
                raise Unreadable(at, f"{comparison} compares numbers only")
        return Test(comparison, left, right)

    def _textual(self, left: Operand) -> Test:
        word = self._take().text
        token = self._token
        if token.kind != "text":
            raise self._wrong("a text in quotes")
        self._take()
        text = token.text[1:-1]
        if not isinstance(left, Path) or left.counted:
            raise Unreadable(token.offset, f"{word} looks at a path")
        if not text:
            raise Unreadable(token.offset, f"{word} needs a text that is not empty")
        if word == "matches":
            _pattern(text, token.offset)
            return Test("matches", left, text)
        if "/" in text and not text.endswith("/"):
            hint = "Without it, siblings whose names merely begin so would fit too."
            raise Unreadable(token.offset, "a prefix of a path must end with /", hint)
        return Test("startswith", left, text)

    def _list(self) -> Path | tuple[Operand, ...]:
        if not self._is("["):
            return self._path()
        self._take()
        found = [self._literal()]
        while self._is(","):
            self._take()
            found.append(self._literal())
        self._expect("]")
        return tuple(found)

    def _operand(self) -> Operand:
        if self._is("count"):
            self._take()
            self._expect("(")
            path = self._path()
            self._expect(")")
            return Path(path.parts, counted=True)
        if self._token.kind == "word" and self._token.text not in {"true", "false", "null"}:
            return self._path()
        return self._literal()

    def _literal(self) -> str | int | float | bool:
        token = self._token
        if self._is("true", "false"):
            self._take()
            return token.text == "true"
        if self._is("null"):
            raise Unreadable(token.offset, "nothing equals null", "Write `exists PATH`.")
        if token.kind == "text":
            self._take()
            return token.text[1:-1]
        if token.kind != "number":
            raise self._wrong("a path, a number, a text in quotes, true or false")
        self._take()
        number: int | float = json.loads(token.text)
        if abs(number) >= _EXACT:
            raise Unreadable(token.offset, "a number of 2^53 or more is not exact everywhere")
        return number

    def _path(self) -> Path:
        token = self._token
        if token.kind != "word" or token.text in _WORDS:
            raise self._wrong("a path")
        parts: list[str | int] = [self._take().text]
        while self._is(".", "["):
            parts.append(self._member())
        for root, members in _ROOTS.items():
            if tuple(parts[: len(root)]) == root and (len(parts) > len(root)) == members:
                return Path(tuple(parts))
        raise Unreadable(
            token.offset,
            f"unknown path {'.'.join(map(str, parts))}",
            "Paths: arguments.NAME, session.user, session.subject.NAME, agent.id, agent.owner,"
            " environment. A text stands in quotes.",
        )

    def _member(self) -> str | int:
        if self._take().text == ".":
            if self._token.kind != "word":
                raise self._wrong("a name")
            return self._take().text
        token = self._take()
        if token.kind == "text":
            member: str | int = token.text[1:-1]
        elif token.kind == "number" and token.text.isdecimal():
            member = int(token.text)
        else:
            raise Unreadable(token.offset, 'expected ["a name"] or [0]')
        self._expect("]")
        return member


def _tokens(text: str) -> list[_Token]:
    found, offset = [], 0
    while text[offset:].strip():
        match = _TOKEN.match(text, offset)
        if match is None or match.lastgroup is None:
            at = len(text) - len(text[offset:].lstrip())
            raise Unreadable(at, "cannot be read from here on", _HINTS.get(text[at], ""))
        kind = match.lastgroup
        found.append(_Token(kind, match[kind], match.start(kind)))
        offset = match.end()
    return [*found, _Token("end", "", len(text.rstrip()))]


_PERL: Final = re.compile(r"\\[A-Za-z0-9]")
_GROUP: Final = re.compile(r"\(\?(?!:)")
_CLASS: Final = re.compile(r"\[\^?\]?((?:\\.|\[:\^?[a-z]+:\]|[^\]\\])*)\]")


def _pattern(text: str, offset: int) -> None:
    """Refuse what regular-expression engines read in more than one way."""
    if len(text) > _MAX_PATTERN:
        raise Unreadable(offset, f"a pattern has at most {_MAX_PATTERN} characters")
    if not text.isascii():
        raise Unreadable(offset, "a pattern is of ASCII characters")
    bare = text.replace("\\\\", "")
    if _PERL.search(bare):
        hint = "Write what it stands for: [0-9], [A-Za-z0-9_]."
        raise Unreadable(offset, "a pattern has no escapes with letters or digits", hint)
    if _GROUP.search(bare):
        raise Unreadable(offset, "a pattern has no groups with ? but (?:")
    for inner in _CLASS.findall(bare):
        plain = re.sub(r"\[:\^?[a-z]+:\]|\\.", "", inner)
        if any(mark in plain for mark in ("[", "&&", "--", "~~")):
            raise Unreadable(offset, "a class has no [, &&, -- or ~~ in it")
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text, options)  # alone: `a)|(b` would be anchored at neither end
    except re2.error:
        raise Unreadable(offset, "not a regular expression (RE2)") from None


def plain(value: Any) -> str:
    """A literal as Rego writes it."""
    return json.dumps(value, ensure_ascii=False)
