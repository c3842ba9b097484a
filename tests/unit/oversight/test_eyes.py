"""Who asks for something does not approve it, under whatever name he is an operator."""

import hashlib

import pytest

from portcullis.core.errors import Problem
from portcullis.oversight.eyes import four_eyes

VOUCHED = "oidc-" + hashlib.sha256(b"corp:ada-7").hexdigest()[:32]


@pytest.mark.parametrize(
    ("operator", "user", "owners"),
    [
        ("ada", "ada", ()),
        ("ada", "Ada", ()),
        ("ada", "ada@shop.example", ()),
        ("local-ada", "ada", ()),
        (VOUCHED, "corp:ada-7", ()),
        ("bea", "ada", ("bea@shop.example",)),
        ("bea", "ada", ("team", "BEA")),
        (VOUCHED, "x", ("corp:ada-7",)),
        ("ada", "\uff41\uff44\uff41", ()),
    ],
)
def test_nobody_approves_his_own(operator, user, owners):
    with pytest.raises(Problem) as caught:
        four_eyes(operator, user, owners)
    assert caught.value.code == "PC3046"


@pytest.mark.parametrize(
    ("operator", "user", "owners"),
    [("bea", "ada", ("team",)), ("bea", "", ()), ("bea", "beate@shop.example", ("@bea",))],
)
def test_somebody_else_does(operator, user, owners):
    four_eyes(operator, user, owners)
