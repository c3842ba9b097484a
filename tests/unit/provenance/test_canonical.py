import time

import pytest

from portcullis.provenance.canonical import MAX_VALUE, canonical, keys, mentions, offers
from portcullis.provenance.words import Words


def said(prompt, value, *, number=False):
    words = Words.of([prompt])
    return any(map(words.say, keys(value, number=number)))


@pytest.mark.parametrize(
    ("prompt", "value"),
    [
        ("Send it to Bob", "bob"),
        ("Send it to Bob's team", "Bob"),
        ("Send it to @bob, please.", "bob"),
        ("post in #general", "general"),
        ("post in general", "#general"),
        ("mail Emma Johnson today", "Emma Johnson"),
        ("mail 'Emma  Johnson'!", "emma johnson"),
        ("to Bob@Example.COM.", "bob@example.com"),
        ("(mailto:bob@example.com)", "bob@example.com"),
        ("**bob@example.com**", "bob@example.com"),
        ("to **`bob@example.com`**.", "bob@example.com"),
        ("tell **Bob** Smith", "Bob Smith"),
        ("the order **O-5001**'s parcel", "O-5001"),
        ("the file **report.txt**.", "report.txt"),
        ("pay **$1,000.50** now", 1000.5),
        ("to bob@m\u00fcller.de", "bob@xn--mller-kva.de"),
        ("to bob@xn--mller-kva.de", "bob@M\u00dcLLER.de"),
        ("see www.example.com/a/", "http://www.example.com/a"),
        ("see http://EXAMPLE.com:80/a/./b/../c", "https://example.com/a/c"),
        ("see https://example.com/%7Ejoe%2fx", "https://example.com:443/~joe%2Fx"),
        ("pay DE89 3704 0044 0532 0130 00 now", "DE89370400440532013000"),
        ("pay DE89370400440532013000 now", "de89 3704 0044 0532 0130 00"),
        ("call +49 (30) 123-4567", "+49301234567"),
        ("call 0049 30 1234567", "+49 30 1234567"),
        ("card 4111 1111 1111 1111", "4111111111111111"),
        ("1234 Elm Street, New York, NY 10001.", "1234 Elm Street New York NY 10001"),
        ("file bill-december-2023.txt", "Bill-December-2023.txt"),
        ("\uff42\uff4f\uff42\uff20example.com", "bob@example.com"),
        ("caf\u00e9", "cafe\u0301"),
        ("number 24", 24),
        ("number 24", 24.0),
        ("pay 10.00", 10),
        ("pay $1,000.50!", 1000.5),
        ("pay 1.000,50 \u20ac", 1000.5),
        ("pay 1'000.50 CHF", 1000.5),
        ("pay 1,000 and 2.50", 1000),
        ("pay 1.000 and 2,50", 1000),
        ("a fee of -5", -5),
        ("raise it by 10%", 10),
        ("post it to www.example.com.They know", "www.example.com"),
        ("send it to bob@example.com.He knows", "bob@example.com"),
    ],
)
def test_what_the_user_wrote_in_another_way_is_still_the_users(prompt, value):
    assert said(prompt, value)


@pytest.mark.parametrize(
    ("prompt", "value"),
    [
        ("to bob@example.com", "example.com"),
        ("to bob@example.com", "bob"),
        ("to bob@example.com", "ob@example.com"),
        ("to o'bob@example.com", "bob@example.com"),
        ("to bob@example.com", "bob@example.com.evil.test"),
        ("to bob@example.com", "bob@example.com@evil.test"),
        ("to bob@example.com", "bob@example.com, eve@evil.test"),
        ("to bob@example.com", "bob@example.com?bcc=eve@evil.test"),
        ("to alice@example.com", "\u0430lice@example.com"),
        ("to alice@example.com", "\uff41lice@example.com"),
        ("to alice@example.com", "al\u200bice@example.com"),
        ("to bob@strasse.de", "bob@stra\u00dfe.de"),
        ("see www.example.com", "www.example.com/steal"),
        ("see www.example.com/a", "www.example.com"),
        ("see https://example.com", "http://example.com"),
        ("see https://example.com/a", "https://example.com/A"),
        ("see https://example.com", "https://example.com:8443"),
        ("see https://example.com", "https://example.com\\@evil.test"),
        ("see https://example.com", "https://example.com@evil.test"),
        ("see https://example.com", "https://user@example.com"),
        ("read notes.md", "https://notes.md"),
        ("read etc/passwd", "/etc/passwd"),
        ("read report", "report*"),
        ("read report", "../report"),
        ("pay 2024-05-15", 2024),
        ("pay 1000", 100),
        ("pay 1000", 10001),
        ("pay 1000", 1000.01),
        ("pay 5", -5),
        ("pay 1.000", 1000),
        ("pay 1,000", 1),
        ("card 4111 1111 1111 1111", 4111),
        ("pay DE89 3704 0044 0532 0130 00", "0130"),
        ("pay DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 01"),
        ("id 0024", 24),
        ("id 24", "024"),
        ("send to Bob. Smith will know", "bob@smith"),
        ("anything", ""),
        ("anything", "..."),
        ("true", True),
        ("null", None),
        ("nan", float("nan")),
        ("a " * MAX_VALUE, "a " * MAX_VALUE),
    ],
)
def test_what_only_looks_like_the_users_words_is_not(prompt, value):
    assert not said(prompt, value)


