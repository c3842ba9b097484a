import base64
import threading
import unicodedata
from urllib.parse import parse_qs, urlsplit

import pytest

from portcullis.core.errors import Problem
from portcullis.identity.passwords import (
    Cost,
    hashed,
    matches,
    nobodys,
    otpauth,
    step_of,
    totp_secret,
)

CHEAP = Cost(iterations=1, lanes=1, memory_kib=64)
SECRET = b"12345678901234567890"  # of RFC 6238 appendix B


def test_a_password_is_matched_and_nothing_else_is():
    phc = hashed("correct horse battery", CHEAP)
    assert phc.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert matches("correct horse battery", phc)
    for wrong in ("", "correct horse batter", "correct horse battery ", "Correct horse battery"):
        assert not matches(wrong, phc)
    assert hashed("correct horse battery", CHEAP) != phc


def test_passwords_are_matched_from_several_threads_at_once_and_none_waits_for_ever():
    phc = hashed("correct horse battery", Cost(iterations=1, lanes=4, memory_kib=1024))
    found = []

    def match():
        found.extend(matches("correct horse battery", phc) for _ in range(10))

    threads = [threading.Thread(target=match, daemon=True) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert found == [True] * 40


def test_a_password_is_the_same_however_its_accents_were_typed():
    phc = hashed(unicodedata.normalize("NFD", "crème brûlée à la carte"), CHEAP)
    assert matches(unicodedata.normalize("NFC", "crème brûlée à la carte"), phc)


@pytest.mark.parametrize("password", ["x" * 11, "x" * 1025])
def test_a_password_too_short_or_too_long_is_not_set(password):
    with pytest.raises(Problem, match="PC1020"):
        hashed(password, CHEAP)


def test_nobody_knows_nobodys_password():
    assert not matches("", nobodys(CHEAP))
    assert nobodys(CHEAP) != nobodys(CHEAP)


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
    ],
)
def test_codes_are_those_of_the_rfc(now, code):
    assert step_of(code, SECRET, now) == now // 30


def test_a_code_is_good_one_step_early_and_late_and_no_longer():
    step = 2000000000 // 30
    found = {late: step_of("279037", SECRET, (step + late) * 30) for late in (-2, -1, 0, 1, 2)}
    assert found == {-2: None, -1: step, 0: step, 1: step, 2: None}


@pytest.mark.parametrize(
    "code", ["", "27903", "2790370", "279037 ", "\u0662\u0667\u0669\u0660\u0663\u0667"]
)
def test_what_is_no_code_is_refused(code):
    assert step_of(code, SECRET, 2000000000) is None


def test_an_authenticator_app_can_read_the_uri():
    secret = totp_secret()
    uri = urlsplit(otpauth(secret, "ada", "example.test"))
    query = parse_qs(uri.query)
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", "/example.test:ada")
    assert base64.b32decode(query["secret"][0]) == secret
    assert (query["issuer"], query["digits"], query["period"]) == (["example.test"], ["6"], ["30"])
