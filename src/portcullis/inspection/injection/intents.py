"""Intent rules: what an instruction to a model says, as small grammars in many languages.

``intents.yaml`` names the intents, and for each language its words and its patterns. Patterns are
regular expressions over folded text (see ``fold``) in the syntax that RE2 and Hyperscan share, with
three short forms: ``{name}`` is one of the language's words, a space is any separator of 1 or 2
bytes, and ``~N`` between spaces is a gap of at most N bytes within a sentence. Letters outside
ASCII stand for their UTF-8 bytes: use ``(?:é|e)``, never a class. A pattern is bounded in length
and looks at nothing outside its match, so that it matches in a slice of a text exactly when it
matches in the text within that slice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, Final

import msgspec

from portcullis.config.yaml import shipped
from portcullis.core.errors import Problem

_SEPARATOR: Final = r"(?:[^0-9a-z.\x80-\xff]{1,2})"
_EDGE: Final = r"[^0-9a-z_]"
_LETTER: Final = r"[0-9a-z_\x80-\xff]"
_SPACE: Final = re.compile(r"(\[(?:\\.|[^\]\\])*\])| ")
_GAP: Final = re.compile(r" ~(\d+) ")
_WORD: Final = re.compile(r"\{([a-z_]+)\}")
_LITERAL: Final = re.compile(r"(\[(?:\\.|[^\]])*\]|\\.|\{[^}]*\}|\(\?:)|([a-z]{4,})")
_LAST: Final = "prompt"
"""A word that rules end with also where no gap is before it."""
_FORBIDDEN: Final = re.compile(
    r"~|\\[bBAzZ]|(?<![\\\[])[*+^$]|\{\d+,\}|\[[^\]]*[^\x00-\x7f][^\]]*\]"
)


class Language(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The words and the rules (by intent) of a language; ``spaced`` when words have spaces.

    Where ``gates`` are given, the rules are only tried in a stretch of text that one of them is in.
    """

    rules: dict[str, list[str]]
    words: dict[str, str] = msgspec.field(default_factory=dict)
    spaced: bool = True
    gates: str = ""


class Grammar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of intents: what each means, and the languages' rules for them."""

    intents: dict[str, str]
    languages: dict[str, Language]


class Rule(msgspec.Struct, frozen=True):
    """A rule ready to compile: ``id`` is ``intent/language``, ``pattern`` is over bytes."""

    id: str
    intent: str
    pattern: bytes
    gated: bool


def builtin() -> Grammar:
    """The grammar that is shipped."""
    text = resources.files(__package__).joinpath("intents.yaml").read_text(encoding="utf-8")
    return parse(shipped(text))


def parse(document: Any) -> Grammar:
    """Read a grammar; Problem PC7014 when it is not one."""
    try:
        grammar = msgspec.convert(document, Grammar)
    except msgspec.ValidationError as error:
        raise Problem("PC7014", f"intents: {error}") from error
    for name, language in grammar.languages.items():
        unknown = language.rules.keys() - grammar.intents.keys()
        if unknown:
            raise Problem("PC7014", f"intents: {name} has rules for {sorted(unknown)}")
    return grammar


def rules(grammar: Grammar) -> tuple[Rule, ...]:
    """Every pattern of the grammar, expanded, in the order of the file."""
    return tuple(_rules(grammar))


def gate(grammar: Grammar) -> bytes:
    """What has to be in a text for the gated rules to be tried."""
    gates = [language.gates for language in grammar.languages.values() if language.gates]
    return "|".join(gates).encode("utf-8")


def _rules(grammar: Grammar) -> Iterator[Rule]:
    for code, language in grammar.languages.items():
        for intent, patterns in language.rules.items():
            for pattern in patterns:
                where = f"intents: {intent}/{code}"
                expanded = _expanded(pattern, language, where)
                yield Rule(f"{intent}/{code}", intent, expanded, bool(language.gates))


def _expanded(pattern: str, language: Language, where: str) -> bytes:
    text = _worded(pattern, language.words, where)
    text = text.replace(r"\w", _LETTER)
    if language.spaced:
        text = _GAP.sub(lambda gap: _EDGE + rf"(?:[^.]{{0,{gap[1]}}}{_EDGE})?", text)
        text = f"{_EDGE}(?:{_spaced(text, _SEPARATOR)}){_EDGE}"
    else:
        text = _GAP.sub(lambda gap: rf"[^.]{{0,{gap[1]}}}", text)
        text = _spaced(text, "(?:[ .]{0,2})")
    if _FORBIDDEN.search(text):
        raise Problem("PC7014", f"{where}: only bounded patterns without anchors are possible")
    return (text if language.gates else _muted(text)).encode("utf-8")


def _muted(pattern: str) -> str:
    """The same pattern with no literals but those before its first gap.

    Hyperscan looks for one literal of a rule first, and reads back from it for what the rule begins
    with. A word that many rules end with, over and over, would make it read back for all of them.
    """
    gap = pattern.find("[^.]{0,")
    head, tail = (pattern[:gap], pattern[gap:]) if gap >= 0 else (pattern, "")
    head = head.replace(_LAST, _spelt(_LAST))
    return head + _LITERAL.sub(lambda found: found[1] or _spelt(found[2]), tail)


def _spelt(word: str) -> str:
    """A word whose every second letter is one of two, of which folded text never has the other."""
    return "".join(rf"[{one}\x00]" if at % 2 else one for at, one in enumerate(word))


def _spaced(pattern: str, separator: str) -> str:
    """Put the separator for spaces; those in character classes stay."""
    return _SPACE.sub(lambda found: found[1] or separator, pattern)


def _worded(pattern: str, words: Mapping[str, str], where: str) -> str:
    for _ in range(4):  # words may be made of words
        missing = [name for name in _WORD.findall(pattern) if name not in words]
        if missing:
            raise Problem("PC7014", f"{where}: no words {missing}")
        pattern = _WORD.sub(lambda found: f"(?:{words[found[1]]})", pattern)
    return pattern
