"""What the firewall is measured with: ordinary texts of several kinds, and the worst of 1 MB.

All is made at run time from a seed, so that every run reads the same and no file holds a datum.
Ordinary texts hold what such texts hold: an address here, a number there, nothing malicious; but
for ``prose``, in which there is nothing to find.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from portcullis.inspection.packs import builtin, joined

_SEED: Final = 20_001
_MEGABYTE: Final = 10**6

_NAMES: Final = ("Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hana", "Jelena")
_SURNAMES: Final = ("Albers", "Bakker", "Costa", "Dahl", "Egger", "Fontana", "Grant", "Horvat")
_THINGS: Final = (
    "the blue lamp",
    "two office chairs",
    "a spare battery",
    "the annual licence",
    "my winter tyres",
    "the conference ticket",
    "a replacement hinge",
    "three boxes of paper",
)
_PLACES: Final = ("Graz", "Lyon", "Porto", "Turku", "Gdansk", "Leeds", "Ghent", "Malmo", "Basel")
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_NOUNS: Final = ("account", "budget", "client", "counter", "entry", "invoice", "order", "region")
_VERBS: Final = ("build", "check", "collect", "count", "fetch", "join", "merge", "parse", "sort")

_CHAT: Final = (
    "Hello, I ordered {thing} on {day} and it still has not left {place}. ",
    "Could you look up where it is? My name is {name} {surname}. ",
    "I already wrote to {mail}, but nobody answered me since {day}. ",
    "The tracking page said that it would arrive within {number} days, which is over now. ",
    "If it is easier, send {thing} to our office in {place} instead, ask for {name}. ",
    "By the way, does the warranty cover {thing} when it was bought in {place}? ",
    "Thanks, that helps. And please explain how I change the delivery day to {day}. ",
    "I do not want to cancel, I only want to know what happens next. ",
)
_MAIL: Final = (
    "We met the supplier in {place} on {day} and went through the open points. ",
    "Delivery of {thing} moves by {number} days, because a part is made to measure. ",
    "{name} {surname} keeps the list of changes and will send it round before {day}. ",
    "The price per piece stays at {number}.{cents} EUR up to {number}00 pieces a month. ",
    "Nothing was decided about the depot in {place}; the lease ends next year anyway. ",
    "Please note the following before the review: drawings first, then the samples. ",
    "As agreed, costs above {number} % of the offer need a second signature. ",
    "Questions go to {mail} or, in a hurry, to +43 316 {digits}. ",
)
_PROSE: Final = (
    "A bridge of stone stands longer than one of wood, but it asks for better ground. ",
    "Most of what we know about the old road comes from the letters of travellers. ",
    "In winter the river freezes at its banks first, where the water hardly moves. ",
    "Whoever plants a walnut tree does it for somebody else, as people say here. ",
    "The mill was built twice, since the first one burned down within a few years. ",
    "Nobody remembers why the market moved to the upper square, only that it did. ",
    "Bread was dear after the wet summers, and the council had to buy grain from abroad. ",
    "There are two ways up to the pass: a short one, and one that mules can take. ",
)
_LEVELS: Final = ("INFO", "INFO", "INFO", "DEBUG", "WARNING")


class _Writer:
    """Makes texts; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random: Final = random.Random(seed)  # noqa: S311 - texts that repeat, not secrets

    def filled(self, template: str) -> str:
        name, surname = self.pick(_NAMES), self.pick(_SURNAMES)
        return template.format(
            name=name,
            surname=surname,
            mail=f"{name}.{surname}@example.com".lower(),
            thing=self.pick(_THINGS),
            place=self.pick(_PLACES),
            day=self.pick(_DAYS),
            number=self.random.randint(2, 90),
            cents=self.random.randint(10, 99),
            digits=self.random.randint(200_000, 900_000),
        )

    def pick(self, among: Sequence[str]) -> str:
        return self.random.choice(among)

    def shuffled(self, templates: Sequence[str]) -> Iterator[str]:
        for template in self.random.sample(templates, len(templates)):
            yield self.filled(template)

    def prose(self) -> Iterator[str]:
        while True:
            yield from self.shuffled(_PROSE)

    def chat(self) -> Iterator[str]:
        while True:
            yield from self.shuffled(_CHAT)

    def mail(self) -> Iterator[str]:
        yield self.filled("From: {mail}\nSubject: {thing}, {place}\n\n")
        while True:
            yield from self.shuffled(_MAIL)
            yield self.filled("\n\n- {day}: {name} calls {place}\n- {day}: {thing}\n\n")

    def record(self) -> dict[str, Any]:
        return {
            "id": self.random.randint(10_000, 99_999),
            "customer": self.filled("{name} {surname}"),
            "email": self.filled("{mail}"),
            "created_at": f"2025-06-{self.random.randint(10, 28)}T08:14:22Z",
            "total": self.random.randint(100, 99_999) / 100,
            "status": self.pick(("open", "paid", "sent")),
            "note": self.filled("{thing} for {place}, not before {day}"),
        }

    def tool(self) -> Iterator[str]:
        yield '{"records": ['
        while True:
            yield json.dumps(self.record()) + ", "

    def code(self) -> Iterator[str]:
        while True:
            verb, noun, other = self.pick(_VERBS), self.pick(_NOUNS), self.pick(_NOUNS)
            yield (
                f"def {verb}_{noun}({other}: dict[str, int], limit: int = 10) -> list[str]:\n"
                f'    """{verb.capitalize()} every {noun} of the {other}."""\n'
                f"    found = []\n"
                f"    for key, value in sorted({other}.items()):\n"
                f"        if value > limit and key.startswith({noun!r}):\n"
                f"            found.append(f'{{key}}={{value:04d}}')\n"
                f"    return found[:{self.random.randint(2, 90)}]\n\n\n"
            )

    def log(self) -> Iterator[str]:
        draw = self.random.randint
        for number in range(_MEGABYTE):
            yield (
                f"2025-06-12T10:{draw(0, 59):02}:{draw(0, 59):02}.{draw(0, 999):03}Z "
                f"{self.pick(_LEVELS)} {self.pick(_NOUNS)}.{self.pick(_VERBS)} request={number:06} "
                f"peer=10.{draw(0, 9)}.{draw(0, 255)}.{draw(1, 254)} path=/v1/{self.pick(_NOUNS)}s "
                f"status=200 bytes={draw(100, 90_000)} took={draw(1, 900)}ms\n"
            )

    def cut(self, pieces: Iterator[str], size: int) -> str:
        """The first ``size`` characters."""
        found: list[str] = []
        length = 0
        while length < size:
            found.append(next(pieces))
            length += len(found[-1])
        return "".join(found)[:size]


