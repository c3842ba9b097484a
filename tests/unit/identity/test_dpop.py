"""If these fail, a stolen token can be used without its key, or an honest client is kept out."""

import json
import secrets

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from holders import Holder, base64url
from portcullis.core.errors import Problem
from portcullis.identity import dpop, jws

NOW = 1_800_000_000.5
URL = "https://gate.test:7302/mcp/orders"
TOKEN = "a.b.c"  # noqa: S105 - a stand-in


class OnceOnly:
    """Remembers without bounds, and keeps what it was told."""

    def __init__(self, since=0.0):
        self.since = since
        self.seen = {}

    def spend(self, key, until):
        if key in self.seen:
            return False
        self.seen[key] = until
        return True


@pytest.fixture
def once():
    return OnceOnly()


@pytest.fixture(scope="module")
def holder():
    return Holder()


@pytest.fixture(scope="module")
def other():
    return Holder()


def check(once, proof, *, method="POST", url=URL, token=TOKEN, now=NOW, skew=5, jkt=None):
    return dpop.verify(
        proof, method=method, url=url, token=token, now=now, once=once, skew=skew, jkt=jkt
    )


@pytest.mark.parametrize("algorithm", dpop.ALGORITHMS)
def test_a_good_proof_says_whose_key_it_is(once, algorithm):
    holder = Holder(algorithm)
    proof = holder.proof("POST", URL, NOW, TOKEN)
    assert check(once, proof, jkt=holder.jkt) == holder.jkt
    assert set(once.seen.values()) == {int(NOW) + 60 + 5 + 1}


def test_the_example_of_the_specification_is_read_as_it_says(once):
    """RFC 9449 section 4.1 and, for the thumbprint, section 6.1."""
    proof = (
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0"
        "VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10"
        "NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjo"
        "iUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ."
        "2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
    )
    url = "https://server.example.com/token"
    found = check(once, proof, url=url, token=None, now=1_562_262_620)
    assert found == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


MISUSE = {
    "another method": (lambda h, o: h.proof("GET", URL, NOW, TOKEN), "PC2044"),
    "another path": (lambda h, o: h.proof("POST", URL + "x", NOW, TOKEN), "PC2044"),
    "another host": (
        lambda h, o: h.proof("POST", URL.replace("gate.", "evil."), NOW, TOKEN),
        "PC2044",
    ),
    "another port": (
        lambda h, o: h.proof("POST", URL.replace("7302", "7303"), NOW, TOKEN),
        "PC2044",
    ),
    "another scheme": (
        lambda h, o: h.proof("POST", URL.replace("https", "http"), NOW, TOKEN),
        "PC2044",
    ),
    "no URL at all": (lambda h, o: h.proof("POST", "", NOW, TOKEN), "PC2044"),
    "too old": (lambda h, o: h.proof("POST", URL, NOW - 66, TOKEN), "PC2045"),
    "from the future": (lambda h, o: h.proof("POST", URL, NOW + 6, TOKEN), "PC2045"),
    "for another token": (lambda h, o: h.proof("POST", URL, NOW, TOKEN + "x"), "PC2048"),
    "for no token": (lambda h, o: h.proof("POST", URL, NOW), "PC2048"),
    "by another key": (lambda h, o: o.proof("POST", URL, NOW, TOKEN), "PC2047"),
    "signed by another key": (
        lambda h, o: h.proof("POST", URL, NOW, TOKEN, key=o.key),
        "PC2043",
    ),
    "signature cut": (lambda h, o: h.proof("POST", URL, NOW, TOKEN)[:-2], "PC2043"),
    "signature of zeros": (
        lambda h, o: (
            h.proof("POST", URL, NOW, TOKEN).rpartition(".")[0] + "." + base64url(bytes(64))
        ),
        "PC2043",
    ),
    "no typ of its own": (
        lambda h, o: h.proof("POST", URL, NOW, TOKEN, header={"typ": "JWT"}),
        "PC2042",
    ),
    "no key": (lambda h, o: h.proof("POST", URL, NOW, TOKEN, header={"jwk": None}), "PC2042"),
    "key by reference": (
        lambda h, o: h.proof("POST", URL, NOW, TOKEN, header={"jwk": "https://evil.test"}),
        "PC2042",
    ),
    "private key": (
        lambda h, o: h.proof("POST", URL, NOW, TOKEN, header={"jwk": h.jwk | {"d": "AA"}}),
        "PC2042",
    ),
    "key off its curve": (
        lambda h, o: h.proof("POST", URL, NOW, TOKEN, header={"jwk": h.jwk | {"y": h.jwk["x"]}}),
        "PC2042",
    ),
    "short coordinate": (
        lambda h, o: h.proof("POST", URL, NOW, TOKEN, header={"jwk": h.jwk | {"x": "AQAB"}}),
        "PC2042",
    ),
    "key for another algorithm": (
        lambda h, o: h.proof("POST", URL, NOW, TOKEN, header={"jwk": h.jwk | {"alg": "ES384"}}),
        "PC2042",
    ),
    "critical extension": (
        lambda h, o: h.proof("POST", URL, NOW, TOKEN, header={"crit": ["x"], "x": 1}),
        "PC2042",
    ),
    "no jti": (lambda h, o: h.proof("POST", URL, NOW, TOKEN, jti=None), "PC2042"),
    "empty jti": (lambda h, o: h.proof("POST", URL, NOW, TOKEN, jti=""), "PC2042"),
    "huge jti": (lambda h, o: h.proof("POST", URL, NOW, TOKEN, jti="x" * 257), "PC2042"),
    "no iat": (lambda h, o: h.proof("POST", URL, NOW, TOKEN, iat=None), "PC2042"),
    "iat as text": (lambda h, o: by_hand(h, iat=str(int(NOW))), "PC2042"),
    "iat true": (lambda h, o: by_hand(h, iat=True), "PC2042"),
    "htm as a list": (lambda h, o: by_hand(h, htm=["POST"]), "PC2042"),
    "huge": (lambda h, o: h.proof("POST", URL, NOW, TOKEN, pad="x" * 5000), "PC2042"),
    "no JWT": (lambda h, o: "nonsense", "PC2042"),
    "not ASCII": (lambda h, o: "é.é.é", "PC2042"),
    "white space": (lambda h, o: h.proof("POST", URL, NOW, TOKEN) + " ", "PC2042"),
    "none": (
        lambda h, o: jwt.encode({"jti": "1"}, None, "none", {"typ": "dpop+jwt", "jwk": h.jwk}),
        "PC2042",
    ),
    "HS256 with the public key": (
        lambda h, o: jwt.encode(
            {"jti": "1"}, secrets.token_bytes(32), "HS256", {"typ": "dpop+jwt", "jwk": h.jwk}
        ),
        "PC2042",
    ),
    "RS256": (
        lambda h, o: jwt.encode(
            {"jti": "1"},
            rsa.generate_private_key(65537, 2048),
            "RS256",
            {"typ": "dpop+jwt", "jwk": h.jwk},
        ),
        "PC2042",
    ),
    "ES384": (
        lambda h, o: jwt.encode(
            {"jti": "1"},
            ec.generate_private_key(ec.SECP384R1()),
            "ES384",
            {"typ": "dpop+jwt", "jwk": h.jwk},
        ),
        "PC2042",
    ),
    "EdDSA with an EC key": (
        lambda h, o: Holder("EdDSA").proof("POST", URL, NOW, TOKEN, header={"jwk": h.jwk}),
        "PC2042",
    ),
}


