"""Letters of other alphabets that look like ASCII letters, and when to read them as such.

The table holds what compatibility normalisation (NFKC) leaves alone. Two cases are folded: a word
that mixes ASCII letters with look-alikes and is plain ASCII after folding, and, where a text has
no letter of those alphabets *but* look-alikes, all of them. So Russian or Greek prose, which
always has letters of its own, stays as it is.
"""

# ruff: noqa: RUF001 - letters that look like others are what this file is about

from __future__ import annotations

from typing import Final

import re2

from portcullis.inspection.letters import replaced

_LOOKALIKES: Final = (
    "аa еe оo рp сc уy хx іi јj ѕs ԁd һh ԛq ԝw ӏl ҽe үy ѵv ԍg "  # Cyrillic
    "АA ВB ЕE КK МM НH ОO РP СC ТT УY ХX ІI ЈJ ЅS ԌG ԚQ ԜW ҮY ӀI "
    "αa ιi κk νv οo ρp υu χx γy ϲc ϳj "  # Greek
    "ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX ϹC ͿJ "
    "աw գq զq հh ոn ռn սu օo ցg յj ՏS ՍU ՕO Լl "  # Armenian
    "ıi ɡg ɑa ɩi ɪi ʏy ʀr ɴn ʟl ʜh ɢg ʙb ɛe ɔo ʋu ǃ! ƿp ƽs "  # Latin, IPA
    "ᴀa ᴄc ᴅd ᴇe ᴊj ᴋk ᴍm ᴏo ᴘp ᴛt ᴜu ᴠv ᴡw ᴢz ꜰf ꜱs ꞯq "  # small capitals
    "ᎪA ᏴB ᏟC ᎠD ᎬE ᎻH ᎥI ᎫJ ᏦK ᏞL ᎷM ᏢP ᎡR ᏚS ᎢT ᏙV ᎳW ᏃZ "  # Cherokee
    "ꓐB ꓑP ꓒd ꓓD ꓔT ꓖG ꓗK ꓙJ ꓚC ꓜZ ꓝF ꓟM ꓠN ꓡL ꓢS ꓣR ꓦV ꓧH ꓪW ꓫX ꓬY ꓮA ꓰE ꓲI ꓳO ꓴU "  # Lisu
)
FOLD: Final = {
    **{pair[0]: pair[1] for pair in _LOOKALIKES.split() if pair[1].isascii()},
    **{
        chr(first + at): letter
        for first in (0x1F130, 0x1F150, 0x1F170)  # squared, negative circled, negative squared
        for at, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    },
}
"""From a look-alike to its ASCII letter."""

_ASCII: Final = bytes(range(128))
_WORDS: Final = {**{point: chr(point) for point in range(128)}, **str.maketrans(FOLD)}
_CLASS: Final = "".join(f"\\x{{{ord(letter):x}}}" for letter in FOLD)
_OPTIONS: Final = re2.Options()
_OPTIONS.max_mem = 64 << 20
_PRESENT: Final = re2.compile(f"[{_CLASS}]".encode(), _OPTIONS)
_PROSE: Final = re2.compile(  # runs without look-alikes, within the alphabets that have them
    rf"[^{_CLASS}\P{{Cyrillic}}]|[^{_CLASS}\P{{Greek}}]|[^{_CLASS}\P{{Armenian}}]".encode(),
    _OPTIONS,
)
_MIXED: Final = re2.compile(
    rf"[\pL\pM{_CLASS}]*(?:[A-Za-z][{_CLASS}]|[{_CLASS}][A-Za-z])[\pL\pM{_CLASS}]*".encode(),
    _OPTIONS,
)
_MAX_WORDS: Final = 1024
_SHORTEST: Final = 3


def fold(text: str) -> tuple[str, bool]:
    """The text with look-alikes read as ASCII where they pretend to be; and whether it was cut.

    Cut (True) means that there were more mixed words than are looked at. Linear in the text.
    """
    if text.isascii():
        return text, False
    raw = text.encode()
    foreign = raw.translate(None, _ASCII)
    if _PRESENT.search(foreign) is None:
        return text, False
    if _PROSE.search(foreign) is None:
        return replaced(text, FOLD), False
    pieces: list[bytes] = []
    at = words = 0
    for found in _MIXED.finditer(raw):
        words += 1
        if words > _MAX_WORDS:
            break
        word = found.group().decode()
        folded = word.translate(_WORDS)
        if len(word) >= _SHORTEST and folded.isascii():
            pieces += raw[at : found.start()], folded.encode()
            at = found.end()
    if not pieces:
        return text, words > _MAX_WORDS
    return b"".join((*pieces, raw[at:])).decode(), words > _MAX_WORDS
