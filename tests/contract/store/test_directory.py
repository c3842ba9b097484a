from concurrent.futures import ThreadPoolExecutor

import pytest

from portcullis.core.errors import Problem
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.store.directory import SqlDirectory


def record(name="shop-1", kind=PrincipalKind.AGENT, **fields):
    values = {"owner": "shop", "state": "active", "roles": (), "created_at": 1.5} | fields
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
    assert directory.set_state(PrincipalKind.APPLICATION, "shop-1", "disabled") is False


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


def test_a_write_that_returned_survives_a_restart(reopen):
    SqlDirectory(reopen()).create(record())
    assert SqlDirectory(reopen()).set_state(PrincipalKind.AGENT, "shop-1", "disabled")
    assert SqlDirectory(reopen()).get(PrincipalKind.AGENT, "shop-1") == record(state="disabled")


def test_a_state_that_nobody_knows_is_not_stored(engine):
    directory = SqlDirectory(engine)
    directory.create(record())
    with pytest.raises(Exception, match="principals_state"):
        directory.set_state(PrincipalKind.AGENT, "shop-1", "asleep")
    assert directory.get(PrincipalKind.AGENT, "shop-1") == record()
