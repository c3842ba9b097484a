import base64
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from portcullis.core.errors import Problem
from portcullis.identity.keys import issuer_key, thumbprint


def raw(key):
    return key.private_bytes_raw()


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path):
    folder = tmp_path / "state" / "keys"
    first = issuer_key(folder)
    assert raw(issuer_key(folder)) == raw(first)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["issuer.pem"]
    assert stat.S_IMODE((folder / "issuer.pem").stat().st_mode) == 0o600


def test_two_that_start_at_once_use_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: raw(issuer_key(tmp_path / "keys")), range(8)))
    assert len(keys) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_not_used(tmp_path, mode):
    issuer_key(tmp_path / "keys")
    (tmp_path / "keys" / "issuer.pem").chmod(mode)
    with pytest.raises(Problem, match=r"PC7001.*open to other users"):
        issuer_key(tmp_path / "keys")


def test_a_folder_that_others_can_enter_is_not_used(tmp_path):
    issuer_key(tmp_path / "keys")
    (tmp_path / "keys").chmod(0o755)
    with pytest.raises(Problem, match=r"PC7001.*open to other users"):
        issuer_key(tmp_path / "keys")


def test_what_is_not_an_ed25519_key_is_not_used(tmp_path):
    issuer_key(tmp_path / "keys")
    path = tmp_path / "keys" / "issuer.pem"
    path.write_bytes(b"nonsense")
    with pytest.raises(Problem, match=r"PC7001.*PEM"):
        issuer_key(tmp_path / "keys")
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(other)
    with pytest.raises(Problem, match=r"PC7001.*not an Ed25519 key"):
        issuer_key(tmp_path / "keys")


def test_a_place_that_cannot_hold_a_key_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(Problem, match="PC7001"):
        issuer_key(tmp_path / "file" / "keys")


def test_the_key_id_is_the_thumbprint_of_rfc_8037_appendix_a3():
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x))
    assert thumbprint(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert thumbprint(Ed25519PrivateKey.generate().public_key()) != thumbprint(key)
