import base64
import codecs
import html
import random
import string
import time
import unicodedata
from urllib.parse import quote, quote_plus

import pytest

from portcullis.core.inspection import Leak
from portcullis.inspection.canary import PLACES, SPAN, Canaries

KEY = random.Random(7).randbytes(32)
MINE = Canaries(KEY, honey=("customers", "payroll"))
TOKEN = MINE.token("session-1", "system prompt")
HERE = (Leak(place="system prompt of this session"),)


def places(text, session="session-1"):
    return {leak.place for leak in MINE.find(text, session)}


def found(text):
    return places(text) == {"system prompt of this session"}


def test_a_canary_is_the_same_for_a_session_and_place_and_for_nothing_else():
    assert Canaries(KEY).token("session-1", "system prompt") == TOKEN
    tokens = {MINE.token(f"s{i}", place) for i in range(50) for place in PLACES}
    assert len(tokens | {TOKEN, MINE.honey("customers"), MINE.honey("payroll")}) == 203
    assert all(len(token) < SPAN / 4 for token in tokens)
    with pytest.raises(ValueError, match="not in"):
        MINE.token("session-1", "nowhere")


def test_a_canary_says_where_it_leaked_from():
    assert MINE.find(f"It says: {TOKEN}.", "session-1") == HERE
    assert places(TOKEN, "session-2") == {"system prompt of another session"}
    assert places(TOKEN, "") == {"system prompt of another session"}
    both = f"{MINE.honey('customers')} and {MINE.token('x', 'document')} and {TOKEN}"
    assert places(both) == {
        "honey record customers",
        "document of another session",
        "system prompt of this session",
    }
    retired = Canaries(KEY).find(MINE.honey("payroll"))
    assert [leak.place for leak in retired] == ["honey record that is no longer configured"]


SPLIT = {
    "spaces": " ".join(TOKEN),
    "zero width": "\u200b".join(TOKEN),
    "hyphens": "-".join(TOKEN.replace("-", "")),
    "newlines": "\n".join(TOKEN),
    "quoted lines": "\n> ".join(TOKEN[i : i + 5] for i in range(0, len(TOKEN), 5)),
    "no separators": TOKEN.replace("-", ""),
    "markup": "**".join(TOKEN),
    "upper case": TOKEN.upper(),
    "mixed case": "".join(random.Random(1).choice((c, c.upper())) for c in TOKEN),
    "reversed": TOKEN[::-1],
    "rot13": codecs.encode(TOKEN, "rot13"),
    "rot13 reversed": codecs.encode(TOKEN[::-1], "rot13").upper(),
    "fullwidth": "".join(chr(ord(c) + 0xFEE0) for c in TOKEN),
    "Bengali digits": "".join(chr(ord(c) + 0x9B6) if c.isdigit() else c for c in TOKEN),
    "tag characters": "".join(chr(0xE0000 + ord(c)) for c in TOKEN),
    "URL path": f"https://evil.example/{TOKEN}/x.png",
    "URL query": f"https://evil.example/?q={quote_plus(' '.join(TOKEN))}",
    "URL host": f"https://{TOKEN}.evil.example/",
    "all escaped": "".join(f"%{ord(c):02X}" for c in TOKEN),
    "half escaped": "".join(f"%{ord(c):02x}" if i % 2 else c for i, c in enumerate(TOKEN)),
    "escaped twice": quote("".join(f"%{ord(c):02x}" for c in TOKEN)),
    "escapes of code": "".join(f"\\x{ord(c):02x}" for c in TOKEN),
    "escapes of JSON": "".join(f"\\u{ord(c):04X}" for c in TOKEN),
    "entities": "".join(f"&#{ord(c)};" for c in TOKEN),
    "hexadecimal entities": html.escape("x") + "".join(f"&#x{ord(c):x};" for c in TOKEN),
    "hex": TOKEN.encode().hex(),
    "hex in capitals": f"0x{TOKEN.encode().hex().upper()}",
    "hex with colons": TOKEN.encode().hex(":"),
    "hex bytes": " ".join(f"0x{ord(c):02x}" for c in TOKEN),
}


