"""What every key manager promises (``core.ports.KeyManager``), and each one's own ways to fail."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from needs import SOFTHSM, needs_softhsm
from portcullis.core.errors import Problem
from portcullis.identity.keymanager.openbao import OpenBaoKeyManager
from portcullis.identity.keymanager.pkcs11 import Pkcs11KeyManager
from portcullis.identity.sealing import Envelope

KEY, CONTEXT = bytes(range(32)), b"data keys"


def test_a_wrapped_key_opens_after_a_restart(reopen):
    wrapped = reopen().wrap(KEY, CONTEXT)
    assert KEY not in wrapped
    assert reopen().unwrap(wrapped, CONTEXT) == KEY


def test_one_key_wrapped_twice_does_not_look_the_same(reopen):
    manager = reopen()
    assert manager.wrap(KEY, CONTEXT) != manager.wrap(KEY, CONTEXT)


def test_a_key_wrapped_for_one_purpose_does_not_open_for_another(reopen):
    manager = reopen()
    wrapped = manager.wrap(KEY, CONTEXT)
    with pytest.raises(Problem, match="PC7010"):
        manager.unwrap(wrapped, b"another purpose")


def test_a_key_altered_anywhere_does_not_open(reopen):
    manager = reopen()
    wrapped = manager.wrap(KEY, CONTEXT)
    for at in (*range(0, len(wrapped), 5), len(wrapped) - 1):
        altered = bytearray(wrapped)
        altered[at] ^= 1
        with pytest.raises(Problem, match="PC7010"):
            manager.unwrap(bytes(altered), CONTEXT)
    for part in (b"", wrapped[:3], wrapped[:-1], wrapped + b"x"):
        with pytest.raises(Problem, match="PC7010"):
            manager.unwrap(part, CONTEXT)
    assert manager.unwrap(wrapped, CONTEXT) == KEY


def test_a_key_wrapped_elsewhere_does_not_open(reopen):
    wrapped = reopen(elsewhere=True).wrap(KEY, CONTEXT)
    with pytest.raises(Problem, match="PC7010"):
        reopen().unwrap(wrapped, CONTEXT)
    assert reopen().version != reopen(elsewhere=True).version


def test_after_a_rotation_old_keys_open_and_new_ones_are_under_the_new_version(reopen):
    manager = reopen()
    versions, wrapped = [manager.version], [manager.wrap(KEY, CONTEXT)]
    for _ in range(2):
        versions.append(manager.rotate())
        assert manager.version == versions[-1]
        wrapped.append(manager.wrap(KEY, CONTEXT))
    assert len(set(versions)) == 3
    again = reopen()
    assert again.version == versions[-1]
    assert [again.unwrap(each, CONTEXT) for each in wrapped] == [KEY] * 3


def test_a_process_that_runs_on_opens_what_another_wrapped_under_a_newer_version(reopen):
    running, rotating = reopen(), reopen()
    rotating.rotate()
    assert running.unwrap(rotating.wrap(KEY, CONTEXT), CONTEXT) == KEY
    assert rotating.unwrap(running.wrap(KEY, CONTEXT), CONTEXT) == KEY


def test_many_threads_share_one(reopen):
    manager = reopen()
    with ThreadPoolExecutor(4) as pool:
        wrapped = list(pool.map(lambda n: manager.wrap(bytes([n]) * 32, CONTEXT), range(16)))
        opened = list(pool.map(lambda each: manager.unwrap(each, CONTEXT), wrapped))
    assert opened == [bytes([n]) * 32 for n in range(16)]


def test_what_is_sealed_stays_readable_over_rotation_and_restart(reopen):
    manager = reopen()
    sealer = Envelope(manager)
    old = sealer.seal(b"secret", "file:issuer")
    manager.rotate()
    new = sealer.seal(b"secret", "file:issuer")
    again = Envelope(reopen())
    assert (again.current(old), again.current(new)) == (False, True)
    assert again.open(old, "file:issuer") == again.open(new, "file:issuer") == b"secret"


@needs_softhsm
def test_a_key_never_leaves_the_token(hsm):
    manager = Pkcs11KeyManager(SOFTHSM, hsm.token, hsm.pin, "kept", create=True)
    [key] = manager._keys(1)
    with pytest.raises(Exception, match=r"^$") as caught:
        key[manager._api.Attribute.VALUE]
    assert type(caught.value).__name__ == "AttributeSensitive"
    assert key[manager._api.Attribute.EXTRACTABLE] is False


_ELSEWHERE = """
import sys
from pathlib import Path
from portcullis.core.errors import Problem
from portcullis.identity.keymanager.pkcs11 import Pkcs11KeyManager
module, token, pin, label, wrapped = sys.argv[1:]
try:
    manager = Pkcs11KeyManager(Path(module), token, pin, label, create=False)
    print(manager.unwrap(bytes.fromhex(wrapped), b"data keys").hex())
