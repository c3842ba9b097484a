"""Who asks for something does not approve it, under whatever name he is an operator."""

import hashlib

import pytest

from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.oversight.eyes import answering, four_eyes, known_as

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
    ("known", "user", "owner"),
    [
        ("ada@shop.example", "ADA@shop.example", "team"),
        ("ada@shop.example", "ada", "team"),
        ("corp:u-7", "corp:u-7", "team"),
        ("ada@shop.example", "x", "ada@shop.example"),
        ("ada@shop.example", "x", "Support"),
    ],
)
@pytest.mark.parametrize("operator", ["op-1", "local-op-1"])
def test_who_is_known_by_another_name_is_the_same_person(known, user, owner, operator):
    record = PrincipalRecord(
        kind=PrincipalKind.OPERATOR,
        id="op-1",
        owner="it",
        state=State.ACTIVE,
        roles=("approver",),
        created_at=0.0,
        users=(known,),
    )

    class Register:
        def get(self, kind, name):
            return record if (kind, name) == (record.kind, record.id) else None

    teams = {"support": ("cy", "ada@shop.example"), "sales": ("dan",)}
    owners = answering(owner, teams)
    names = known_as(Register(), operator)
    assert known in names
    with pytest.raises(Problem) as caught:
        four_eyes(operator, user, owners, names)
    assert caught.value.code == "PC3046"
    four_eyes("bea", user, owners, known_as(Register(), "bea"))


@pytest.mark.parametrize(
    ("operator", "user", "owners"),
    [("bea", "ada", ("team",)), ("bea", "", ()), ("bea", "beate@shop.example", ("@bea",))],
)
def test_somebody_else_does(operator, user, owners):
    four_eyes(operator, user, owners)
