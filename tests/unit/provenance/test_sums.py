"""Amounts that follow from the user's words and a trusted amount, and those that do not."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis.provenance.words import Words


def leads(said, amount, *trusted):
    return Words.of([said]).sums.lead_to(amount, set(trusted).__contains__)


@pytest.mark.parametrize(
    ("said", "amount", "trusted"),
    [
        ("send them the difference of 10% of the last payment", "5", "50"),
        ("an additional 19.5% of what we paid + a fee of 5.29", "200.29", "1000"),
        ("prices rose by 10 percent, pay the new price", "55", "50"),
        ("take 25 % off", "37.5", "50"),
        ("we spent 12.00 in total, send my friend's share back, the difference", "4", "10"),
        ("it was 30; pay the rest", "12.5", "17.5"),
    ],
)
def test_the_arithmetic_that_the_user_asked_for_gives_a_source(said, amount, trusted):
    assert leads(said, amount, trusted)


@pytest.mark.parametrize(
    ("said", "amount", "trusted"),
    [
        ("pay bob what I owe him", "5", "50"),
        ("pay 12.00 to bob", "4", "16"),
        ("send the difference of 10%", "7", "50"),
        ("send the difference of 10%", "5.0041415926535897932384626433832795028", "50"),
        ("send the difference of 10%", "5", "49"),
        ("send the difference of 10%", "0", "50"),
        ("send the difference of 10%", "-5", "50"),
        ("send the difference of -10%", "-5", "50"),
    ],
)
def test_nothing_else_does(said, amount, trusted):
    assert not leads(said, amount, trusted)


def test_a_sum_without_a_trusted_amount_leads_nowhere():
    assert not leads("send the difference of 10% and 20 and 30 plus a fee of 5", "5")


def test_with_many_numbers_nothing_is_reckoned():
    said = "the difference: " + " ".join(str(n) for n in range(100, 120))
    assert not leads(said, "5", "105")
    assert leads("the difference to 100", "5", "105")


@given(
    st.decimals(min_value=0, max_value=10**6, places=2, allow_nan=False),
    st.text(alphabet="0123456789%. plusdiffernc", max_size=60),
)
def test_no_words_make_an_amount_out_of_nothing(amount, said):
    asked = []
    shortest = format(amount.normalize(), "f")
    assert not Words.of([said]).sums.lead_to(shortest, lambda one: bool(asked.append(one)))
    assert all(Decimal(one) > 0 for one in asked)
    assert len(asked) <= 8 * 3 * 9 + 16 * 3
