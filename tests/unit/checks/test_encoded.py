"""If these fail, a model streams out encoded what it may not say in clear, or prose waits."""

import base64
import random
import time
from dataclasses import replace
from urllib.parse import quote

import pytest

from firewalls import CARD, KEY, Detector, Wall, rule, streamed
from portcullis.checks import encoded
from portcullis.checks.growing import AHEAD
from portcullis.checks.inspect import Inspect
from portcullis.core.inspection import Category
from portcullis.inspection.inspector import Inspector
from portcullis.inspection.patterns import Patterns

SAID = f"the key is {KEY}, keep it"
FOREIGN = f"schl\u00fcssel f\u00fcr \u00fcbermorgen: {KEY} \u00e4h"
PAD = "nothing to see here, just words that go on and on; "


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


def wrapped(text, width):
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


ENCODED = {
    "base64": base64_of(SAID),
    "foreign base64": base64_of(FOREIGN),
    "url-safe base64": base64.urlsafe_b64encode(f"?>?>{SAID}".encode()).decode().rstrip("="),
    "wrapped base64": wrapped(base64_of(PAD * 3 + SAID), 76),
    "quoted wrapped base64": wrapped(base64_of(PAD * 3 + SAID), 64).replace("\n", "\r\n> "),
    "wide base64": base64.b64encode(SAID.encode("utf-16-le")).decode(),
    "hex": SAID.encode().hex(),
    "upper hex": SAID.encode().hex().upper(),
    "hex pairs": SAID.encode().hex(" "),
    "hex pairs with colons": SAID.encode().hex(":").upper(),
    "prefixed hex pairs": " ".join(f"0x{byte:02x}" for byte in SAID.encode()),
    "percent": "".join(f"%{byte:02x}" for byte in SAID.encode()),
    "one percent": quote(KEY.replace("-", "\0")).replace("%00", "%2d"),
    "backslash x": "".join(f"\\x{byte:02x}" for byte in SAID.encode()),
    "backslash u": "".join(f"\\u{byte:04x}" for byte in KEY.encode()),
    "one backslash": KEY[:9] + f"\\u{ord(KEY[9]):04x}" + KEY[10:],
    "quoted-printable": "".join(f"={byte:02X}" for byte in KEY.encode()),
    "soft breaks": "=C3=A4=C3=B6 k" + "=\n".join(("ey", f"ed={KEY[:1]}", KEY[1:])),
    "twice base64": base64_of(base64_of(SAID)),
    "hex in base64": base64_of(f"look: {SAID.encode().hex()}"),
    "a path": f"https://x.example/{base64_of('hello to all of you')}/{base64_of(SAID)}",
    "a part": f"AAECAwQFBgcICQoL/{base64_of(SAID)}",
    "zero width": f"{KEY[:12]}\u200b{KEY[12:]}",
    "full width": "".join(chr(ord(c) + 0xFEE0) for c in KEY),
    "Persian digits": "".join(chr(ord(c) + 0x6C0) if c.isdigit() else c for c in KEY),
    "a reference": f"{KEY[:12]}&#{ord(KEY[12])};{KEY[13:]}",
}


