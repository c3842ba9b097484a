"""What the user said, prepared once for a session and asked on every call."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from portcullis.provenance import numbers, spoken, urls
from portcullis.provenance.canonical import (
    NEXT,
    forms,
    mentions,
    readings,
    tokens,
)
from portcullis.provenance.stems import stem
from portcullis.provenance.sums import Sums, sums

_BREAK: Final = f"{NEXT}\x1e{NEXT}"
"""What stands between what was said at different times."""
_GLUED: Final = re.compile(r"((?:www\.|@)(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24})\.(?=[A-Z])")
"""The end of a sentence without a space: ``write to bob@example.com.He knows``."""
_PATTERN: Final = re.compile(
    r"(?P<open>[\"'\u201c\u2018])(?P<before>[^{}\n\"\u201c\u201d]{0,64})\{[\w -]{1,32}\}"
    r"(?P<after>[^{}\n\"\u201c\u201d]{0,64}?)[\"'\u201d\u2019](?!\w)"
)
"""A text in quotes with one gap in it."""
_NAMED: Final = re.compile(r"(?<=[\w,;:] )[^\W\d_a-z][^\W\d_A-Z]{2,32}(?!\w)")
"""A word with a capital letter within a sentence."""
_GAP: Final = re.compile(r"[^\W_](?:[\w .'&-]{0,62}[\w.])?")
_PATTERNS: Final = 16
_SAID: Final = 4
"""Letters that a pattern has at least beside its gap."""
_CODED: Final = re.compile(r"(?<![\w.@/-])[A-Za-z0-9]+(?:-[A-Za-z0-9]+){0,8}(?![\w@/-]|\.\w)")
_GROUP: Final = r"(?:[A-Z]{0,3}[0-9][A-Z0-9-]{0,7}|[A-Z]{1,3})"
_RUN: Final = re.compile(rf"(?<![\w.,-]){_GROUP}(?: {_GROUP}){{1,5}}(?![\w-]|[.,]\w)")
_CODE: Final = 5
_LONGEST_CODE: Final = 24


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What the user said: prepared once for a session, asked on every call.

    ``run`` is every token in its order; ``single`` all forms of each token; ``stems`` the words
    without their endings; ``patterns`` what stands before and after the gap in texts such as
    ``"Dinner at {restaurant}"``; ``names`` words with a capital within a sentence; ``codes``
    words with digits, and ``glued`` runs of groups of digits, without signs and spaces; ``sums``
    the arithmetic that is asked for.
    """

    run: str = NEXT
    single: frozenset[str] = frozenset()
    stems: frozenset[str] = frozenset()
    patterns: frozenset[tuple[str, str]] = frozenset()
    names: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    solid: frozenset[str] = frozenset()
    glued: frozenset[str] = frozenset()
    sums: Sums = Sums()

    @classmethod
    def of(cls, prompts: Iterable[str]) -> Words:
        """The words of the authenticated prompt and of the user's further turns."""
        runs: list[str] = []
        single: set[str] = set()
        patterns: set[tuple[str, str]] = set()
        names: set[str] = set()
        codes: set[str] = set()
        solid: set[str] = set()
        glued: set[str] = set()
        reckoned = Sums()
        for prompt in prompts:
            style = numbers.style(prompt)
            patterns |= _patterns(prompt)
            single |= urls.written(prompt)
            names |= {one.lower() for one in _NAMED.findall(prompt)}
            aloud = spoken.addresses(prompt)
            coded = _CODED.findall(prompt)
            codes |= set(filter(None, map(_code, coded)))
            solid |= set(filter(None, (_code(one) for one in coded if "-" not in one)))
            glued |= _glued(prompt)
            for reading in (*readings(_GLUED.sub(r"\1. ", prompt)), *aloud):
                said: list[str] = []
                for kind, token in tokens(reading, source=True):
                    before = said[-1] if said else ""
                    said.append(token)
                    if token.isalpha():  # no more than a word
                        single.add(token)
                        continue
                    single |= forms(kind, token, style)
                    if kind == "word" and numbers.amount(token, before):
                        single |= {f"##{one}" for one in numbers.readings(token, style)}
                single |= {f"##{one}" for one in spoken.numbers(said)}
                runs.append(NEXT.join(said))
                reckoned = reckoned.join(sums(said, style))
        return cls(
            run=f"{NEXT}{_BREAK.join(runs)}{NEXT}",
            single=frozenset(single),
            stems=frozenset(
                stem(bare) for word in single if (bare := word.replace("-", "")).isalpha()
            ),
            patterns=frozenset(patterns),
            names=frozenset(names),
            codes=frozenset(codes),
            solid=frozenset(solid),
            glued=frozenset(glued),
            sums=reckoned,
        )

    def say(self, key: str) -> bool:
        """Whether the user said this, as a whole token or a run of whole tokens."""
        return f"{NEXT}{key}{NEXT}" in self.run if NEXT in key else key in self.single

    def spell(self, value: str, *, glued: bool = False) -> bool:
        """Whether the user said this code in another spelling: ``w50003`` for ``W-50003``.

        Codes have digits, and are compared by their letters and digits alone. With ``glued`` a run
        of groups of digits with single spaces is one code too: ``753 13`` for ``75313``.
        """
        code = _code(value)
        known = self.solid if "-" in value else self.codes
        return bool(code) and (code in known or (glued and code in self.glued))

    def describe(self, text: str) -> bool:
        """Whether a text is what the user gave a pattern for; what fills the gap leads nowhere."""
        for before, after in self.patterns:
            gap = text[len(before) : len(text) - len(after)]
            if f"{before}{gap}{after}" == text and _GAP.fullmatch(gap) and not mentions(text):
                return True
        return False


def _patterns(prompt: str) -> set[tuple[str, str]]:
    if "{" not in prompt:
        return set()
    found = ((one["before"], one["after"]) for one in _PATTERN.finditer(prompt))
    pairs = {pair for pair in found if sum(map(str.isalpha, "".join(pair))) >= _SAID}
    return pairs if len(pairs) <= _PATTERNS else set()


def _glued(prompt: str) -> set[str]:
    """Neighbouring groups with single spaces as one, from one with a digit to one with a digit."""
    found: set[str] = set()
    for run in _RUN.findall(prompt):
        groups = run.split(" ")
        numbered = [at for at, group in enumerate(groups) if any(map(str.isdigit, group))]
        found |= {
            _code("".join(groups[start : end + 1]))
            for start in numbered
            for end in numbered
            if start < end
        }
    return found - {""}


def _code(value: str) -> str:
    """A value's letters and digits when it is a code; empty for what is none."""
    plain = _CODED.fullmatch(value) is not None and any(map(str.isdigit, value))
    code = value.replace("-", "").lower() if plain else ""
    return code if _CODE <= len(code) <= _LONGEST_CODE else ""
