"""If these fail, a gate takes a policy that nobody signed, or OPA takes none of ours."""

import base64
import gzip
import json
import tarfile
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from opa import needs_opa, opa
from policies import SUPPORT, policy_of
from portcullis.core.errors import Problem
from portcullis.core.release import File
from portcullis.policy.bundles.archive import pack, unpack
from portcullis.policy.bundles.layout import MANIFEST, SOURCES, agrees, built, opened, path
from portcullis.policy.bundles.signature import (
    DATA,
    SIGNATURES,
    digest,
    key_id,
    public_key,
    public_pem,
    sign,
)
from portcullis.policy.compiler import Bundle

FILES = (File(name="policy/main.yaml", text=SUPPORT),)
POLICY = policy_of(SUPPORT)
KEY = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def archive(key=KEY, number=7):
    return built(POLICY.bundle, FILES, number, key, int(time.time()))


@pytest.mark.parametrize("key", [KEY, RSA], ids=["es256", "rs256"])
def test_what_is_built_is_what_is_opened(key):
    public = public_key(public_pem(key.public_key()).encode())
    found = opened(archive(key), public, key_id(public))
    assert (found.number, found.sources) == (7, FILES)
    agrees(found, POLICY.bundle)
    with pytest.raises(Problem, match="PC7037"):
        agrees(found, policy_of(SUPPORT.replace("maximum: 100", "maximum: 10")).bundle)


def changed(**changes):
    """The archive with other files under the signature of the first."""
    files = unpack(archive())
    for name, body in changes.items():
        files[name] = body(files.get(name))
    return pack({name: body for name, body in files.items() if body is not None})


def signed(files):
    files = {name: body for name, body in files.items() if name != SIGNATURES}
    return pack(files | {SIGNATURES: sign(files, KEY, 1)})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (DATA, lambda was: was.replace(b"support", b"suspect")),
        ("decide.rego", lambda was: was + b"\nallow := true\n"),
        ("more.rego", lambda _: b"package portcullis\n"),
        ("decide.rego", lambda _: None),
        (SOURCES, lambda was: was.replace(b"maximum: 100", b"maximum: 999")),
        (MANIFEST, lambda was: was.replace(b'"7-', b'"9-')),
        (SIGNATURES, lambda _: None),
        (SIGNATURES, lambda _: b'{"signatures":[]}'),
        (SIGNATURES, lambda was: json.dumps(json.loads(was)["signatures"]).encode()),
        (
            SIGNATURES,
            lambda was: json.dumps({"signatures": json.loads(was)["signatures"] * 2}).encode(),
        ),
    ],
    ids=["data", "rego", "more", "less", "sources", "revision", "none", "empty", "form", "two"],
)
def test_nothing_is_taken_that_is_not_exactly_what_was_signed(name, change):
    with pytest.raises(Problem, match="PC7037"):
        opened(changed(**{name: change}), KEY.public_key())


def test_a_signature_is_the_named_keys_and_of_its_own_kind():
    other = ec.generate_private_key(ec.SECP256R1())
    for found, name in ((other.public_key(), ""), (RSA.public_key(), ""), (KEY.public_key(), "x")):
        with pytest.raises(Problem, match="PC7037"):
            opened(archive(), found, name)
    files = unpack(archive())
    del files[SIGNATURES]
    listed = [{"name": n, "hash": digest(n, b), "algorithm": "SHA-256"} for n, b in files.items()]
    for made in (
        jwt.encode({"files": listed}, None, algorithm="none"),
        jwt.encode({"files": listed}, "x" * 32, algorithm="HS256"),
        jwt.encode({"files": listed, "scope": "write"}, KEY, algorithm="ES256"),
        jwt.encode({"files": listed + listed[:1]}, KEY, algorithm="ES256"),
        jwt.encode({"files": [one | {"algorithm": "MD5"} for one in listed]}, KEY, "ES256"),
    ):
        forged = json.dumps({"signatures": [made]}).encode()
        with pytest.raises(Problem, match="PC7037"):
            opened(pack(files | {SIGNATURES: forged}), KEY.public_key())


def test_a_signed_bundle_that_is_not_ours_is_not_taken():
    foreign = {
        DATA: b"{}",
        "policy.rego": b"package portcullis\ndecision := true\n",
        MANIFEST: b'{"revision":"1","roots":["portcullis","policy"],"rego_version":1}',
    }
    with pytest.raises(Problem, match="PC7037"):
        opened(signed(foreign), KEY.public_key())
    renumbered = unpack(archive())
    renumbered[MANIFEST] = renumbered[MANIFEST].replace(b'"7-sha256:', b'"8-sha256:0')
    with pytest.raises(Problem, match="PC7037"):
        opened(signed(renumbered), KEY.public_key())
    swapped = unpack(archive())
    swapped["decide.rego"] += b"\n# another\n"
    with pytest.raises(Problem, match="PC7037"):  # signed, and yet not what its sources come to
        agrees(opened(signed(swapped), KEY.public_key()), POLICY.bundle)


