"""Check digits of national and commercial numbers."""

import hashlib
from collections.abc import Sequence

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
VERHOEFF_D = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
VERHOEFF_P = (
    "0123456789", "1576283094", "5803796142", "8916043527",
    "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip
VERHOEFF_INVERSE = "0432156789"
CODICE_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25,
              24, 23)  # fmt: skip
VIN_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3,
                                                  4, 5, 6, 7, 8, 9), strict=True))  # fmt: skip
VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
TEN, ELEVEN = 10, 11


def weighted(digits: str, weights: Sequence[int]) -> int:
    """The sum of digits times weights."""
    return sum(int(d) * w for d, w in zip(digits, weights, strict=True))


def luhn(body: str) -> str:
    """The digit that makes the body pass Luhn."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        number = int(digit) * (2 if place % 2 == 0 else 1)
        total += number - 9 if number >= TEN else number
    return str(-total % 10)


def verhoeff(body: str) -> str:
    """The Verhoeff digit."""
    check = 0
    for place, digit in enumerate(reversed(body), start=1):
        check = int(VERHOEFF_D[check][int(VERHOEFF_P[place % 8][int(digit)])])
    return VERHOEFF_INVERSE[check]


def mod_11_10(body: str) -> str:
    """ISO 7064 mod 11,10."""
    check = 10
    for digit in body:
        check = (int(digit) + check) % 10 or 10
        check = check * 2 % 11
    return str((11 - check) % 10)


def iban(country: str, bban: str) -> str:
    """The IBAN of an account."""
    number = "".join(str(int(c, 36)) for c in bban + country + "00")
    return f"{country}{98 - int(number) % 97:02d}{bban}"


def codice_fiscale(body: str) -> str:
    """The check letter of an Italian fiscal code."""
    total = 0
    for place, char in enumerate(body, start=1):
        index = int(char) if char.isdigit() else ord(char) - ord("A")
        total += CODICE_ODD[index] if place % 2 else index
    return chr(ord("A") + total % 26)


def vin(body: str) -> str:
    """A VIN from seventeen signs; the ninth becomes the check."""
    values = [int(c) if c.isdigit() else VIN_VALUES[c] for c in body]
    rest = sum(v * w for v, w in zip(values, VIN_WEIGHTS, strict=True)) % 11
    return body[:8] + ("X" if rest == TEN else str(rest)) + body[9:]


def base58_address(version: int, digest: bytes) -> str:
    """A Bitcoin address of the old kinds."""
    raw = bytes([version]) + digest
    raw += hashlib.sha256(hashlib.sha256(raw).digest()).digest()[:4]
    number, out = int.from_bytes(raw), ""
    while number:
        number, rest = divmod(number, 58)
        out = BASE58[rest] + out
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + out


def bech32_address(digest: bytes) -> str:
    """A Bitcoin address of the segwit kind, version 0."""
    bits = "".join(f"{byte:08b}" for byte in digest)
    data = [0] + [int(bits[n : n + 5].ljust(5, "0"), 2) for n in range(0, len(bits), 5)]
    check = 1
    human = [3, 3, 0, 2, 3]  # "bc", expanded
    for value in human + data + [0] * 6:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, factor in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= factor if (top >> bit) & 1 else 0
    check ^= 1
    return "bc1" + "".join(BECH32[v] for v in data + [check >> 5 * (5 - n) & 31 for n in range(6)])
