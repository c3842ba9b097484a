from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.store.directory import SqlDirectory


def record(name="shop-1", kind=PrincipalKind.AGENT, **fields):
    values = {"owner": "shop", "state": State.ACTIVE, "roles": (), "created_at": 1.5} | fields
    return PrincipalRecord(kind=kind, id=name, **values)


def test_a_registered_principal_is_found_as_it_was_written(engine):
    directory = SqlDirectory(engine)
    agent = record()
    operator = record("eve", PrincipalKind.OPERATOR, roles=("viewer", "approver"))
    directory.create(agent)
    directory.create(operator)
    assert directory.get(PrincipalKind.AGENT, "shop-1") == agent
    assert directory.list() == (agent, operator)
    assert directory.list(PrincipalKind.OPERATOR) == (operator,)


def test_an_unknown_principal_is_nobody(engine):
    directory = SqlDirectory(engine)
    directory.create(record())
    assert directory.get(PrincipalKind.AGENT, "shop-2") is None
    assert directory.get(PrincipalKind.APPLICATION, "shop-1") is None
    assert directory.put(record(kind=PrincipalKind.APPLICATION)) is False
    assert directory.list() == (record(),)


def test_one_name_is_given_once_per_kind_even_to_two_at_once(engine):
    directory = SqlDirectory(engine)

    def attempt(owner):
        try:
            directory.create(record(owner=owner))
        except Problem as problem:
            return problem.code
        return "created"

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(attempt, ["a", "b", "c", "d"]))
    assert sorted(answers) == ["PC2009", "PC2009", "PC2009", "created"]
    directory.create(record(kind=PrincipalKind.APPLICATION))
    assert len(directory.list()) == 2


def changed(**fields):
    values = {
        "owner": "ops",
        "state": State.SUSPENDED,
        "purpose": "answers customers",
        "review_at": 9.5,
        "spiffe_id": "spiffe://partner.test/shop",
        "rotated_at": 4.25,
        "users": ("a@shop.example", "corp:7"),
    }
    return record(**(values | fields))


def test_a_write_that_returned_survives_a_restart(reopen):
    SqlDirectory(reopen()).create(record())
    assert SqlDirectory(reopen()).put(changed())
    assert SqlDirectory(reopen()).get(PrincipalKind.AGENT, "shop-1") == changed()


def test_a_foreign_identity_stands_for_one_principal_and_the_empty_one_for_nobody(engine):
    directory = SqlDirectory(engine)
    directory.create(changed())
    directory.create(record("shop-2"))
    directory.create(record("shop-3"))
    assert directory.named("spiffe://partner.test/shop") == changed()
    assert directory.named("spiffe://partner.test/other") is None
    assert directory.named("") is None
    second = record("shop-4", spiffe_id="spiffe://partner.test/shop")
    with pytest.raises(Problem, match="PC2009"):
        directory.create(second)
    with pytest.raises(Problem, match="PC2009"):
        directory.put(record("shop-3", spiffe_id="spiffe://partner.test/shop"))
    assert directory.get(PrincipalKind.AGENT, "shop-3") == record("shop-3")
    assert directory.put(changed(spiffe_id=""))
    directory.create(second)


def test_who_is_due_for_review_is_found_when_the_date_has_come_and_only_then(engine):
    directory = SqlDirectory(engine)
    for state in State:
        directory.create(record(state.value, state=state, review_at=10.0))
    directory.create(record("later", review_at=10.5))
    directory.create(record("never"))
    assert directory.due(9.9) == ()
    assert {found.id for found in directory.due(10.0)} == {"active", "suspended"}


def test_a_state_that_nobody_knows_is_not_stored(engine):
    directory = SqlDirectory(engine)
    directory.create(record())
    with pytest.raises(Exception, match="principals_state"):
        directory.put(record(state=SimpleNamespace(value="asleep")))
    assert directory.get(PrincipalKind.AGENT, "shop-1") == record()