def ordinary(kind: str, size: int) -> str:
    """So many characters of ordinary text; ``kind`` is one of KINDS. ASCII, so bytes as well."""
    writer = _Writer(_SEED)
    return writer.cut(_ORDINARY[kind](writer), size)


def records(count: int) -> str:
    """A tool's whole result, JSON: about 200 characters for each record."""
    writer = _Writer(_SEED)
    return json.dumps({"records": [writer.record() for _ in range(count)]})


def worst(kind: str, size: int = _MEGABYTE) -> str:
    """So many bytes of UTF-8 that are hard to read; ``kind`` is one of WORST."""
    writer = _Writer(_SEED)
    return writer.cut(_WORST[kind](writer), size).encode()[:size].decode(errors="ignore")


def pieces(text: str, size: int) -> list[str]:
    """A text in chunks of ``size`` characters."""
    return [text[at : at + size] for at in range(0, len(text), size)]


_ORDINARY: Final[dict[str, Callable[[_Writer], Iterator[str]]]] = {
    "prose": _Writer.prose,
    "chat": _Writer.chat,
    "tool": _Writer.tool,
    "document": _Writer.mail,
    "code": _Writer.code,
    "log": _Writer.log,
}
KINDS: Final = tuple(_ORDINARY)


def _digits(writer: _Writer) -> Iterator[str]:
    """Numbers of all lengths, with all that may stand within one."""
    while True:
        yield str(writer.random.getrandbits(64))[: writer.random.randint(3, 19)]
        yield writer.pick((" ", "-", ".", "/", ", ", "\n", ""))


def _base64(writer: _Writer) -> Iterator[str]:
    while True:
        yield base64.b64encode(writer.random.randbytes(57)).decode() + "\n"


def _misses(writer: _Writer) -> Iterator[str]:
    """What the rules themselves call near misses, in any order."""
    known = [joined(one) for pack in builtin() for rule in pack.rules for one in rule.reject]
    while True:
        yield writer.pick(known)
        yield "\n"


def _hits(writer: _Writer) -> Iterator[str]:
    """What the rules look for, in any order: mostly more than a call may hold."""
    known = [joined(one) for pack in builtin() for rule in pack.rules for one in rule.match]
    while True:
        yield writer.pick(known).replace("«", "").replace("»", "")
        yield "\n"


