"""If these fail, something at the end of a large, ordinary document is no longer read."""

import random
from base64 import b64encode, encodebytes
from urllib.parse import quote

import pytest

from portcullis.inspection.normalise import FLOOD, layers

SIZE = 1_000_000
HIDDEN = "a note that stands at the end"
WORDS = ("invoice", "order", "client", "of", "the", "with", "Graz", "budget", "open", "paid")
CHANCE = random.Random(5)


def words() -> str:
    return " ".join(CHANCE.choices(WORDS, k=8))


def letters(first: int, last: int, count: int) -> str:
    return "".join(chr(CHANCE.randint(first, last)) for _ in range(count))


def script() -> str:
    name = CHANCE.choice("efghn")
    return f'function {name}(e,t){{return e.get&&t["{name}"]?e.n(t,{CHANCE.random()}):"px"+t}};'


KINDS = {
    "source code": lambda: f"    found = [one for one in {CHANCE.choice(WORDS)} if one > 4]\n",
    "a script without spaces": script,
    "a log": lambda: f"2025-06-12T10:04:08Z INFO id={CHANCE.getrandbits(40)} path=/v1/orders\n",
    "an attachment": lambda: encodebytes(CHANCE.randbytes(5700)).decode(),
    "a form": lambda: f"note={quote(words())}&",
    "Chinese": lambda: letters(0x4E00, 0x6FFF, 30) + "。",
    "Russian": lambda: letters(0x430, 0x44F, 7) + " ",
    "German": lambda: f"{words()} für Gäste. ",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_megabyte_of_an_ordinary_document_is_read_to_its_end(kind: str) -> None:
    pieces: list[str] = []
    size = 0
    while size < SIZE:
        pieces.append(KINDS[kind]())
        size += len(pieces[-1].encode())
    found = layers(f"{''.join(pieces)} {b64encode(HIDDEN.encode()).decode()}")
    assert FLOOD not in found.tricks
    assert any(HIDDEN in text for text in found.decoded)
