"""Valid personal numbers, and twins of them that only look valid."""

from collections.abc import Callable

from detection_cases import checksums as cs
from detection_cases.grammar import DIGITS, HEX, LOWER, UPPER, Dice, listed

NINO = "ABCEGHJKLMNPRSTWXYZ"
MBI = "ACDEFGHJKMNPQRTUVWXY"
Maker = Callable[[Dice], str]


def digits(dice: Dice, length: int) -> str:
    """Digits, the first of them not zero."""
    return dice.pick(DIGITS[1:]) + dice.text(DIGITS, length - 1)


def until(dice: Dice, length: int, check: Callable[[str], str]) -> str:
    """A body whose check sign is a single one, with that sign."""
    while True:
        body = digits(dice, length)
        sign = check(body)
        if len(sign) == 1:
            return body + sign


def mod11(weights: tuple[int, ...], sign: Callable[[int], int]) -> Callable[[str], str]:
    """A check by weights; two digits mean that the body is to be thrown away."""
    return lambda body: str(sign(cs.weighted(body, weights) % 11))


def grouped(text: str, sizes: tuple[int, ...], by: str) -> str:
    """Groups of signs."""
    out, at = [], 0
    for size in sizes:
        out.append(text[at : at + size])
        at += size
    return by.join(part for part in [*out, text[at:]] if part)


def card(dice: Dice) -> str:
    """A payment card of four brands."""
    prefix, length = dice.pick((("4", 16), ("5{}", 16), ("37", 15), ("6011", 16), ("2221", 16)))
    prefix = prefix.format(dice.between(1, 5))
    body = prefix + dice.text(DIGITS, length - 1 - len(prefix))
    number = body + cs.luhn(body)
    by = dice.pick(("", " ", "-", " "))
    return grouped(number, (4, 6) if prefix == "37" else (4, 4, 4), by)


def iban(dice: Dice) -> str:
    """An IBAN of nine countries, national check digits included."""
    country = dice.pick(("DE", "GB", "NL", "AT", "CH", "BE", "ES", "FR", "PT"))
    if country in {"DE", "AT", "CH"}:
        bban = digits(dice, {"DE": 18, "AT": 16, "CH": 17}[country])
    elif country == "GB":
        bban = dice.text(UPPER, 4) + dice.text(DIGITS, 14)
    elif country == "NL":
        bban = dice.pick(("INGB", "RABO", "ABNA", "TRIO")) + dice.text(DIGITS, 10)
    elif country == "BE":
        body = dice.pick(("001", "310", "363", "734")) + digits(dice, 7)
        bban = f"{body}{int(body) % 97 or 97:02d}"
    elif country == "PT":
        body = "00" + digits(dice, 17)
        bban = f"{body}{98 - int(body + '00') % 97:02d}"
    elif country == "FR":
        bank, desk, account = digits(dice, 5), digits(dice, 5), digits(dice, 11)
        key = 97 - (89 * int(bank) + 15 * int(desk) + 3 * int(account)) % 97
        bban = f"{bank}{desk}{account}{key:02d}"
    else:
        bank, account = digits(dice, 8), digits(dice, 10)
        weights = (1, 2, 4, 8, 5, 10, 9, 7, 3, 6)
        keys = [11 - cs.weighted(part, weights) % 11 for part in ("00" + bank, account)]
        bban = bank + "".join(str({10: 1, 11: 0}.get(key, key)) for key in keys) + account
    number = cs.iban(country, bban)
    return grouped(number, (4,) * 8, " ") if dice.chance(55) else number


def crypto(dice: Dice) -> str:
    """An address on a chain."""
    kind, raw = dice.below(4), bytes(dice.below(256) for _ in range(20))
    if kind == 0:
        return "0x" + raw.hex()
    return cs.bech32_address(raw) if kind == 1 else cs.base58_address((0, 0, 0, 5)[kind], raw)


def ssn(dice: Dice) -> str:
    """A social security number."""
    area = dice.pick((dice.between(100, 665), dice.between(667, 899)))
    return f"{area}-{dice.between(10, 99)}-{dice.between(1000, 9999)}"


def npi(dice: Dice) -> str:
    """A National Provider Identifier."""
    body = dice.pick("12") + dice.text(DIGITS, 8)
    return body + cs.luhn("80840" + body)


def dea(dice: Dice) -> str:
    """A DEA registration."""
    body = digits(dice, 6)
    check = cs.weighted(body, (1, 2, 1, 2, 1, 2)) % 10
    return f"{dice.pick('ABFM')}{dice.pick(UPPER)}{body}{check}"


