from concurrent.futures import ThreadPoolExecutor

from portcullis.core.ports import OperatorCredential
from portcullis.store.operators import SqlOperators


def credential(name="ada", **fields):
    values = {"password": "$argon2id$...", "totp": b"sealed\x00"} | fields
    return OperatorCredential(name=name, **values)


def test_a_credential_is_found_as_it_was_written_and_replaced_whole(reopen):
    SqlOperators(reopen()).put(credential())
    operators = SqlOperators(reopen())
    assert operators.get("ada") == credential()
    assert operators.get("bob") is None
    operators.failed("ada", 3, 9.5)
    operators.put(credential(totp=b"another"))
    assert operators.get("ada") == credential(totp=b"another")


def test_a_removed_credential_is_gone(engine):
    operators = SqlOperators(engine)
    operators.put(credential())
    assert operators.remove("ada") is True
    assert operators.remove("ada") is False
    assert operators.get("ada") is None


def test_a_code_is_used_up_once_and_with_it_every_older_one(engine):
    operators = SqlOperators(engine)
    operators.put(credential())
    operators.failed("ada", 3, 9.5)
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda _: operators.spend("ada", 7), range(8))) == [
            *[False] * 7,
            True,
        ]
    assert operators.get("ada") == credential(counter=7)
    assert operators.spend("ada", 6) is False
    assert operators.spend("ada", 8) is True
    assert operators.spend("bob", 8) is False


def test_failures_are_remembered_over_a_restart_and_nobodys_are_not(reopen):
    operators = SqlOperators(reopen())
    operators.put(credential())
    operators.failed("ada", 4, 99.5)
    operators.failed("bob", 4, 99.5)
    again = SqlOperators(reopen())
    assert again.get("ada") == credential(failures=4, locked_until=99.5)
    assert again.get("bob") is None