except Problem as problem:
    print(problem)
"""


@needs_softhsm
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, KEY.hex()),
        ({"pin": "0000"}, "PC7010: the token gate refuses the PIN"),
        ({"token": "nowhere"}, "PC7005"),
        ({"module": "/nonexistent.so"}, "PC7005"),
        ({"label": "lost"}, "PC7010: no key lost in the token"),
    ],
)
def test_another_process_needs_the_right_token_pin_and_label(hsm, change, said):
    manager = Pkcs11KeyManager(SOFTHSM, hsm.token, hsm.pin, "shared", create=True)
    given = {"module": str(SOFTHSM), "token": hsm.token, "pin": hsm.pin, "label": "shared"} | change
    wrapped = manager.wrap(KEY, CONTEXT).hex()
    found = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, *given.values(), wrapped],
        check=True,
        capture_output=True,
        text=True,
        env=hsm.environ,
    )
    assert said in found.stdout
    assert hsm.pin not in found.stdout


@needs_softhsm
def test_two_first_keys_made_at_once_both_open(hsm):
    first = Pkcs11KeyManager(SOFTHSM, hsm.token, hsm.pin, "twice", create=True)
    wrapped = [first.wrap(KEY, CONTEXT)]
    first._generate(1)
    wrapped += [first.wrap(KEY, CONTEXT)]
    assert [first.unwrap(each, CONTEXT) for each in wrapped] == [KEY, KEY]


def test_a_machine_without_the_library_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(Problem, match="PC7005") as caught:
        Pkcs11KeyManager(tmp_path, "token", "1234", "label", create=True)
    assert "agent-portcullis[pkcs11]" in caught.value.hint


def test_an_engine_that_is_not_there_or_refuses_is_said_without_the_token(engine):
    with pytest.raises(Problem, match=r"PC7005.*answered 403") as caught:
        OpenBaoKeyManager(engine.url, engine.mount, "portcullis", lambda: "stolen-token")
    assert "stolen-token" not in str(caught.value)
    with pytest.raises(Problem, match=r"PC7001.*there is no key"):
        OpenBaoKeyManager(engine.url, engine.mount, "missing", lambda: engine.token)
    with pytest.raises(Problem, match=r"PC7005.*does not answer"):
        OpenBaoKeyManager("http://127.0.0.1:1", "transit", "portcullis", lambda: "t")


def test_a_transit_key_that_does_not_authenticate_is_not_used(engine):
    engine.make("rsa", "rsa-4096")
    with pytest.raises(Problem, match=r"PC7001.*wrong kind"):
        OpenBaoKeyManager(engine.url, engine.mount, "rsa", lambda: engine.token)


def test_the_engines_token_never_travels_in_the_clear_to_another_machine():
    with pytest.raises(Problem, match=r"PC7001.*https"):
        OpenBaoKeyManager("http://bao.example.org:8200", "transit", "portcullis", lambda: "t")


def test_an_engine_rotated_by_its_own_operator_is_followed(engine):
    manager = OpenBaoKeyManager(engine.url, engine.mount, "portcullis", lambda: engine.token)
    sealer = Envelope(manager)
    old = sealer.seal(b"secret", "p")
    engine.answer("POST", "/v1/transit/keys/portcullis/rotate", {})
    manager.wrap(KEY, CONTEXT)
    assert manager.version.endswith(":v2")
    new = sealer.seal(b"secret", "p")
    assert (sealer.current(old), sealer.current(new)) == (False, True)


def test_a_renewed_token_is_used(engine):
    tokens = [engine.token]
    manager = OpenBaoKeyManager(engine.url, engine.mount, "portcullis", lambda: tokens[-1])
    wrapped = manager.wrap(KEY, CONTEXT)
    engine.token = "renewed"  # noqa: S105 - made up here
    tokens.append(engine.token)
    assert manager.unwrap(wrapped, CONTEXT) == KEY


@pytest.mark.parametrize("token", ["s.hidden\nx", "s.hidden\u20ac"])
def test_a_token_that_is_no_header_is_a_problem_that_does_not_repeat_it(engine, token):
    with pytest.raises(Problem) as refused:
        OpenBaoKeyManager(engine.url, engine.mount, "portcullis", lambda: token)
    assert (refused.value.code, "hidden" in str(refused.value)) == ("PC7005", False)