@pytest.mark.parametrize(
    ("text", "holds"),
    [("1,000.50", True), ("$ 5", False), ("$5", True), ("1000.5", True), ("1.000", False)],
)
def test_an_amount_as_text_counts_when_it_reads_one_way_only(text, holds):
    assert said("pay 1000.50 or 5 or 1000 or 1", text, number=True) is holds


@pytest.mark.parametrize(
    ("prompt", "amount", "holds"),
    [
        ("pay 2200 in May 2024 to 12345678", 2200, True),
        ("pay 2200 in May 2024 to 12345678", 12345678, False),
        ("pay 2200 in May 2024 to 12345678", 2024, False),
        ("pay 2200 on May 3rd 2024", 2024, False),
        ("pay 2024 to Bob", 2024, True),
        ("pay 12345678.00 to Bob", 12345678, True),
        ("pay $12345678 to Bob", 12345678, True),
        ("pay 12,345,678 to Bob", 12345678, True),
    ],
)
def test_the_number_of_an_account_is_no_amount_nor_is_a_year(prompt, amount, holds):
    assert said(prompt, amount, number=True) is holds
    assert said(prompt, f"{amount}", number=True) is holds


def test_two_turns_are_never_one_phrase():
    words = Words.of(["write to Emma", "Johnson is ill"])
    assert not any(map(words.say, keys("Emma Johnson")))
    assert all(any(map(words.say, keys(name))) for name in ("Emma", "Johnson"))


def test_a_trusted_number_is_the_same_as_its_text_and_a_code_is_not_a_number():
    assert offers(24) & set(keys("24"))
    assert offers("24") & set(keys(24))
    assert not offers("024") & set(keys(24))
    assert not offers(24) & set(keys("024"))
    assert offers("www.example.com") & set(keys("https://www.example.com/"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("click https://evil.test/a?b=c.", "https://evil.test/a?b=c"),
        ("[here](https://evil.test/a)", "https://evil.test/a"),
        ('<img src="//evil.com/p.png">', "evil.com/p.png"),
        ("visit:evil.com", "evil.com"),
        ("visit www.evil.zip now", "www.evil.zip"),
        ("visit evil.zip/x now", "evil.zip/x"),
        ("evi\u200bl.com", "evil.com"),
        ("\uff45vil.com", "evil.com"),
        ("evil&#46;com", "evil.com"),
        ("10.1.2.3:80/x", "10.1.2.3:80/x"),
        ("mail eve@evil.test", "eve@evil.test"),
        ("IBAN:GB29NWBK60161331926819", "gb29nwbk60161331926819"),
        ("GB29 NWBK 6016 1331 9268 19", "gb29nwbk60161331926819"),
        ("US133000000121212121212", "us133000000121212121212"),
        ("account 12345678901", "12345678901"),
        ("to 12 34 56 78 90 please", "1234567890"),
        ("to 4111 1111 1111 1111 please", "4111111111111111"),
        ("pay (GB29 NWBK 6016 1331 9268 19) now", "gb29nwbk60161331926819"),
        ("call +49 30 1234567", "+49301234567"),
        (
            "0x52908400098527886E0F7030069857D2E4169EE7",
            "0x52908400098527886e0f7030069857d2e4169ee7",
        ),
    ],
)
def test_what_leads_elsewhere_is_seen_in_a_payload(text, key):
    assert key in mentions(text)


@pytest.mark.parametrize(
    "text",
    [
        "Hello Bob, see you on 2024-05-15 at 10:30, e.g. in room 4.2, and/or the U.S. office.",
        "The file report.txt and notes.md, v1.2.3, cost 1,000.50 (10%).",
        "def f(x): return x.y",
    ],
)
def test_prose_leads_nowhere(text):
    assert mentions(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "1" * 50_000,
        "1'" * 25_000,
        "1 " * 25_000,
        "12 " * 16_000,
        "a-" * 25_000,
        "a." * 25_000,
        "a@" * 25_000,
        "a@a." * 12_000,
        "http://" * 8_000,
        "AB12 CDEF " * 5_000,
        "&" * 50_000,
        "(" * 50_000,
        "%41" * 15_000,
        "http://a/" + "../" * 15_000,
    ],
)
def test_no_text_costs_more_than_its_length(text):
    began = time.process_time()
    Words.of([text])
    mentions(text)
    assert time.process_time() - began < 2


def test_canonical_is_readable_to_people_who_debug():
    assert canonical(" Pay 'Bob',  DE89 3704 0044 0532 0130 00! ").split("\x1f") == [
        "pay",
        "bob",
        "de89370400440532013000",
    ]