def cuts(text, seed):
    chooser = random.Random(seed)
    places = sorted(chooser.sample(range(1, len(text)), chooser.randrange(2, len(text) // 3)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def stopped(text, pieces, allowed):
    wall = Wall(from_model={"secret": "mask"})
    out, denied = streamed(wall.stream(), pieces)
    assert denied is not None, text
    assert denied.code == "PC3021"
    assert denied.reason == "API_KEY in choices[0].message.content, hidden"
    assert text.startswith(out)
    first = len(pieces[0])  # up to four characters of it may be the encoding's first
    assert len(out) <= max(allowed, first if first - allowed <= AHEAD else 0)


@pytest.mark.parametrize("name", ENCODED)
def test_nothing_of_an_encoded_secret_goes_out_however_the_stream_is_cut(name):
    text = f"So here it is: {ENCODED[name]} - that was it, and it is done."
    kept = text.index(ENCODED[name])
    if name in {"a path", "a part"}:
        kept = text.rindex("/") + 1
    if name == "soft breaks":
        kept = text.index("ed=")
    stopped(text, list(text), kept)
    for seed in range(12):
        stopped(text, cuts(text, seed), kept)


@pytest.mark.parametrize("size", [1, 7, 900])
@pytest.mark.parametrize("before", [0, 3000, 9100])
@pytest.mark.parametrize("form", ["base64", "hex", "twice", "foreign", "percent"])
def test_a_secret_in_the_midst_of_an_encoding_without_end_stays_inside(form, before, size):
    text = (PAD * 200)[:before] + SAID + PAD * 60
    if form == "foreign":
        text = text.replace("o", "\u20ac")
    form = {
        "hex": lambda t: t.encode().hex(),
        "twice": lambda t: base64_of(base64_of(t)),
        "percent": lambda t: "".join(f"%{byte:02X}" for byte in t.encode()),
    }.get(form, base64_of)
    run = form(text)
    kept = len(form(text[: text.index(KEY)]))
    pieces = [run[at : at + size] for at in range(0, len(run), size)]
    stopped(run, pieces if size > 1 or before < 9000 else cuts(run, 1), kept)


@pytest.mark.parametrize("zero", ["\u0660", "\u06f0", "\u0966", "\u0e50"])
def test_a_number_in_digits_of_another_script_stays_inside_and_prose_goes_on(zero):
    card = "".join(chr(ord(zero) + int(digit)) for digit in CARD)
    for text in (card, CARD[:9] + card[9:], card[:9] + CARD[9:]):
        wall = Wall(from_model={"financial": "mask"})
        out, denied = streamed(wall.stream(), f"So it is: {text}. That was it.")
        assert denied.reason == "CREDIT_CARD in choices[0].message.content, hidden"
        assert not set(text) & set(out)
    prose = f"\u062f\u0631 {card[:4]} \u0648 {card[:2]}:{card[:2]} " * 40
    assert streamed(Wall(from_model={"financial": "mask"}).stream(), prose) == (prose, None)


@pytest.mark.parametrize("form", ["base64", "hex", "path"])
def test_a_secret_at_the_end_of_what_was_read_in_parts_stays_inside(form):
    for before in range(1900, 3120, 31):
        said = (PAD * 100)[:before] + SAID
        run = said.encode().hex() if form == "hex" else base64_of(said)
        text = f"https://x.example/?q={run}&n=%20 ok" if form == "path" else f"{run}. That is it."
        kept = text.index(run) + len(run) * before // len(said)
        pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
        stopped(text, pieces, kept)


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog, said Ada, and 20 dogs laughed at it.",
        "getUserAccountBalanceFromDatabase(identifier, some_long_snake_case_name_of_mine)",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b of 89abcdef and more text after it",
        "pip install -r requirements.txt && cat /usr/local/lib/python3.11/site-packages/x",
        "At 12:30 on 2024-05-06 we were 100% sure: x = 10, y=\\frac{1}{2}, AT&T.",
        "\u6211\u4eec\u4eca\u5929\uff0c\u5929\u6c14\u5f88\u597d\u3002\u2764\ufe0f",
        "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440",
    ],
)
def test_prose_code_and_digests_wait_for_a_few_characters_at_most(text):
    held, tail, before = [], "", ""
    for character in text:
        tail += character
        cut = encoded.begins(tail, before, within=False)
        before, tail = (before + tail[:cut])[-9:], tail[cut:]
        held.append(len(tail))
    assert max(held) <= 14
    assert sum(held) <= 1.6 * len(text)


@pytest.mark.parametrize("text", [PAD * 600, "\u2603" * 6000], ids=["text", "snow"])
def test_an_encoding_that_hides_nothing_goes_on_as_it_is_and_waits_in_bounds(text):
    judge = Wall(from_model={"secret": "mask"}).stream()
    run = base64_of(text)
    most = settled = 0
    for at in range(0, len(run), 16):
        progress = judge.text("t", run[at : at + 16], last=False)
        settled = progress.settled
        most = max(most, at + 16 - settled)
    assert encoded.KEPT <= most <= encoded.HELD + 256 + 16
    assert judge.text("t", ".", last=True).settled == len(run) + 1


def test_pictures_in_base64_are_not_held():
    judge = Wall(from_model={"secret": "mask"}).stream()
    run = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(3000)).decode()
    waiting = [
        at + 4 - judge.text("t", run[at : at + 4], last=False).settled
        for at in range(0, len(run) - 4, 4)
    ]
    assert max(waiting) <= 160


def test_masked_data_beside_an_encoding_stays_masked():
    wall = Wall(from_model={"secret": "mask", "financial": "mask"})
    text = f"https://x.example/?k={KEY}&n=%20 and {CARD} {base64_of('nothing but words, you see')}."
    expected = text.replace(KEY, "[API_KEY]").replace(CARD, "[CREDIT_CARD]")
    for pieces in (list(text), *(cuts(text, seed) for seed in range(8))):
        assert streamed(wall.stream(), pieces) == (expected, None)


@pytest.mark.parametrize(
    "text", [PAD.encode().hex() * 60, "3f786850e387550fdab836ed7e6dc881" * 200, "a1 " * 2000]
)
def test_the_cost_of_a_long_run_that_comes_character_by_character_is_linear(text):
    def cost(size):
        judge = Wall(from_model=dict.fromkeys(("secret", "financial", "personal"), "mask")).stream()
        before = time.thread_time()
        for character in text[:size]:
            judge.text("t", character, last=False)
        return time.thread_time() - before

    cost(500)
    assert cost(6000) < 6 * cost(1500) + 0.05


@pytest.mark.parametrize("before", ["a_", '{"key":"a_', "x," * 200 + "a_"])
def test_a_key_is_read_with_its_first_letter_that_went_on_in_clear(before):
    patterns = Patterns(
        [rule("key", "API_KEY", Category.SECRET, "sk-[0-9a-f]{24}", left="any")], accelerated=False
    )
    wall = Wall(from_model={"secret": "mask"})
    inspector = Inspector(patterns, Detector(), wall.canaries)
    wall.check = Inspect(replace(wall.means, patterns=patterns, inspector=inspector))
    escaped = KEY[0] + "".join(f"%{byte:02x}" for byte in KEY[1:9].encode()) + KEY[9:]
    out, denied = streamed(wall.stream(), f"{before}{escaped} and more")
    assert denied.code == "PC3021"
    assert KEY[9:] not in out


@pytest.mark.parametrize("size", [100, encoded.HELD - 8, encoded.HELD + 8, 2 * encoded.HELD])
def test_a_long_encoding_in_an_address_that_is_held_goes_on_to_be_one(size):
    address = "see https://x.example/" + base64_of(PAD * 200)[:size]
    assert encoded.begins(address, "", within=False) == len(address) - size
