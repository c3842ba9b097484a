from concurrent.futures import ThreadPoolExecutor

from portcullis.core.passkey_ports import Passkey
from portcullis.store.passkeys import SqlPasskeys


def passkey(name="k1", **fields):
    values = {
        "operator": "ada",
        "name": "Phone",
        "public": b"public\x00",
        "sign_count": 3,
        "created_at": 10.5,
    }
    return Passkey(id=name, **(values | fields))


def test_a_passkey_is_found_as_it_was_written(reopen):
    assert SqlPasskeys(reopen()).add(passkey()) is True
    passkeys = SqlPasskeys(reopen())
    assert passkeys.get("k1") == passkey()
    assert passkeys.get("k2") is None


def test_an_operator_has_his_own_the_oldest_first(engine):
    passkeys = SqlPasskeys(engine)
    for made in (passkey("b", created_at=2.0), passkey("a", created_at=3.0)):
        passkeys.add(made)
    passkeys.add(passkey("c", operator="bob"))
    assert [one.id for one in passkeys.of("ada")] == ["b", "a"]
    assert passkeys.of("cy") == ()


def test_nobody_takes_the_name_of_a_passkey_over(engine):
    passkeys = SqlPasskeys(engine)
    passkeys.add(passkey())
    assert passkeys.add(passkey(operator="mal")) is False
    assert passkeys.get("k1") == passkey()


def test_a_counter_only_goes_up_however_many_ask_at_once(engine):
    passkeys = SqlPasskeys(engine)
    passkeys.add(passkey())
    with ThreadPoolExecutor(4) as pool:
        used = list(pool.map(lambda _: passkeys.used("k1", 4, 20.0), range(8)))
    assert sorted(used) == [*[False] * 7, True]
    assert passkeys.used("k1", 4, 21.0) is False
    assert passkeys.used("k1", 0, 21.0) is False
    assert passkeys.get("k1") == passkey(sign_count=4, used_at=20.0)


def test_a_passkey_that_does_not_count_is_good_each_time(engine):
    passkeys = SqlPasskeys(engine)
    passkeys.add(passkey(sign_count=0))
    assert passkeys.used("k1", 0, 20.0) is True
    assert passkeys.used("k1", 0, 21.0) is True
    assert passkeys.used("k1", 1, 22.0) is True
    assert passkeys.used("k1", 0, 23.0) is False
    assert passkeys.used("k2", 1, 23.0) is False


def test_an_operator_removes_his_own_and_no_other(engine):
    passkeys = SqlPasskeys(engine)
    passkeys.add(passkey())
    assert passkeys.remove("mal", "k1") is False
    assert passkeys.remove("ada", "k1") is True
    assert passkeys.remove("ada", "k1") is False


def test_all_of_an_operators_are_forgotten_at_once(engine):
    passkeys = SqlPasskeys(engine)
    for made in (passkey("a"), passkey("b"), passkey("c", operator="bob")):
        passkeys.add(made)
    passkeys.forget("ada")
    assert passkeys.of("ada") == ()
    assert [one.id for one in passkeys.of("bob")] == ["c"]