def by_hand(holder, **claims):
    said = {"jti": "1", "htm": "POST", "htu": URL, "iat": int(NOW)} | claims
    return jws_of(holder, said)


def jws_of(holder, said):
    head = {"typ": "dpop+jwt", "alg": holder.algorithm, "jwk": holder.jwk}
    return jwt.api_jws.encode(json.dumps(said).encode(), holder.key, holder.algorithm, head)


@pytest.mark.parametrize("name", sorted(MISUSE))
def test_a_proof_that_is_not_of_this_request_is_refused_and_not_spent(once, holder, other, name):
    make, code = MISUSE[name]
    with pytest.raises(Problem) as refused:
        check(once, make(holder, other), jkt=holder.jkt)
    assert refused.value.code == code
    assert once.seen == {}


def test_a_proof_is_good_once(once, holder):
    proof = holder.proof("POST", URL, NOW, TOKEN)
    check(once, proof)
    with pytest.raises(Problem, match="PC2046"):
        check(once, proof)


def test_two_clients_may_chance_on_the_same_jti(once, holder, other):
    for each in (holder, other):
        check(once, each.proof("POST", URL, NOW, TOKEN, jti="same"))


def test_a_replay_with_another_signature_of_the_same_proof_is_still_a_replay(once, holder):
    said = {"jti": "one", "htm": "POST", "htu": URL, "iat": int(NOW)}
    check(once, jws_of(holder, said), token=None)
    with pytest.raises(Problem, match="PC2046"):
        check(once, jws_of(holder, said), token=None)


def test_a_proof_from_before_the_restart_is_refused_since_it_may_have_been_used(holder):
    once = OnceOnly(since=float(int(NOW)))
    with pytest.raises(Problem, match="PC2045"):
        check(once, holder.proof("POST", URL, NOW - 1, TOKEN))
    assert check(once, holder.proof("POST", URL, NOW, TOKEN)) == holder.jkt


@pytest.mark.parametrize(
    "url",
    [
        URL + "?q=1",
        URL + "#x",
        "HTTPS://GATE.test:7302/mcp/orders",
        "https://gate.test:7302/mcp/%6frders",
    ],
)
def test_what_does_not_change_the_target_does_not_matter(once, holder, url):
    check(once, holder.proof("POST", url, NOW, TOKEN))


def test_the_default_port_may_be_left_out(once, holder):
    check(
        once,
        holder.proof("POST", "https://gate.test/", NOW),
        url="https://gate.test:443",
        token=None,
    )
    assert dpop.normalised("https://gate.test") == ("https", "gate.test", 443, "/")


@pytest.mark.parametrize(
    "url", ["", "gate.test/x", "ftp://gate.test/", "https://u@gate.test/", "https://[::1", "//x/"]
)
def test_without_a_target_of_our_own_nothing_matches(once, holder, url):
    with pytest.raises(Problem, match="PC2044"):
        check(once, holder.proof("POST", url, NOW, TOKEN), url=url)


@given(st.binary(max_size=200))
def test_there_is_one_way_to_write_bytes(raw):
    text = jws.encoded(raw)
    assert jws.decoded(text) == raw
    assert text == base64url(raw)


@given(st.text(max_size=200))
def test_hostile_text_is_refused_and_never_a_fault(text):
    with pytest.raises(Problem, match="PC2042"):
        check(OnceOnly(), text)


@pytest.mark.parametrize("text", ["AA==", "A", "AB", "A\nA", "A+", "A/", "AA "])
def test_base64url_in_another_form_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        jws.decoded(text)
