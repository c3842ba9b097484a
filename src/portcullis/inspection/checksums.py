"""Checksums and ranges of the numbers that people, accounts and things are known by.

Each function takes the number as it stands in a text, separators included, and never raises.
What python-stdnum knows as well is not here, unless it is asked too often for its speed.
"""
# ruff: noqa: PLR2004 - lengths, weights and ranges are the published ones

from __future__ import annotations

import re
from functools import cache
from hashlib import sha256
from typing import Final

_SEPARATORS: Final = str.maketrans("", "", " \t\u00a0-./_()")


def compact(text: str) -> str:
    """The text without the separators that people put into numbers, in upper case."""
    return text.translate(_SEPARATORS).upper()


def digits(text: str) -> str:
    """The ASCII digits of a text."""
    if text.isascii():
        return text if text.isdigit() else text.translate(_NO_DIGITS)
    return re.sub("[^0-9]", "", text)


_NO_DIGITS: Final = {point: None for point in range(128) if not chr(point).isdigit()}


def luhn(text: str) -> bool:
    """The digits of the text pass ISO/IEC 7812-1 annex B; all zeros do not."""
    number = digits(text)
    total = sum(map(int, number[-1::-2]))
    total += sum(sum(divmod(2 * int(digit), 10)) for digit in number[-2::-2])
    return len(number) > 1 and total > 0 and total % 10 == 0


_CARD_RANGES: Final = (
    # first digits from, to, lengths
    (4, 4, (13, 16, 19)),
    (51, 55, (16,)),
    (2221, 2720, (16,)),
    (34, 34, (15,)),
    (37, 37, (15,)),
    (6011, 6011, (16, 17, 18, 19)),
    (644, 649, (16, 17, 18, 19)),
    (65, 65, (16, 17, 18, 19)),
    (62, 62, (16, 17, 18, 19)),
    (81, 82, (16,)),
    (3528, 3589, (16, 17, 18, 19)),
    (1800, 1800, (15,)),
    (2131, 2131, (15,)),
    (300, 305, (14, 16, 17, 18, 19)),
    (3095, 3095, (14, 16, 17, 18, 19)),
    (36, 36, (14, 15, 16, 17, 18, 19)),
    (38, 39, (14, 16, 17, 18, 19)),
    (50, 50, (16, 17, 18, 19)),
    (5018, 5018, (12, 13, 14, 15)),
    (5020, 5020, (12, 13, 14, 15)),
    (5038, 5038, (12, 13, 14, 15)),
    (56, 58, (12, 13, 14, 15, 16, 17, 18, 19)),
    (60, 60, (16,)),
    (6304, 6304, (12, 13, 14, 15, 16, 17, 18, 19)),
    (6759, 6759, (12, 13, 14, 15, 16, 17, 18, 19)),
    (6761, 6763, (12, 13, 14, 15, 16, 17, 18, 19)),
    (636, 639, (16, 17, 18, 19)),
    (2200, 2204, (16, 17, 18, 19)),
    (9792, 9792, (16,)),
)


@cache
def _card_prefixes() -> dict[str, frozenset[int]]:
    table: dict[str, set[int]] = {}
    for first, last, lengths in _CARD_RANGES:
        for prefix in range(first, last + 1):
            table.setdefault(str(prefix), set()).update(lengths)
    return {prefix: frozenset(lengths) for prefix, lengths in table.items()}


def card(text: str) -> bool:
    """A payment card's number: an issuer's first digits, a length of theirs, and Luhn."""
    number = digits(text)
    table = _card_prefixes()
    return (
        any(len(number) in table.get(number[:size], ()) for size in (1, 2, 3, 4))
        and len(set(number)) > 1
        and luhn(number)
    )


