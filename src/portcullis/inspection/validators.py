"""What a regular expression cannot say of a datum: checksums, ranges, calendars.

A validator takes the datum as it stands in the text, separators included, and says whether it
can be one. It never raises, runs in microseconds, and knows nothing of context. Rules name them:
``VALIDATORS``. A name that begins with ``stdnum.`` is a module of python-stdnum, imported when it
is first asked; ``warm`` imports those and what else is slow, so that no request pays for it.
"""
# ruff: noqa: PLR2004 - lengths, weights and ranges are the published ones

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import cache
from importlib import import_module
from ipaddress import ip_address
from typing import Final, NamedTuple, TypeAlias

from portcullis.inspection import checksums
from portcullis.inspection.checksums import compact, day_of, digits
from portcullis.inspection.secret_validators import SECRET_VALIDATORS

Validator: TypeAlias = Callable[[str], bool]


def ip(text: str) -> bool:
    """An IPv4 or IPv6 address that names somebody: not unspecified, not a netmask."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return not address.is_unspecified and not text.startswith("255.255.")


def ipv4(text: str) -> bool:
    """The same of four octets, which the pattern has checked."""
    return text != "0.0.0.0" and not text.startswith("255.255.")  # noqa: S104 - none is bound


def ipv6(text: str) -> bool:
    """An IPv6 address, and not the ``::`` of a programming language or a time of day."""
    parts = [part for part in text.split(":") if part]
    told = len(parts) > 2 or "." in text or (len(parts[0]) == 4 if parts else False)
    return (told or text == "::1") and any(map(str.isdigit, text)) and ip(text)


def mac(text: str) -> bool:
    """Six octets, neither all zeros nor broadcast; in dotted form with a letter among them."""
    number = compact(text.replace(":", ""))
    dotted = "." in text and number.isdigit()
    return number not in {"0" * 12, "F" * 12} and not dotted


def gps(text: str) -> bool:
    """A latitude and a longitude, divided by more than nothing."""
    values = re.findall("[0-9]+[.][0-9]+", text)
    return (
        len(values) == 2
        and float(values[0]) <= 90
        and float(values[1]) <= 180
        and re.search("[ ,;]", text) is not None
    )


def date(text: str) -> bool:
    """A date in numerals: a day and a month that exist, one kind of separator.

    A year of two digits is only believed between slashes: 1.2.10 is a version.
    """
    found = _NUMERALS.match(text)
    if found is None:
        return False
    first, mark, middle, last = found.groups()
    if len(first) == 4:
        return len(last) <= 2 and day_of(last, middle)
    if len(first) > 2 or not (len(last) == 4 or (len(last) == 2 and mark == "/")):
        return False
    return day_of(first, middle) or day_of(middle, first)


_NUMERALS: Final = re.compile(r"([0-9]{1,4})([-/.])([0-9]{1,2})\2([0-9]{1,4})")


_DATE: Final = re.compile(
    r"(?:19|20)[0-9]{2}([-/. ])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12][0-9]|3[01])(?![0-9])"
    r"|(?:0?[1-9]|[12][0-9]|3[01])([-/. ])(?:0?[1-9]|[12][0-9]|3[01])\2(?:19|20)[0-9]{2}(?![0-9])"
)


def phone(text: str) -> bool:
    """Seven digits, or six in groups, to fifteen (ITU-T E.164); no date, no IPv4 address."""
    number = digits(re.split("[a-zA-Z#;,]", text, maxsplit=1)[0])
    least = 7 if text.isdigit() else 6
    return least <= len(number) <= 15 and _not_something_else(text, number)


def _not_something_else(text: str, number: str) -> bool:
    return (
        len(set(number)) > 2
        and _DATE.match(text) is None
        and re.fullmatch(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}", text) is None
    )


def phone_national(text: str) -> bool:
    """A number in a national format that needs no context: eight to twelve digits.

    With a single space and nothing else between them, ten: less may be the ends of two decimals.
    """
    number = digits(text)
    least = 10 if re.fullmatch("[0-9]+ [0-9]+", text) else 8
    return least <= len(number) <= 12 and not _decimals(text) and _not_something_else(text, number)


def _decimals(text: str) -> bool:
    """Points and spaces both: a row of decimals, cut somewhere."""
    return "." in text and " " in text


def phone_international(text: str) -> bool:
    """A number after ``+`` or ``00`` that phonenumbers holds for possible."""
    if text[:1] == "0" and _decimals(text):
        return False
    number = digits(text)
    if len(set(number)) <= 2:
        return False
    if _UNADORNED.fullmatch(text):
        bare = number.lstrip("0")
        plan = _numbering(bare[:3])
        if plan is None:
            return False
        if not plan.prefix.match(bare, plan.size):
            return len(bare) - plan.size in plan.lengths
    import phonenumbers  # noqa: PLC0415 - 20 ms that most commands need not pay

    try:
        known = phonenumbers.parse("+" + text.lstrip("+0 "), None)
    except phonenumbers.NumberParseException:
        return False
    return bool(phonenumbers.is_possible_number(known))


_UNADORNED: Final = re.compile(r"(?:\+|00)[1-9][0-9 ./()-]{5,60}[0-9]")


class _Numbering(NamedTuple):
    """A calling code's size, what stands before a number within the country, numbers' lengths."""

    size: int
    prefix: re.Pattern[str]
    lengths: frozenset[int]


@cache
def _numbering(begin: str) -> _Numbering | None:
    """What phonenumbers knows of the calling code in the first three digits of a number."""
    import phonenumbers  # noqa: PLC0415 - 20 ms that most commands need not pay

    for size in (1, 2, 3):
        code = int(begin[:size])
        if regions := phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code):
            known = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, regions[0])
            if known and (about := known.general_desc):
                lengths = frozenset((*about.possible_length, *about.possible_length_local_only))
                prefix = re.compile(known.national_prefix_for_parsing or "(?!)")
                return _Numbering(size, prefix, lengths)
    return None


def email(text: str) -> bool:
    """RFC 5321 as people use it: no empty label, no dot at an end of the local part."""
    local, _, host = text.replace("%40", "@").rpartition("@")
    return (
        "." in host
        and _labelled(host)
        and local[:1] != "."
        and local[-1:] != "."
        and ".." not in local
    )


def _labelled(host: str) -> bool:
    """No label is empty, and none begins or ends with a hyphen."""
    return (
        host[:1] not in {"", ".", "-"}
        and host[-1] not in ".-"
        and ".." not in host
        and ".-" not in host
        and "-." not in host
    )


def domain(text: str) -> bool:
    """A host name of at most 253 characters whose labels have at most 63 and no hyphen outside."""
    host = text.partition("/")[0]
    short = len(host) <= 63 or max(map(len, host.split("."))) <= 63
    return len(text) <= 2048 and short and _labelled(host)


def mixed(text: str) -> bool:
    """Letters and digits both."""
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text))


_NOTHING: Final = frozenset(
    {"na", "none", "null", "nil", "unknown", "undefined", "tbd", "true", "false"}
)


def letter(text: str) -> bool:
    """A letter somewhere, and not one of the words for nothing."""
    return any(map(str.isalpha, text)) and compact(text).lower() not in _NOTHING


_NO_NAME: Final = re.compile(
    r"(?:a|all|any|boss|bool|client|colleague|colleagues|customer|customers|dict|"
    r"everybody|everyone|example|false|folks|friend|friends|guys|hiring|int|list|madam|"
    r"me|member|my|name|no|none|not|null|object|optional|our|sir|str|string|team|test|"
    r"the|there|this|true|unknown|user|users|world|you|your)\b",
    re.IGNORECASE,
)


def name(text: str) -> bool:
    """Words that can be a person's name: the first is none of those that stand in its place."""
    return _NO_NAME.match(text) is None


