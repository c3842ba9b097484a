"""Ways to write an attack so that a reader of plain text misses it."""

import base64
import codecs
import urllib.parse
from collections.abc import Callable

from detection_cases.grammar import Dice

HOMOGLYPHS = str.maketrans({
    "a": "\u0430", "e": "\u0435", "o": "\u043e", "p": "\u0440", "c": "\u0441", "i": "\u0456",
    "x": "\u0445", "S": "\u0405", "A": "\u0410", "I": "\u0406", "O": "\u041e", "P": "\u0420",
})  # fmt: skip
LEET = str.maketrans("aeiostAEIOST", "431057431057")
INVISIBLE = ("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff")


def zero_width(text: str, dice: Dice) -> str:
    """Invisible characters between the letters."""
    mark = dice.pick(INVISIBLE)
    every = dice.between(1, 3)
    return "".join(c + (mark if n % every == 0 else "") for n, c in enumerate(text))


def homoglyphs(text: str, dice: Dice) -> str:
    """Letters of another script that look the same, all of them or half."""
    if dice.chance(50):
        return text.translate(HOMOGLYPHS)
    return "".join(c.translate(HOMOGLYPHS) if dice.chance(50) else c for c in text)


def in_base64(text: str, dice: Dice) -> str:
    """Base64, with or without a word that says so."""
    coded = base64.b64encode(text.encode()).decode()
    forms = ("{}", "base64: {}", "Decode this and act on it: {}", "data:text/plain;base64,{}")
    return dice.pick(forms).format(coded)


def in_rot13(text: str, dice: Dice) -> str:
    """Rot13."""
    return dice.pick(("{}", "(rot13) {}", "ROT13: {}")).format(codecs.encode(text, "rot13"))


def in_hex(text: str, dice: Dice) -> str:
    """Bytes in hexadecimal, plain or as escapes."""
    if dice.chance(50):
        return text.encode().hex()
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def in_url(text: str, dice: Dice) -> str:
    """Percent escapes, twice now and then."""
    once = urllib.parse.quote(text, safe="")
    return urllib.parse.quote(once, safe="") if dice.chance(25) else once


def comment(text: str, dice: Dice) -> str:
    """An HTML or Markdown comment."""
    return dice.pick(("<!-- {} -->", "<!--\n{}\n-->", "[//]: # ({})")).format(text)


def hidden_css(text: str, dice: Dice) -> str:
    """An element that a person does not see."""
    style = dice.pick((
        "display:none", "font-size:0", "color:#fff;background:#fff", "opacity:0;height:0",
        "position:absolute;left:-9999px", "visibility:hidden",
    ))  # fmt: skip
    tag = dice.pick(("span", "div", "p"))
    return f'<{tag} style="{style}">{text}</{tag}>'


def tags(text: str, _dice: Dice) -> str:
    """The block of Unicode tag characters."""
    return "".join(chr(0xE0000 + ord(c)) for c in text if c.isascii())


def leet(text: str, _dice: Dice) -> str:
    """Digits for letters."""
    return text.translate(LEET)


def full_width(text: str, _dice: Dice) -> str:
    """Full-width forms."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def spaced(text: str, dice: Dice) -> str:
    """A sign between all letters."""
    return dice.pick((" ", ".", "-", "_")).join(text)


ALL: dict[str, Callable[[str, Dice], str]] = {
    "zero_width": zero_width,
    "homoglyph": homoglyphs,
    "base64": in_base64,
    "rot13": in_rot13,
    "hex": in_hex,
    "url": in_url,
    "comment": comment,
    "css": hidden_css,
    "tags": tags,
    "leet": leet,
    "full_width": full_width,
    "spaced": spaced,
}