def _begun(writer: _Writer) -> Iterator[str]:
    """Beginnings of what the rules look for, over and over, which never end as they should."""
    begins = ("eyJa.", "[a", "https://a/?q=", "-----BEGIN A", "AKIA", "password: ", "sk-", "+43 ")
    while True:
        for begin in writer.random.sample(begins, len(begins)):
            yield begin * (2000 // len(begin)) + "\n"


def _unicode(writer: _Writer) -> Iterator[str]:
    """Words written in look-alikes, with invisible and combining characters in between."""
    other = str.maketrans("aceiopsxy", "асеіорѕху")  # noqa: RUF001 - look-alikes on purpose
    odd = "\u200b\u200d\u2060\u202e\u0301\u00ad\U000e0041漢é\U0001f600"
    while True:
        word = writer.pick(_NOUNS).translate(other)
        yield f"{word[:3]}{writer.pick(odd)}{word[3:]} "


def _tricks(writer: _Writer) -> Iterator[str]:
    """All ways of hiding a word, in any order."""
    text = "some text here"
    plain = base64.b64encode(text.encode()).decode()
    ways = (
        "a\u200bb",
        "&#65;",
        "%41",
        "\\x41",
        "=41=42=43",
        "\uff41",
        "e\u0301",
        "\x1b[31m",
        "\x01",
    )
    more = ("<!-- a b c d -->", "<b hidden>a b c d</b>", "a<b></b>b", "aо b", "vtaber ", "erongi ")  # noqa: RUF001 - a look-alike on purpose
    while True:
        yield writer.pick((*ways, *more, f"{plain} ", "41 " * 10, " ".join(text), "é", "\n"))


def _signs(writer: _Writer) -> Iterator[str]:
    """Any characters of ASCII that can be printed."""
    while True:
        yield "".join(chr(writer.random.randint(32, 126)) for _ in range(50))


def _letters(writer: _Writer) -> Iterator[str]:
    """Any characters of Latin alphabets, control characters among them."""
    while True:
        yield "".join(chr(writer.random.randint(0x20, 0x24F)) for _ in range(50))


def _forms(writer: _Writer) -> Iterator[str]:
    """Characters that normalise to others."""
    while True:
        yield "".join(chr(writer.random.randint(0xF900, 0xFA0D)) for _ in range(50))


def _percent(writer: _Writer) -> Iterator[str]:
    """Words, some of them known ones, in URL encoding."""
    while True:
        yield f"{writer.pick(_NOUNS)}%20{writer.pick(('ignore', 'system', 'prompt', 'and'))} "


def _encoded(writer: _Writer) -> Iterator[str]:
    """One long text in base64: words that rules against injection begin and end with, no stop."""
    while True:
        words = " ".join(writer.pick((*_NOUNS, "prompt", "the")) for _ in range(15))
        yield base64.b64encode(f"{words:123.123}".encode()).decode()


def _scripts(writer: _Writer) -> Iterator[str]:
    """Any characters of Unicode's first two planes."""
    while True:
        points = (writer.random.randint(0x20, 0x1FFFF) for _ in range(50))
        yield "".join(chr(one) for one in points if not 0xD800 <= one < 0xE000)  # noqa: PLR2004 - no surrogates


def _markup(writer: _Writer) -> Iterator[str]:
    """Elements and attributes that hide a text."""
    while True:
        words = " ".join(writer.pick(_NOUNS) for _ in range(5))
        yield writer.pick((f"<p hidden>{words}", f'<a title="{words}">x</a>', f"<!-- {words} -->"))


_WORST: Final[dict[str, Callable[[_Writer], Iterator[str]]]] = {
    "prose": _Writer.prose,
    "digits": _digits,
    "base64": _base64,
    "misses": _misses,
    "hits": _hits,
    "begun": _begun,
    "unicode": _unicode,
    "tricks": _tricks,
    "signs": _signs,
    "letters": _letters,
    "forms": _forms,
    "percent": _percent,
    "encoded": _encoded,
    "scripts": _scripts,
    "markup": _markup,
}
WORST: Final = tuple(_WORST)

OPENINGS: Final = (
    ("The", " order", " left", " the", " warehouse", " on", " Tuesday", "."),
    ("I", " looked", " at", " the", " list", " and", " it", "."),
    ("Sure", ",", " here", " is", " what", " I", " found", ":"),
    ("Yes", ".", " It", " is", " covered", " for", " two", " years"),
    ("Here", " are", " three", " ways", " to", " do", " it", ":"),
    ("1", ".", " **", "Drawings", "**", ":", " first", " of"),
    ("```", "python", "\n", "def", " merge", "_", "budget", "("),
    ("{", '"', "status", '":', ' "', "open", '",', ' "'),
    ("42", " orders", " are", " open", ",", " most", " of", " them"),
    ("Unfortunately", ",", " nothing", " was", " decided", " about", " the", " depot"),
    ("#", " Summary", "\n\n", "The", " supplier", " agreed", " to", " the"),
    ("Based", " on", " the", " log", ",", " request", " ", "12"),
)
"""How answers begin, in tokens such as models emit."""
