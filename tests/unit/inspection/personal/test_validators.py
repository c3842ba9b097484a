"""Checksums and calendars: wrong numbers are not reported, and nothing makes a validator fail."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.inspection.secret_validators import SECRET_VALIDATORS
from portcullis.inspection.validators import VALIDATORS, warm

RIGHT = {
    "card": ["4111111111111111", "5555 5555 5555 4444", "3782-822463-10005", "2221000000000009"],
    "luhn": ["79927398713"],
    "iban": ["DE89 3704 0044 0532 0130 00", "gb82west12345698765432"],
    "bic": ["DEUTDEFF", "BOFAUS3NXXX"],
    "aba": ["021000021", "0260-0959-3"],
    "base58check": ["1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"],
    "us_ssn": ["536-90-4399", "219 09 9998"],
    "npi": ["1234567893"],
    "dea": ["AB1234563"],
    "vin": ["1M8GDM9AXKP042788"],
    "imei": ["490154203237518"],
    "kvnr": ["A123456780"],
    "tw_id": ["A123456789"],
    "hk_id": ["A123456(3)", "G123456(A)"],
    "lv_pk": ["161175-19997"],
    "sg_nric": ["S2740116C"],
    "au_medicare": ["2123 45670 1"],
    "ip": ["192.0.2.1", "2001:db8::1"],
    "ipv4": ["192.0.2.1"],
    "ipv6": ["fe80::1", "::1"],
    "mac": ["00:1a:2b:3c:4d:5e"],
    "date": ["1990-05-17", "2/7/61", "24.12.2023"],
    "phone": ["(212) 555-0187 x34", "73 448 266"],
    "phone_international": ["+44 20 7946 0958", "0033 1 42 68 53 00"],
    "email": ["ada@example.com", "ada%40example.com"],
    "stdnum.pl.pesel": ["44051401359"],
    "stdnum.it.codicefiscale": ["RCCMNL83S18D969H"],
}
WRONG = {
    "card": ["4111111111111112", "1234567812345670", "0000000000000000", "411111111111111"],
    "iban": ["DE88 3704 0044 0532 0130 00", "GB82 WEST"],
    "aba": ["021000022", "991000024", "000000000"],
    "base58check": ["1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3", "11111111111111111111111111"],
    "us_ssn": ["000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "111-11-1111"],
    "vin": ["1M8GDM9A1KP042788", "11111111111111111"],
    "hk_id": ["A123456(4)"],
    "ip": ["::", "255.255.255.0", "10.0.0.256"],
    "ipv4": ["0.0.0.0", "255.255.255.0"],  # noqa: S104 - none is bound
    "ipv6": ["a::b", "12:34:56", "::"],
    "date": ["1.2.10", "2024-13-01", "32/13/2020", "3/23-1940"],
    "phone": ["2024-01-15", "10.0.0.1", "1111111"],
    "phone_national": ["086141 98", "0512 45.67 89", "01-02-2024"],
    "phone_international": ["+12 34", "+999999999999999"],
    "email": ["ada@example", "a..b@example.com", "ada@-example.com"],
}


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, all_ in RIGHT.items() for t in all_])
def test_a_right_number_is_believed(name, text):
    assert VALIDATORS[name](text)


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, all_ in WRONG.items() for t in all_])
def test_a_wrong_number_is_not_reported(name, text):
    assert not VALIDATORS[name](text)


def test_one_wrong_digit_spoils_a_card_and_an_account():
    for name, text in (("card", "4111111111111111"), ("iban", "DE89370400440532013000")):
        for place in range(4, len(text)):
            other = str((int(text[place]) + 1) % 10)
            assert not VALIDATORS[name](text[:place] + other + text[place + 1 :])


hostile = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="0123456789 -./()+:ABCXYZ@%", max_size=40),
    st.text(alphabet="٠١٢٣٤٥٦٧٨٩１２３²½", max_size=20),
)


@settings(max_examples=60, deadline=None)
@given(hostile)
def test_no_text_makes_a_validator_fail(text):
    for name in VALIDATORS.keys() - SECRET_VALIDATORS.keys():
        assert VALIDATORS[name](text) in {True, False}, name


@settings(max_examples=300, deadline=None)
@given(
    code=st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)),
    rest=st.from_regex("(?:0|1|8|00|06)?(?:[ ./()-]{0,2}[0-9]){2,15}", fullmatch=True),
    begin=st.sampled_from(["+", "00"]),
)
def test_a_number_is_possible_where_phonenumbers_says_so(code, rest, begin):
    text = f"{begin}{code}{rest}"
    try:
        possible = phonenumbers.is_possible_number(phonenumbers.parse(f"+{code}{rest}", None))
    except phonenumbers.NumberParseException:
        possible = False
    decimals = begin == "00" and "." in text and " " in text
    few = len({one for one in text if one.isdigit()}) <= 2
    assert VALIDATORS["phone_international"](text) == (possible and not decimals and not few)


def test_what_is_slow_to_import_can_be_imported_beforehand(monkeypatch):
    warm(VALIDATORS)
    imported = []
    monkeypatch.setattr("portcullis.inspection.validators.import_module", imported.append)
    for validator in VALIDATORS.values():
        validator("536-90-4399")
    assert imported == []