@pytest.mark.parametrize("text", SPLIT.values(), ids=SPLIT)
def test_a_canary_is_found_however_it_is_written(text):
    assert found(text)
    assert found(f"Of course! Here it is: {text} Anything else?")


@pytest.mark.parametrize("shape", [str, str.upper, lambda t: t[::-1], lambda t: t.replace("-", "")])
def test_a_canary_is_found_at_every_alignment_inside_base64(shape):
    chance = random.Random(3)
    for before in range(8):
        for after in range(4):
            blob = chance.randbytes(before) + shape(TOKEN).encode() + chance.randbytes(after)
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                text = encode(blob).decode()
                wrapped = "\n".join(text[i : i + 20] for i in range(0, len(text), 20))
                assert all(map(found, (text, text.rstrip("="), wrapped, f"data:;base64,{text}")))
            assert found(blob.hex())


def test_a_forged_canary_is_none():
    others = Canaries(random.Random(8).randbytes(32), honey=("customers",))
    assert MINE.find(others.token("session-1", "system prompt"), "session-1") == ()
    assert MINE.find(others.honey("customers")) == ()
    marker, _, body = TOKEN.partition("-")
    chance = random.Random(5)
    for place in range(len(body)):
        if body[place] != "-":
            wrong = chance.choice([c for c in "abcdefgh234567" if c != body[place]])
            assert MINE.find(f"{marker}-{body[:place]}{wrong}{body[place + 1 :]}") == ()
    assert MINE.find(TOKEN[:-1]) == ()
    assert MINE.find(marker) == ()
    assert MINE.find("") == ()


def test_a_megabyte_of_anything_holds_no_canary_and_costs_little():
    chance = random.Random(11)
    words = ["".join(chance.choices(string.ascii_lowercase, k=n)) for n in range(2, 12)] * 5
    texts = (
        base64.b64encode(chance.randbytes(786_432)).decode(),
        chance.randbytes(524_288).hex(),
        " ".join(chance.choices(words, k=150_000))[: 2**20],
        "".join(chance.choices(string.digits, k=2**20)),
        "%" * 2**20,
        "%35" * 349_525,
    )
    for text in texts:
        began = time.process_time()
        assert MINE.find(text) == ()
        assert time.process_time() - began < 0.1


def test_false_canaries_do_not_hide_a_true_one_nor_take_long():
    marker = TOKEN[:9]
    noise = (
        marker,
        f"{marker}-{'a' * 25} ",
        base64.b64encode(marker.encode()).decode(),
        f"%{marker}",
    )
    for piece in (*noise, marker.encode().hex(), "".join(f"%{ord(c):x}" for c in marker)):
        flood = piece * (2**20 // len(piece))
        began = time.process_time()
        assert MINE.find(flood + TOKEN) != ()
        assert time.process_time() - began < 0.2
    assert "system prompt of this session" in places(TOKEN + f" {marker}" * 1000)


def test_every_compatibility_form_of_a_letter_or_digit_is_read_as_it():
    forms: dict[str, list[str]] = {}
    for point in range(0x80, 0x1FC00):
        said = unicodedata.normalize("NFKC", chr(point))
        if said != chr(point) and len(said) == 1 and said.isascii() and said.isalnum():
            forms.setdefault(said, []).append(chr(point))
    for number in range(max(map(len, forms.values()))):
        disguised = "".join(forms[c][number % len(forms[c])] if c in forms else c for c in TOKEN)
        assert found(disguised)


@pytest.mark.parametrize(
    "piece", ["\u0316\u0301", "\ufdfa", "\u3316", "\uff11", "\xb2a", "\xe9", "漢"]
)
def test_characters_that_take_long_to_normalise_do_not(piece):
    text = "a" + piece * 100_000 + TOKEN
    began = time.process_time()
    assert found(text)
    assert time.process_time() - began < 0.2


def test_marks_on_its_letters_do_not_hide_a_canary():
    assert found("\u0301".join(TOKEN))
    assert found("".join(f"{one}\u0336\u0327" for one in TOKEN))
