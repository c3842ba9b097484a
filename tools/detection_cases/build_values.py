"""The sets about values: personal data and secrets, with exact spans."""

from collections.abc import Callable

from detection_cases import pii_values as pv
from detection_cases import secrets_values as sv
from detection_cases.grammar import HEX, Dice, Rows, Value, render
from detection_cases.pii_templates import NAMES, PII
from detection_cases.secrets_templates import BLOCKS, GENERIC, NEGATIVE, PLACES, URLS
from detection_cases.vocab import plain

MAKERS: dict[str, Callable[[Dice], str]] = {
    "EMAIL_ADDRESS": pv.mail, "URL": pv.url, "IP_ADDRESS": pv.address, "MAC_ADDRESS": pv.mac,
    "CREDIT_CARD": pv.card, "IBAN_CODE": pv.iban, "SWIFT_CODE": pv.bic, "CRYPTO": pv.crypto,
    "ABA_ROUTING_NUMBER": pv.routing, "US_SSN": pv.ssn, "US_ITIN": pv.itin, "US_NPI": pv.npi,
    "US_PASSPORT": pv.passport, "US_DRIVER_LICENSE": pv.licence, "MEDICAL_LICENSE": pv.dea,
    "US_MBI": pv.mbi, "UK_NHS": pv.nhs, "UK_NINO": pv.nino, "DE_TAX_ID": pv.tax_id,
    "FR_NIR": pv.nir, "ES_NIF": pv.nif, "IT_FISCAL_CODE": pv.fiscal_code, "PL_PESEL": pv.pesel,
    "NL_BSN": pv.bsn, "SE_PERSONNUMMER": pv.personnummer, "IN_AADHAAR": pv.aadhaar,
    "IN_PAN": pv.pan, "AU_TFN": pv.tfn, "SG_NRIC_FIN": pv.nric, "EU_VAT": pv.vat,
    "PHONE_NUMBER": pv.phone, "DATE_OF_BIRTH": pv.birthday, "MRN": pv.record, "VIN": pv.vehicle,
    "IMEI": pv.imei, "GPS": pv.place, "AGE": lambda dice: str(dice.between(18, 97)),
}  # fmt: skip
EMBED_SHARE, POSITIVE_SHARE, SOURCES = 25, 55, ("user", "tool", "document", "model")
BEFORE = (
    "Thanks for the quick reply. ",
    "One more thing: ",
    "FYI\n",
    "See below.\n\n",
    "Note {n3}: ",
)
AFTER = (
    " Is that enough?",
    "\nThanks, {PERSON}",
    " (seen on {date})",
    "\n-- \n{ORGANIZATION}",
    " Cheers",
)


def pii(rows: Rows, dice: Dice, count: int) -> None:
    """Sentences and records, and decoys without spans; every template has its turn."""
    ways = [(way, n, text) for way, texts in PII.items() for n, text in enumerate(texts)]
    everyday = plain(dice)

    def lookup(name: str) -> Value | None:
        if name in NAMES:
            return Value(dice.pick(NAMES[name]), name)
        if name in MAKERS:
            return Value(MAKERS[name](dice), name)
        if name.startswith("bad_"):
            return Value(pv.broken(MAKERS[name[4:]])(dice))
        return everyday(name)

    turn = 0
    while len(rows.rows) < count:
        way, number, template = ways[turn % len(ways)]
        if way not in {"structured", "decoy"} and dice.chance(EMBED_SHARE):
            template = dice.pick((*BEFORE, "")) + template + dice.pick((*AFTER, ""))
        text, spans = render(template, dice, lookup)
        source = SOURCES[turn % len(SOURCES)]
        turn += 1
        rows.add(f"pii-{way}{number}", text, source=source, label=int(bool(spans)), kind=way,
                 spans=spans)  # fmt: skip


def _secret(dice: Dice, turn: int) -> tuple[str, str, str, str, str]:
    """Template id, template, provider, variable name and value of one positive case."""
    kinds = [*sv.PROVIDERS, *["generic"] * 6, *["url"] * 3, "pem", "aws_secret",
             "azure_string"]  # fmt: skip
    kind = kinds[turn % len(kinds)]
    if kind == "pem":
        number = dice.below(len(BLOCKS))
        return f"block{number}", BLOCKS[number], kind, "", sv.pem(dice)
    if kind in {"generic", "url"}:
        bank = GENERIC if kind == "generic" else URLS
        number = dice.below(len(bank))
        value = sv.password(dice)
        for sign in "!#$%" if kind == "url" else "":
            value = value.replace(sign, "_")
        return f"{kind}{number}", bank[number], kind, "", value
    if kind == "aws_secret":
        number = dice.below(6)
        return f"place{number}", PLACES[number], kind, "AWS_SECRET_ACCESS_KEY", sv.AWS_SECRET(dice)
    if kind == "azure_string":
        return kind, sv.AZURE_STRING, kind, "", sv.PROVIDERS["azure_storage"][1](dice)
    name, make = sv.PROVIDERS[kind]
    number = dice.below(6 if kind in sv.NEED_CONTEXT else len(PLACES))
    return f"place{number}", PLACES[number], kind, name, make(dice)


def secrets(rows: Rows, dice: Dice, count: int) -> None:
    """Tokens where they are found, then look-alikes; fixed lines get a neighbour."""
    everyday = plain(dice)
    turn = 0
    while len(rows.rows) < count * POSITIVE_SHARE // 100:
        where, template, kind, name, value = _secret(dice, turn)
        turn += 1
        slots = {"NAME": Value(name), "VALUE": Value(value, "SECRET")}

        def lookup(slot: str, slots: dict[str, Value] = slots) -> Value | None:
            return slots.get(slot) or everyday(slot)

        text, spans = render(template, dice, lookup)
        source = dice.pick(SOURCES)
        rows.add(f"sec-{kind}-{where}", text, source=source, label=1, kind=kind, spans=spans)

    def harmless(slot: str) -> Value | None:
        if slot.startswith("b64_"):
            return Value(dice.text(sv.B64, int(slot[4:])))
        if slot == "hex32":
            return Value(dice.text(HEX, 32))
        return (
            Value(dice.pick(list(sv.PROVIDERS.values()))[0]) if slot == "NAME" else everyday(slot)
        )

    while len(rows.rows) < count:
        number = turn % len(NEGATIVE)
        turn += 1
        text = render(NEGATIVE[number], dice, harmless)[0]
        if dice.chance(50):
            other = render(dice.pick(NEGATIVE), dice, harmless)[0]
            text = f"{text}\n{other}"
        source = dice.pick(SOURCES)
        rows.add(f"sec-none{number}", text, source=source, label=0, kind="none")