def mbi(dice: Dice) -> str:
    """A Medicare Beneficiary Identifier."""
    both = MBI + DIGITS
    kinds = (DIGITS[1:], MBI, both, DIGITS, MBI, both, DIGITS, MBI, MBI, DIGITS, DIGITS)
    text = "".join(dice.pick(kind) for kind in kinds)
    return grouped(text, (4, 3), "-") if dice.chance(60) else text


def nino(dice: Dice) -> str:
    """A British insurance number."""
    while True:
        prefix = dice.pick(NINO) + dice.pick(NINO.replace("O", ""))
        if prefix not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}:
            text = prefix + dice.text(DIGITS, 6) + dice.pick("ABCD")
            return grouped(text, (2, 2, 2, 2), " ") if dice.chance(60) else text


def tax_id(dice: Dice) -> str:
    """A German tax number: in its first ten digits one comes twice, and one not at all."""
    order = dice.sample(DIGITS, 9)
    twice = order[dice.below(9)]
    while True:
        text = "".join(dice.sample([*order, twice], 10))
        if text[0] != "0":
            text += cs.mod_11_10(text)
            return grouped(text, (2, 3, 3), " ") if dice.chance(50) else text


def nir(dice: Dice) -> str:
    """A French social security number."""
    body = (
        f"{dice.between(1, 2)}{dice.between(40, 99)}{dice.between(1, 12):02d}"
        f"{dice.pick(('75', '13', '69', '33', '59', '06'))}{dice.between(1, 399):03d}"
        f"{dice.between(1, 899):03d}"
    )
    text = f"{body}{97 - int(body) % 97:02d}"
    return grouped(text, (1, 2, 2, 2, 3, 3), " ") if dice.chance(60) else text


def nif(dice: Dice) -> str:
    """A Spanish DNI or NIE."""
    lead = dice.pick(("", "", "X", "Y", "Z"))
    body = digits(dice, 7 if lead else 8)
    number = int({"": "", "X": "0", "Y": "1", "Z": "2"}[lead] + body)
    return f"{lead}{body}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def fiscal_code(dice: Dice) -> str:
    """An Italian fiscal code."""
    body = (
        f"{dice.text('BCDFGLMNPRSTV', 6)}{dice.between(40, 99)}{dice.pick('ABCDEHLMPRST')}"
        f"{dice.pick((0, 40)) + dice.between(1, 28):02d}"
        f"{dice.pick(('H501', 'F205', 'L219', 'A944', 'D612', 'F839'))}"
    )
    return body + cs.codice_fiscale(body)


def pesel(dice: Dice) -> str:
    """A Polish PESEL."""
    body = f"{dice.between(45, 99)}{dice.between(1, 12):02d}{dice.between(1, 28):02d}"
    body += dice.text(DIGITS, 4)
    return f"{body}{-cs.weighted(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10}"


def bsn(dice: Dice) -> str:
    """A Dutch citizen number."""
    return until(dice, 8, mod11((9, 8, 7, 6, 5, 4, 3, 2), lambda rest: rest))


def personnummer(dice: Dice) -> str:
    """A Swedish personal number, with or without the century."""
    body = f"{dice.between(40, 99)}{dice.between(1, 12):02d}{dice.between(1, 28):02d}"
    tail = dice.text(DIGITS, 3)
    return f"{dice.pick(('', '', '19'))}{body}-{tail}{cs.luhn(body + tail)}"


def aadhaar(dice: Dice) -> str:
    """An Indian Aadhaar number."""
    body = dice.pick("23456789") + dice.text(DIGITS, 10)
    return grouped(body + cs.verhoeff(body), (4, 4), " " if dice.chance(75) else "")


def pan(dice: Dice) -> str:
    """An Indian tax number of a person."""
    return f"{dice.text(UPPER, 3)}P{dice.pick(UPPER)}{digits(dice, 4)}{dice.pick(UPPER)}"


