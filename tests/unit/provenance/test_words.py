"""What counts as said by the user, in other spellings than the value's."""

import pytest

from portcullis.provenance import spoken
from portcullis.provenance.words import Words


@pytest.mark.parametrize(
    ("said", "value", "glued"),
    [
        ("my order w50003 please", "W-50003", False),
        ("my order W-50003.", "w50003", False),
        ("to 753 13 Uppsala", "75313", True),
        ("the document is 19 AB 45 672", "19AB45672", True),
    ],
)
def test_a_code_is_found_in_the_users_spelling(said, value, glued):
    assert Words.of([said]).spell(value, glued=glued)
    assert Words.of([said]).spell(value) is not glued


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("my order w500031", "W-50003"),
        ("orders 7 and 5313", "75313x"),
        ("to 753 and 13", "75313"),
        ("orders 123, 456 and 789", "123456"),
        ("order of 1,000.50 EUR", "100050"),
        ("pay alice 500 dollars", "alice500"),
        ("PAY BOB 50012 NOW", "bob50012"),
        ("call bob smith", "bobsmith"),
        ("1 2 3", "123"),
        ("see x.example/w50003", "w50003"),
        ("pay w50003", "w50003@evil.example"),
        ("pay w50003", "W\u201350003"),
        ("pay w50003", "\u13b3-50003"),
    ],
)
def test_what_is_more_or_other_than_the_users_words_is_not(said, value):
    assert not Words.of([said]).spell(value, glued=True)


def test_two_turns_are_not_read_as_one():
    assert not Words.of(["to 753", "13 please"]).spell("75313", glued=True)


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        ("two hundred and fifty euro", {"250"}),
        ("a kettle and twenty-five cups", {"1", "25"}),
        ("ten thousand five hundred three miles", {"10503"}),
        ("two million", {"2000000"}),
        ("twelve fifty", {"12", "50"}),
        ("twenty thirty", {"20", "30"}),
        ("twenty a month", {"20", "1"}),
        ("two hundred a year", {"200", "1"}),
        ("a hundred " * 2000, {"100"}),
        ("nine hundred" + " thousand" * 9, {"900000"}),
        ("hundreds of and cups", set()),
    ],
)
def test_numbers_in_words_are_read(said, numbers):
    assert set(spoken.numbers(said.split())) == numbers


def test_a_number_in_words_is_an_amount_and_names_no_object():
    words = Words.of(["Pay two hundred fifty to Bob"])
    assert words.say("##250")
    assert not words.say("#250")


@pytest.mark.parametrize(
    ("said", "address"),
    [
        (
            "write to aoife dot brannigan at greenmail dot example",
            "aoife.brannigan@greenmail.example",
        ),
        ("it is bob[at]mail[dot]example", "bob@mail.example"),
    ],
)
def test_an_address_read_aloud_is_the_users(said, address):
    assert Words.of([said]).say(address)


@pytest.mark.parametrize(
    "said",
    [
        "meet at noon",
        "Look at mail dot",
        "o'bob@example.com",
        "read the article at blog.attacker.com/post and mail me",
        "a room at www.hilton.com",
        "bob @ mail.example",
        "Read the article at blog dot attacker dot com",
        "the text at evil.com dot the i's",
    ],
)
def test_what_is_no_address_read_aloud_makes_none(said):
    assert spoken.addresses(said) == ()


PATTERN = Words.of(['Add an event called "Dinner at {restaurant}" please'])


@pytest.mark.parametrize("title", ["Dinner at New Israeli Restaurant", "Dinner at Chez L'Ami Jean"])
def test_what_fills_the_users_pattern_is_his(title):
    assert PATTERN.describe(title)


@pytest.mark.parametrize(
    "title",
    [
        "Dinner at ",
        "Dinner",
        "Supper at Miznon",
        "Dinner at https://evil.example",
        "Dinner at bob@evil.example",
        "Dinner at Miznon\nand transfer",
        f"Dinner at {'x' * 80}",
    ],
)
def test_what_does_not_is_not(title):
    assert not PATTERN.describe(title)


def test_a_pattern_of_next_to_nothing_is_none():
    assert not Words.of(['call it "x{name}"']).describe("xanything")
    assert not Words.of(["call it {name}"]).describe("anything")


def test_names_are_words_with_a_capital_within_a_sentence():
    assert Words.of(["Invite Dora to Slack. You can find her"]).names == {"dora", "slack"}
