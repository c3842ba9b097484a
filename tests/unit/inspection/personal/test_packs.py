"""The packs of personal, financial, identity, health and technical data, by the engine itself."""

from __future__ import annotations

import time
from functools import cache
from importlib import resources

import pytest

from portcullis.inspection import packs
from portcullis.inspection.patterns import Patterns

NAMES = ("financial", "health", "identity", "personal", "technical")
PRESIDIO = frozenset(
    {
        "AU_ABN", "AU_ACN", "AU_MEDICARE", "AU_TFN", "CREDIT_CARD", "CRYPTO", "DATE_TIME",
        "EMAIL_ADDRESS", "ES_NIE", "ES_NIF", "FI_PERSONAL_IDENTITY_CODE", "IBAN_CODE",
        "IN_AADHAAR", "IN_PAN", "IN_PASSPORT", "IN_VEHICLE_REGISTRATION", "IN_VOTER",
        "IP_ADDRESS", "IT_FISCAL_CODE", "IT_IDENTITY_CARD", "IT_VAT_CODE", "KR_RRN",
        "MEDICAL_LICENSE", "ORGANIZATION", "PERSON", "PHONE_NUMBER", "PL_PESEL", "SG_NRIC_FIN",
        "SG_UEN", "TH_TNIN", "UK_NHS", "UK_NINO", "URL", "US_BANK_NUMBER", "US_DRIVER_LICENSE",
        "US_ITIN", "US_PASSPORT", "US_SSN",
    }
)  # fmt: skip


def pack(name: str) -> packs.Pack:
    folder = resources.files("portcullis.inspection").joinpath("packs")
    return packs.load(folder.joinpath(f"{name}.yaml"))


@cache
def patterns() -> Patterns:
    return Patterns(packs.rules([pack(name) for name in NAMES]))


def found(text: str, key: str = "") -> list[tuple[str, str]]:
    matches = patterns().scan([text], [key])[0]
    return [(one.entity, text[one.start : one.end]) for one in matches]


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_finds_and_leaves_what_its_examples_say(name):
    packs.examples(pack(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_is_shown_by_three_examples_of_each_kind(name):
    thin = [
        rule.id
        for rule in pack(name).rules
        if len(set(rule.match)) < 3 or len(set(rule.reject)) < 3
    ]
    assert thin == []


def test_policies_written_with_presidio_names_keep_working():
    assert {rule.entity for name in NAMES for rule in pack(name).rules} >= PRESIDIO


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("card 4111 1111 1111 1111 123", [("CREDIT_CARD", "4111 1111 1111 1111")]),
        ("pay 378282246310005.", [("CREDIT_CARD", "378282246310005")]),
        ("IBAN de89370400440532013000 and", [("IBAN_CODE", "de89370400440532013000")]),
        ("(mail: ada@example.com).", [("EMAIL_ADDRESS", "ada@example.com")]),
        ("open https://example.com/a?b=1.", [("URL", "https://example.com/a?b=1")]),
        ("SSN 536-90-4399, ok", [("US_SSN", "536-90-4399")]),
        ("She was born on 2/7/1961.", [("DATE_OF_BIRTH", "2/7/1961")]),
        ("It was due on 2/7/1961.", [("DATE_TIME", "2/7/1961")]),
        ("driver's license number is A56319335", [("US_DRIVER_LICENSE", "A56319335")]),
        ("Dear Ms Ada Lovelace,\nhello", [("PERSON", "Ada Lovelace")]),
        ("ping 10.0.0.1:80", [("IP_ADDRESS", "10.0.0.1")]),
        ("call 020 7946 0958", [("PHONE_NUMBER", "020 7946 0958")]),
        ("a 50 year old man", [("AGE", "50 year old")]),
    ],
)
def test_the_span_is_exactly_the_datum(text, expected):
    assert found(text) == expected


@pytest.mark.parametrize(
    ("key", "value", "entity"),
    [
        ("ssn", "536904399", "US_SSN"),
        ("phoneNumber", "4155552671", "PHONE_NUMBER"),
        ("date_of_birth", "1990-05-17", "DATE_OF_BIRTH"),
        ("fullName", "ada lovelace", "PERSON"),
        ("billing-address", "12 high street", "ADDRESS"),
        ("company_name", "northwind", "ORGANIZATION"),
        ("cvv", "123", "CARD_SECURITY_CODE"),
        ("mrn", "00482913", "MRN"),
        ("age", "42", "AGE"),
        ("lat", "52.5200", "GPS_COORDINATES"),
    ],
)
def test_the_name_of_a_member_says_what_its_value_is(key, value, entity):
    assert (entity, value) in found(value, key)
    assert entity not in {one for one, _ in found(value, "sku")}


@pytest.mark.parametrize(
    "text",
    [
        "Order 48213 of 12 items, total 1,234.50, took 300 ms",
        "version 1.2.10 of build 20240315, commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "at 1700000000000 the counter stood at 4155552671",
        "invoice 000123456789, tracking 9400110200881234567890",
        "def main(self): return os.path.join(a, b)[3:17] if x >= 0.5 else std::move(y)",
        "loss 0.1234 after epoch 12, accuracy 0.9876, seed 42",
        "uuid 123e4567-e89b-42d3-a456-426614174000",
        "12.345678 45.678901 0.123456, 0.567890; 90.12345",
        "matrix 1 0 0 1 0 1 1 0 1 1 1 0 1",
        "the agent said 42, the cellar 100, the vinyl 33",
        "Chapter 12, page 307, section 4.2.1, figure 11-3",
        "rooms 101-110, gate B12, flight LH400, seat 21C",
        "sizes 10x20x30, ratio 16:9, 99.9 % of 5000 rows",
    ],
)
def test_ordinary_numbers_are_left_alone(text):
    assert found(text) == []


def test_a_text_full_of_numbers_that_fail_their_checksum_is_read_in_time():
    text = "4111 1111 1111 1112 " * 1000
    started = time.perf_counter()
    assert all(entity != "CREDIT_CARD" for entity, _ in found(text))
    assert time.perf_counter() - started < 5