def tfn(dice: Dice) -> str:
    """An Australian tax file number."""
    while True:
        text = digits(dice, 9)
        if cs.weighted(text, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0:
            return grouped(text, (3, 3), " ") if dice.chance(70) else text


def nric(dice: Dice) -> str:
    """A Singapore NRIC or FIN."""
    lead, body = dice.pick("STFG"), dice.text(DIGITS, 7)
    rest = (cs.weighted(body, (2, 7, 6, 5, 4, 3, 2)) + (4 if lead in "TG" else 0)) % 11
    return f"{lead}{body}{('JZIHGFEDCBA' if lead in 'ST' else 'XWUTRQPNMLK')[rest]}"


def vat(dice: Dice) -> str:
    """A VAT number of six countries."""
    country = dice.pick(("DE", "FR", "IT", "BE", "PL", "DK"))
    if country == "DE":
        body = digits(dice, 8)
        return f"DE{body}{cs.mod_11_10(body)}"
    if country == "FR":
        body = digits(dice, 8)
        siren = body + cs.luhn(body)
        return f"FR{(12 + 3 * (int(siren) % 97)) % 97:02d}{siren}"
    if country == "IT":
        body = digits(dice, 7) + dice.pick(("015", "058", "063", "001"))
        return f"IT{body}{cs.luhn(body)}"
    if country == "BE":
        body = "0" + digits(dice, 7)
        return f"BE{body}{97 - int(body) % 97:02d}"
    if country == "PL":
        return "PL" + until(dice, 9, mod11((6, 5, 7, 2, 3, 4, 5, 6, 7), lambda rest: rest))
    return "DK" + until(dice, 7, mod11((2, 7, 6, 5, 4, 3, 2), lambda rest: -rest % 11))


def nhs(dice: Dice) -> str:
    """A number of the British health service."""
    weights = (10, 9, 8, 7, 6, 5, 4, 3, 2)
    text = until(dice, 9, mod11(weights, lambda rest: -rest % 11))
    return grouped(text, (3, 3), " ") if dice.chance(70) else text


def routing(dice: Dice) -> str:
    """An ABA routing number."""
    body = f"{dice.pick(('02', '03', '06', '07', '11', '12', '26', '32'))}{dice.text(DIGITS, 6)}"
    return f"{body}{-cs.weighted(body, (3, 7, 1, 3, 7, 1, 3, 7)) % 10}"


def vehicle(dice: Dice) -> str:
    """A VIN with a check sign."""
    maker = dice.pick(("1HG", "WVW", "JTD", "5YJ", "WBA", "3FA"))
    return cs.vin(maker + dice.text("ABCDEFGHJKLMNPRSTUVWXYZ" + DIGITS, 8) + digits(dice, 6))


def imei(dice: Dice) -> str:
    """An IMEI."""
    body = "35" + dice.text(DIGITS, 12)
    return body + cs.luhn(body)


PHONES = (
    "+1 (2{a}2) {b}34-{c}", "({d}) {b}71-{c}", "{d}-{b}65-{c}", "+1-{d}-{b}29-{c}", "{d}.{b}48.{c}",
    "+44 20 7946 {c}", "+44 7911 1{e}", "020 7946 {c}", "07{b}11 9{e}", "+49 30 {c}{e}",
    "0171 {c}{b}{a}{b}", "+49 (0)89 {c}{e}", "+33 6 {f} {f} {f} {f}", "01 {f} {f} {f} {f}",
    "+34 6{f} {g} {g}", "+39 33{b} {c}{g}", "+31 6 1{g} {c}", "+41 79 {g} {f} {f}",
    "+48 50{b} {g} {g}",
    "+46 70-{g} {f} {f}", "+91 98{f}0 {h}", "+61 41{b} {g} {g}", "+55 11 9{c}-{c}",
    "+351 91{b} {g} {g}",
    "+32 47{b} {f} {f} {f}", "+43 664 {c}{g}",
)  # fmt: skip


def phone(dice: Dice) -> str:
    """A phone number as people of sixteen countries write it."""
    made: dict[str, Maker] = {
        "{a}": lambda d: d.pick("01"),
        "{b}": lambda d: d.pick("23456789"),
        "{c}": lambda d: digits(d, 4),
        "{d}": lambda d: d.pick(("212", "415", "312", "646", "303", "617", "206", "512")),
        "{e}": lambda d: digits(d, 5),
        "{f}": lambda d: digits(d, 2),
        "{g}": lambda d: digits(d, 3),
        "{h}": lambda d: digits(d, 5),
    }
    text = dice.pick(PHONES)
    for slot, make in made.items():
        while slot in text:
            text = text.replace(slot, make(dice), 1)
    return text


def birthday(dice: Dice) -> str:
    """A date of birth in several ways of writing."""
    year, month, day = dice.between(1938, 2012), dice.between(1, 12), dice.between(1, 28)
    names = listed("January March April May June July August September October November")
    return dice.pick((
        f"{year}-{month:02d}-{day:02d}", f"{month:02d}/{day:02d}/{year}", f"{day}.{month}.{year}",
        f"{day:02d}/{month:02d}/{year}", f"{day} {dice.pick(names)} {year}",
        f"{dice.pick(names)} {day}, {year}",
    ))  # fmt: skip


def ipv6(dice: Dice) -> str:
    """An IPv6 address, long or short."""
    parts = [dice.pick("123456789abcdef") + dice.text(HEX, 3) for _ in range(6)]
    if dice.chance(50):
        return "2001:db8:" + ":".join(parts)
    return f"2001:db8:{parts[0]}::{parts[1]}"


def address(dice: Dice) -> str:
    """A version 4 or 6 address."""
    if dice.chance(30):
        return ipv6(dice)
    first = dice.pick((10, 172, 192, 81, 93, 185, 203, 52))
    return f"{first}.{dice.below(256)}.{dice.below(256)}.{dice.between(1, 254)}"


def licence(dice: Dice) -> str:
    """A driver's licence of some states."""
    lead, length = dice.pick((("L", 7), ("L", 12), ("", 9), ("L", 8), ("", 8)))
    return (dice.pick(UPPER) if lead else "") + digits(dice, length)


def place(dice: Dice) -> str:
    """Coordinates."""
    lat, lon = dice.between(-60, 68), dice.between(-150, 150)
    tail, other = digits(dice, 4), digits(dice, 4)
    return dice.pick((
        f"{lat}.{tail}, {lon}.{other}", f"{lat}.{tail},{lon}.{other}",
        f"{abs(lat)}.{tail}\u00b0 N, {abs(lon)}.{other}\u00b0 E",
        (
            f"{abs(lat)}\u00b0{dice.between(10, 59)}'{dice.between(10, 59)}\"N "
            f"{abs(lon)}\u00b0{dice.between(10, 59)}'{dice.between(10, 59)}\"W"
        ),
    ))  # fmt: skip


def mail(dice: Dice) -> str:
    """A mail address."""
    user = dice.pick(
        listed("marta.k jonas_92 p.riya owen+shop lucia tomasz.n info sales aiko-t bram")
    )
    host = dice.pick(
        listed(
            "example.com mail.example.org nordwind.example gmx.de gmail.com firma.at "
            "uni-beispiel.de posta.it correo.es laposte.net proton.me"
        )
    )
    return f"{user}{dice.pick(('', '', dice.text(DIGITS, 2)))}@{host}"


def url(dice: Dice) -> str:
    """A web address."""
    host = dice.pick(
        listed(
            "www.example.com shop.example.org blog.nordwind.example intranet.firma.at "
            "github.com docs.example.io 192.0.2.44:8443"
        )
    )
    path = dice.pick(("", f"/u/{digits(dice, 5)}", "/profile/me", f"/a/{dice.text(LOWER, 6)}?id=7"))
    return f"{dice.pick(('https', 'https', 'http'))}://{host}{path}"


def mac(dice: Dice) -> str:
    """A MAC address."""
    by = dice.pick((":", "-", ":"))
    text = by.join(dice.text(HEX, 2) for _ in range(6))
    return text.upper() if by == "-" or dice.chance(40) else text


def bic(dice: Dice) -> str:
    """A BIC."""
    tail = dice.pick(("", "XXX", dice.text(DIGITS, 3)))
    country = dice.pick(("DE", "FR", "NL", "GB", "ES", "IT", "US", "CH"))
    return f"{dice.text(UPPER, 4)}{country}{dice.pick('2FMPR')}{dice.pick('XFL2')}{tail}"


def itin(dice: Dice) -> str:
    """A tax number of people without a social security number."""
    return f"9{digits(dice, 2)}-{dice.between(70, 88)}-{digits(dice, 4)}"


def passport(dice: Dice) -> str:
    """A passport number, new or old style."""
    return dice.pick((digits(dice, 9), dice.pick(UPPER) + digits(dice, 8)))


def record(dice: Dice) -> str:
    """A medical record number."""
    return dice.pick(("", "0", "H", "A")) + digits(dice, dice.between(6, 8))


def broken(make: Maker) -> Maker:
    """The same number with its last digit wrong, so that the checksum fails."""

    def made(dice: Dice) -> str:
        text = make(dice)
        at = max(n for n, c in enumerate(text) if c.isdigit())
        return text[:at] + str((int(text[at]) + dice.between(1, 4)) % 10) + text[at + 1 :]

    return made