def test_an_archive_is_read_within_bounds():
    for bad in (b"", b"not gzip", pack({"a": b"1"})[:-9], pack({"../up": b"1"})):
        with pytest.raises(Problem, match="PC7037"):
            unpack(bad)
    with pytest.raises(Problem, match=r"larger|more than"):
        unpack(pack({"zeroes": bytes(65 * 2**20)}))


def _header(kind, size):
    entry = tarfile.TarInfo("data.json")
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.USTAR_FORMAT)


def _sparse(size):
    """A file of holes alone: nothing in the archive, ``size`` bytes when it is read."""
    made = bytearray(_header(tarfile.GNUTYPE_SPARSE, 0))
    made[257:265] = b"ustar  \0"
    made[386:410] = b"%011o\0%011o\0" % (size, 0)
    made[483:495] = b"%011o\0" % size
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


@pytest.mark.parametrize(
    "hostile",
    [
        _sparse(2**30),
        (_header(tarfile.XHDTYPE, 12) + b"12 path=aaa\n".ljust(512, b"\0")) * 3000,
    ],
    ids=["holes", "headers-of-headers"],
)
def test_what_nobody_signed_yet_takes_no_memory_and_no_stack(hostile):
    end = _header(tarfile.REGTYPE, 0) + bytes(1024)
    with pytest.raises(Problem, match="PC7037"):
        unpack(gzip.compress(hostile + end))


def _nested(depth=200_000):
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "signatures",
    [
        b'{"signatures":[],"more":' + _nested() + b"}",
        b'{"signatures":["' + base64.urlsafe_b64encode(_nested()) + b'.e30.e30"]}',
    ],
    ids=["document", "header"],
)
def test_a_signature_that_nests_without_end_is_a_refusal(signatures):
    with pytest.raises(Problem, match="PC7037"):
        opened(changed(**{SIGNATURES: lambda _: signatures}), KEY.public_key())


def test_json_is_hashed_by_its_form_and_everything_else_by_its_bytes():
    assert digest("data.json", b'{"b": 1.50, "a":[true,null]}') == digest(
        "x/data.json", b'{ "a":[true , null],"b":1.50 }'
    )
    assert digest("data.json", b'{"b":1.5}') != digest("data.json", b'{"b":1.50}')
    assert digest("a.rego", b"a ") != digest("a.rego", b"a")
    assert digest("data.json", '{"ä<&>":"\u2028"}'.encode()) == digest(
        "t", '{"ä<&>":"\\u2028"}'.encode()
    )


def test_a_tools_name_is_no_path():
    assert path("tools/../../x.rego") == "tools/..%2F..%2Fx.rego"


VERIFIED = """\
package check

import rego.v1

token := io.jwt.decode_verify(input.token, {"cert": input.key, "alg": input.alg})

wrong contains one.name if {
	some one in token[2].files
	one.hash != hashed(one.name)
}

hashed(name) := crypto.sha256(json.marshal(json.unmarshal(input.files[name]))) if structured(name)

else := crypto.sha256(input.files[name])

structured(name) if name in {"data.json", ".manifest"}

said := {"valid": token[0], "wrong": wrong, "listed": {one.name | some one in token[2].files}}
"""


@needs_opa
@pytest.mark.parametrize("key", [KEY, RSA], ids=["es256", "rs256"])
def test_opas_own_functions_find_the_signature_and_every_hash_right(key):
    files = {name: body.decode() for name, body in unpack(archive(key)).items()}
    (token,) = json.loads(files.pop(SIGNATURES))["signatures"]
    asked = {"token": token, "key": public_pem(key.public_key()), "files": files}
    with opa() as engine:
        engine.load(Bundle((("check.rego", VERIFIED),), "{}"))
        asked["alg"] = jwt.get_unverified_header(token)["alg"]
        said = engine.ask("data.check.said", asked)["result"]
        assert (said["valid"], said["wrong"], set(said["listed"])) == (True, [], set(files))
        files["data.json"] = files["data.json"].replace("support", "suspect")
        assert engine.ask("data.check.said", asked)["result"]["wrong"] == ["data.json"]