def iban(text: str) -> bool:
    """ISO 13616: the whole is 1 modulo 97. The country's length is the pattern's matter."""
    number = compact(text)
    if not (number.isascii() and number.isalnum() and 15 <= len(number) <= 34):
        return False
    turned = number[4:] + number[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


_CODES: Final = (
    "ADAEAFAGAIALAMAOARATAUAWAZBABBBDBEBFBGBHBIBJBMBNBOBRBSBTBWBYBZCACDCFCGCHCICLCMCN"
    "COCRCUCVCWCYCZDEDJDKDMDODZECEEEGESETFIFJFKFMFOFRGAGBGDGEGGGHGIGLGMGNGQGRGTGWGYHK"
    "HNHRHTHUIDIEILIMINIQIRISITJEJMJOJPKEKGKHKMKNKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMD"
    "MEMGMHMKMLMMMNMOMRMSMTMUMVMWMXMYMZNANCNENGNINLNONPNRNZOMPAPEPFPGPHPKPLPRPSPTPWPY"
    "QARORSRURWSASBSCSDSESGSISKSLSMSNSOSRSSSTSVSYSZTCTDTGTHTJTLTMTNTOTRTTTVTWTZUAUGUS"
    "UYUZVAVCVEVGVNVUWFWSXKYEZAZMZW"
)
_COUNTRIES: Final = frozenset(_CODES[at : at + 2] for at in range(0, len(_CODES), 2))
"""ISO 3166-1 alpha-2, and XK, which banks use."""


def bic(text: str) -> bool:
    """ISO 9362: the fifth and sixth letters are a country's code."""
    return text[4:6].upper() in _COUNTRIES


def aba(text: str) -> bool:
    """A routing number: weights 3, 7, 1, and a first pair that the Federal Reserve gives out."""
    number = digits(text)
    if len(number) != 9:
        return False
    district = int(number[:2])
    known = district <= 12 or 21 <= district <= 32 or 61 <= district <= 72 or district == 80
    total = sum(weight * int(digit) for weight, digit in zip((3, 7, 1) * 3, number, strict=True))
    return known and total > 0 and total % 10 == 0


_BASE58: Final = {
    character: value
    for value, character in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}


def base58check(text: str) -> bool:
    """A version and 20 bytes with four bytes of double SHA-256: Bitcoin, Litecoin, Doge, Tron."""
    value = 0
    for character in text:
        if (digit := _BASE58.get(character)) is None:
            return False
        value = value * 58 + digit
    if value >> 200:
        return False
    raw = value.to_bytes(25, "big")
    return sha256(sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


def us_ssn(text: str) -> bool:
    """Area not 000, 666 or 9xx, group not 00, serial not 0000; not nine times the same digit."""
    number = digits(text)
    return (
        len(number) == 9
        and number[:3] not in {"000", "666"}
        and number[0] != "9"
        and number[3:5] != "00"
        and number[5:] != "0000"
        and len(set(number)) > 1
    )


def npi(text: str) -> bool:
    """A US provider's number: Luhn over it with 80840 before."""
    return luhn("80840" + digits(text))


def dea(text: str) -> bool:
    """A DEA registration: (d1+d3+d5) + 2(d2+d4+d6) ends in d7."""
    number = digits(text)[-7:]
    if len(number) != 7:
        return False
    values = [int(digit) for digit in number]
    return sum(values) > 0 and (sum(values[0:6:2]) + 2 * sum(values[1:6:2])) % 10 == values[6]


_VIN_VALUES: Final = dict(
    zip("0123456789ABCDEFGHJKLMNPRSTUVWXYZ", "012345678912345678123457923456789", strict=True)
)
_VIN_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def vin(text: str) -> bool:
    """A vehicle's number with the check digit of 49 CFR 565 (North America, China)."""
    number = text.upper()
    if len(number) != 17 or any(character not in _VIN_VALUES for character in number):
        return False
    total = sum(
        int(_VIN_VALUES[character]) * weight
        for character, weight in zip(number, _VIN_WEIGHTS, strict=True)
    )
    return "0123456789X"[total % 11] == number[8] and len(set(number)) > 4


def imei(text: str) -> bool:
    """Fifteen digits with Luhn, the first two a reporting body's."""
    number = digits(text)
    return len(number) == 15 and number[:2] in _REPORTING_BODIES and luhn(number)


_REPORTING_BODIES: Final = frozenset(
    ("01", "35", "44", "45", "49", "50", "51", "52", "53", "54", "86", "91", "98", "99")
)


def kvnr(text: str) -> bool:
    """A German health insurance number: a letter as two digits, weights 1 and 2, modulo 10."""
    number = compact(text)
    if re.fullmatch("[A-Z][0-9]{9}", number) is None:
        return False
    values = f"{ord(number[0]) - 64:02d}{number[1:]}"
    total = sum(
        sum(divmod(int(digit) * weight, 10))
        for digit, weight in zip(values[:-1], (1, 2) * 5, strict=True)
    )
    return total % 10 == int(values[-1])


def tw_id(text: str) -> bool:
    """A Taiwanese identity number: the letter as two digits, weights 1, 9, 8 ... 1, 1."""
    number = text.upper()
    if re.fullmatch("[A-Z][1289][0-9]{8}", number) is None:
        return False
    value = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    total = value // 10 + value % 10 * 9 + int(number[9])
    total += sum(
        int(digit) * weight for digit, weight in zip(number[1:9], range(8, 0, -1), strict=True)
    )
    return total % 10 == 0


def hk_id(text: str) -> bool:
    """A Hong Kong identity card: letters count from A = 10, weights 9 ... 1, modulo 11."""
    number = compact(text).rjust(9)
    if re.fullmatch("[A-Z ][A-Z][0-9]{6}[0-9A]", number) is None:
        return False
    values = [36 if character == " " else int(character, 36) for character in number]
    return (
        sum(value * weight for value, weight in zip(values, range(9, 0, -1), strict=True)) % 11 == 0
    )


def lv_pk(text: str) -> bool:
    """A Latvian personal code: weights of the first ten digits, 1101 minus the sum, mod 11."""
    number = digits(text)
    if len(number) != 11:
        return False
    if number[:2] == "32":
        return True
    weights = (1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(number, weights, strict=False))
    return (1101 - total) % 11 % 10 == int(number[10]) and day_of(number[:2], number[2:4])


def sg_nric(text: str) -> bool:
    """A Singaporean NRIC or FIN: weights 2, 7, 6, 5, 4, 3, 2, a letter table per series."""
    number = text.upper()
    if re.fullmatch("[STFGM][0-9]{7}[A-Z]", number) is None:
        return False
    weights = (2, 7, 6, 5, 4, 3, 2)
    total = sum(int(digit) * weight for digit, weight in zip(number[1:8], weights, strict=True))
    offset, letters = {
        "S": (0, "JZIHGFEDCBA"),
        "T": (4, "JZIHGFEDCBA"),
        "F": (0, "XWUTRQPNMLK"),
        "G": (4, "XWUTRQPNMLK"),
        "M": (3, "XWUTRQPNJLK"),
    }[number[0]]
    return letters[(total + offset) % 11] == number[8]


def jp_my_number(text: str) -> bool:
    """A Japanese individual number: weights 6 ... 2, 7 ... 2 over eleven digits, modulo 11."""
    number = digits(text)
    if len(number) != 12 or len(set(number)) == 1:
        return False
    weights = (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)
    rest = sum(int(d) * weight for d, weight in zip(number, weights, strict=False)) % 11
    return int(number[11]) == (0 if rest <= 1 else 11 - rest)


def au_medicare(text: str) -> bool:
    """An Australian Medicare card: weights 1, 3, 7, 9 over eight digits, modulo 10."""
    number = digits(text)
    weights = (1, 3, 7, 9, 1, 3, 7, 9)
    total = sum(int(digit) * weight for digit, weight in zip(number, weights, strict=False))
    return len(number) in {10, 11} and total % 10 == int(number[8])


def day_of(day: str, month: str) -> bool:
    """Two numerals can be the day and the month of a date."""
    return 1 <= int(day) <= 31 and 1 <= int(month) <= 12