def digit(text: str) -> bool:
    """A digit somewhere."""
    return any(map(str.isdigit, text))


def has_digit(text: str) -> bool:
    """At least four digits."""
    return len(digits(text)) >= 4


def _stdnum(module: str) -> Validator:
    def check(text: str) -> bool:
        if not text.isascii():
            return False
        try:
            return bool(_load(module)(text))
        except (ValueError, LookupError, ArithmeticError):
            return False  # what stdnum does not expect is no such number

    check.__name__ = module
    return check


@cache
def _load(module: str) -> Validator:
    return import_module(f"stdnum.{module}").is_valid  # type: ignore[no-any-return]


_STDNUM: Final = (
    "ar.cuit",
    "at.vnr",
    "au.abn",
    "au.acn",
    "au.tfn",
    "be.nn",
    "bg.egn",
    "bitcoin",
    "br.cnpj",
    "br.cpf",
    "ca.sin",
    "ch.ssn",
    "cl.rut",
    "cn.ric",
    "co.nit",
    "cz.rc",
    "de.idnr",
    "dk.cpr",
    "ee.ik",
    "es.cif",
    "es.nie",
    "es.nif",
    "eu.vat",
    "fi.hetu",
    "fr.nir",
    "fr.siret",
    "gb.nhs",
    "gb.utr",
    "gr.amka",
    "hr.oib",
    "ie.pps",
    "il.idnr",
    "in_.aadhaar",
    "in_.gstin",
    "is_.kennitala",
    "isin",
    "it.codicefiscale",
    "it.iva",
    "kr.rrn",
    "mx.curp",
    "mx.rfc",
    "my.nric",
    "nl.bsn",
    "no.fodselsnummer",
    "nz.ird",
    "pl.nip",
    "pl.pesel",
    "pt.nif",
    "ro.cnp",
    "se.personnummer",
    "sg.uen",
    "si.emso",
    "th.pin",
    "tr.tckimlik",
    "us.ein",
    "us.itin",
    "za.idnr",
)

_OWN: Final[tuple[Validator, ...]] = (
    checksums.luhn,
    checksums.card,
    checksums.iban,
    checksums.bic,
    checksums.aba,
    checksums.base58check,
    checksums.us_ssn,
    checksums.npi,
    checksums.dea,
    checksums.vin,
    checksums.imei,
    checksums.kvnr,
    checksums.tw_id,
    checksums.hk_id,
    checksums.lv_pk,
    checksums.sg_nric,
    checksums.jp_my_number,
    checksums.au_medicare,
    ip,
    ipv4,
    ipv6,
    mac,
    gps,
    date,
    phone,
    phone_national,
    phone_international,
    email,
    domain,
    mixed,
    letter,
    name,
    digit,
    has_digit,
)

VALIDATORS: Final[dict[str, Validator]] = {
    **{check.__name__: check for check in _OWN},
    **{f"stdnum.{module}": _stdnum(module) for module in _STDNUM},
    **SECRET_VALIDATORS,
}


def warm(names: Collection[str]) -> None:
    """Import what these validators import when they are first asked (about 60 ms for all)."""
    for name in names:
        VALIDATORS[name]("+442079460958")
