"""YAML that reads one way only: the configuration, the policy, rule packs.

Refused: tags, merge keys, several documents, keys that are no strings or stand twice in a mapping,
aliases of what is not complete, what is nested deeper than MAX_DEPTH and, where a reader says so,
all anchors and aliases. Of what is not quoted, what YAML 1.1 and 1.2 read otherwise is refused:
``yes``, ``010``, ``12:30``, ``1_000``, ``1e3``; and numbers that are not finite or too long.
``off`` is a text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

MAX_DEPTH: Final = 100
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR: Final = "tag:yaml.org,2002:str"
_MERGE: Final = "tag:yaml.org,2002:merge"
_RESOLVER: Final[Any] = Resolver()
_SPACES: Final = "Indent with spaces only."
_BOOL: Final = "tag:yaml.org,2002:bool"
_NUMBERS: Final = {"tag:yaml.org,2002:int": int, "tag:yaml.org,2002:float": float}
_TRUTH: Final = frozenset({"true", "false"})
_OFF: Final = "off"  # a word of the configuration's and the policy's
_DECIMAL: Final = re.compile(
    r"[-+]?(?:0|[1-9][0-9]*)|[-+]?(?=\.?[0-9])[0-9]*\.[0-9]*(?:[eE][-+][0-9]+)?"
)
"""What both versions read as the same number."""
_NUMERIC: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9A-Fa-f]+"
)
"""Numbers of YAML 1.2.2 (core schema, section 10.3.2)."""
_INFINITE: Final = re.compile(r"[-+]?\.(?:inf|nan)", re.IGNORECASE)
_BITS: Final = 63
_MOST_DIGITS: Final = 400


class Unreadable(Exception):  # noqa: N818 - says what it is; callers make a Problem of it
    """Why a text is not read. ``line`` and ``column`` count from 1; ``hint`` says what to do."""

    def __init__(self, reason: str, mark: Any, hint: str) -> None:
        """``mark`` is where, as PyYAML says it, or None."""
        super().__init__(reason)
        self.reason = reason
        self.line: int = mark.line + 1 if mark else 1
        self.column: int = mark.column + 1 if mark else 1
        self.hint = hint


def compose(text: str, *, aliases: bool = True) -> yaml.Node | None:
    """The text's one document; None when it is empty. Raises Unreadable.

    Without ``aliases`` each node stands where it is written, and nowhere else.
    """
    events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
    root = None
    try:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    _refuse("a second document", event, "Put it into a file of its own.")
                root = _Composer(events, aliases=aliases).node(next(events), 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(f"not YAML: {error.problem}", mark, _SPACES) from None
    except (yaml.YAMLError, UnicodeError):
        raise Unreadable("a character that YAML does not allow", None, "Take it out.") from None
    return root


def construct(node: yaml.Node | None) -> Any:
    """What a document says, in Python's types. Raises Unreadable."""
    if node is None:
        return None
    try:
        return _Constructor().construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise Unreadable(error.problem or "not a value", error.problem_mark, "Quote it.") from None


def shipped(text: str) -> Any:
    """What a file of our own says: no stranger wrote it, so it is only read, and fast."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, the faster one


class _Constructor(SafeConstructor):
    """Says where a value stands that there is not, such as a thirteenth month."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - as PyYAML has it
        try:
            return super().construct_object(node, deep)
        except ValueError:
            reason = "looks like a date or a number, and is none"
            raise Unreadable(reason, node.start_mark, "Quote it.") from None


class _Composer:
    """Makes nodes of a parser's events."""

    def __init__(self, events: Iterator[Any], *, aliases: bool) -> None:
        self._events = events
        self._named: dict[str, Any] | None = {} if aliases else None

    def node(self, event: Any, depth: int) -> Any:
        """The node that begins with an event, and whose other events are next."""
        if event.anchor is not None and self._named is None:
            _refuse(
                "anchors and aliases are not read here", event, "Write it out where it is used."
            )
        if isinstance(event, yaml.AliasEvent):
            return self._known(event)
        if event.tag is not None:
            _refuse("tags are not read", event, "Take it out; quote what is to be a text.")
        if depth > MAX_DEPTH:
            _refuse("nested too deeply", event, f"At most {MAX_DEPTH} levels are read.")
        node = self._scalar(event) or self._collection(event, depth)
        if self._named is not None and event.anchor is not None:
            self._named[event.anchor] = node
        return node

    def _known(self, event: Any) -> Any:
        known = (self._named or {}).get(event.anchor)
        if known is None:
            _refuse("an alias of nothing before it", event, "Write it out where it is used.")
        return known

    @staticmethod
    def _scalar(event: Any) -> Any:
        if not isinstance(event, yaml.ScalarEvent):
            return None
        made: Any = yaml.ScalarNode
        tag = _RESOLVER.resolve(made, event.value, event.implicit)
        if event.implicit[0]:
            tag = _read_one_way(tag, event)
        return made(tag, event.value, event.start_mark, event.end_mark, event.style)

    def _collection(self, event: Any, depth: int) -> Any:
        listed = isinstance(event, yaml.SequenceStartEvent)
        found: list[Any] = []
        names: dict[str, int] = {}
        while not isinstance(inner := next(self._events), yaml.CollectionEndEvent):
            node = self.node(inner, depth + 1)
            if not listed:
                _name(node, inner, names)
                node = (node, self.node(next(self._events), depth + 1))
            found.append(node)
        made: Any = yaml.SequenceNode if listed else yaml.MappingNode
        tag = _RESOLVER.resolve(made, None, event.implicit)
        return made(tag, found, event.start_mark, inner.end_mark, event.flow_style)


def _read_one_way(tag: str, event: Any) -> str:
    """The tag of a scalar that is not quoted, where there is but one."""
    value = event.value
    if tag == _BOOL and value.lower() not in _TRUTH:
        if value != _OFF:
            reason = "a word that is a truth value to some readers and a text to others"
            _refuse(reason, event, "Quote it, or write true or false.")
        return _STR
    if tag not in _NUMBERS and not (tag == _STR and _NUMERIC.fullmatch(value)):
        return tag
    if _INFINITE.fullmatch(value):
        _refuse("not a finite number", event, "Quote what is to be a text.")
    if tag not in _NUMBERS or not _DECIMAL.fullmatch(value):
        hint = "Quote it, or write the number in decimal digits."
        _refuse("not the same number, or text, to all readers", event, hint)
    _check_size(_NUMBERS[tag], event)
    return tag


def _check_size(kind: type[int | float], event: Any) -> None:
    said = kind(event.value) if len(event.value) <= _MOST_DIGITS else math.inf
    if not math.isfinite(said) or (kind is int and int(said).bit_length() > _BITS):
        _refuse("a number that does not fit in 64 bits", event, "Quote what is to be a text.")


def _name(key: yaml.Node, where: Any, names: dict[str, int]) -> None:
    """Note a member's name."""
    if key.tag == _MERGE:
        _refuse("nothing is merged", where, "Write the members out.")
    if key.tag != _STR:
        _refuse("expected a string as a name", where, "Quote it.")
    if key.value in names:
        hint = f"It stands in line {names[key.value]} already."
        _refuse(f"{key.value} is named twice", where, hint)
    names[key.value] = where.start_mark.line + 1


def _refuse(reason: str, where: Any, hint: str) -> NoReturn:
    raise Unreadable(reason, where.start_mark, hint)
