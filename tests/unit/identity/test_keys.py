import base64
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from portcullis.core.errors import Problem
from portcullis.core.ports import SEALED
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.keys import derived, issuer_key, thumbprint
from portcullis.identity.sealing import Envelope
from sealers import sealer_at


@pytest.fixture
def sealer(tmp_path):
    return sealer_at(tmp_path)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "keys"


def raw(key):
    return key.private_bytes_raw()


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_the_key_is_made_once_and_is_its_owners_alone(folder, sealer):
    first = issuer_key(folder, sealer)
    assert raw(issuer_key(folder, sealer)) == raw(first)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["issuer.pem"]
    assert stat.S_IMODE((folder / "issuer.pem").stat().st_mode) == 0o600


def test_the_key_is_sealed_from_its_first_moment(folder, sealer):
    key = issuer_key(folder, sealer)
    content = (folder / "issuer.pem").read_bytes()
    assert content.startswith(SEALED)
    assert raw(key) not in content
    assert b"PRIVATE KEY" not in content
    assert sealer.open(content, "file:issuer") == pem(key)


def test_two_that_start_at_once_use_one_key(folder, sealer):
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: raw(issuer_key(folder, sealer)), range(8)))
    assert len(keys) == 1


def test_a_key_from_before_keys_were_sealed_stays_the_key_and_is_sealed(folder, sealer):
    key = Ed25519PrivateKey.generate()
    folder.mkdir(mode=0o700, parents=True)
    path = folder / "issuer.pem"
    path.write_bytes(pem(key))
    path.chmod(0o600)
    assert raw(issuer_key(folder, sealer)) == raw(key)
    assert path.read_bytes().startswith(SEALED)
    assert [each.name for each in folder.iterdir()] == ["issuer.pem"]
    assert raw(issuer_key(folder, sealer)) == raw(key)


def test_a_key_under_an_older_version_is_sealed_anew(folder, tmp_path):
    manager = FileKeyManager(tmp_path / "master.key", create=True)
    sealer = Envelope(manager)
    key = issuer_key(folder, sealer)
    manager.rotate()
    assert not sealer.current((folder / "issuer.pem").read_bytes())
    assert raw(issuer_key(folder, sealer)) == raw(key)
    assert sealer.current((folder / "issuer.pem").read_bytes())


def test_under_a_wrong_key_nothing_opens_and_nothing_is_overwritten(folder, sealer, tmp_path):
    issuer_key(folder, sealer)
    before = (folder / "issuer.pem").read_bytes()
    with pytest.raises(Problem, match="PC7010"):
        issuer_key(folder, sealer_at(tmp_path / "other"))
    assert (folder / "issuer.pem").read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_not_used(folder, sealer, mode):
    issuer_key(folder, sealer)
    (folder / "issuer.pem").chmod(mode)
    with pytest.raises(Problem, match=r"PC7001.*open to other users"):
        issuer_key(folder, sealer)


def test_a_folder_that_others_can_enter_is_not_used(folder, sealer):
    issuer_key(folder, sealer)
    folder.chmod(0o755)
    with pytest.raises(Problem, match=r"PC7001.*open to other users"):
        issuer_key(folder, sealer)


def test_what_is_not_an_ed25519_key_is_not_used_and_not_sealed(folder, sealer):
    issuer_key(folder, sealer)
    path = folder / "issuer.pem"
    for content, said in (
        (b"nonsense", r"PC7001.*PEM"),
        (b"", r"PC7001.*PEM"),
        (pem(ec.generate_private_key(ec.SECP256R1())), r"PC7001.*not an Ed25519 key"),
    ):
        path.write_bytes(content)
        with pytest.raises(Problem, match=said):
            issuer_key(folder, sealer)
        assert path.read_bytes() == content


def test_a_place_that_cannot_hold_a_key_is_said(tmp_path, sealer):
    (tmp_path / "file").write_text("x")
    with pytest.raises(Problem, match="PC7001"):
        issuer_key(tmp_path / "file" / "keys", sealer)


def test_the_key_id_is_the_thumbprint_of_rfc_8037_appendix_a3():
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x))
    assert thumbprint(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert thumbprint(Ed25519PrivateKey.generate().public_key()) != thumbprint(key)


def test_a_derived_secret_stays_the_same_and_is_another_for_every_purpose_and_key(folder, sealer):
    key = issuer_key(folder, sealer)
    secret = derived(key, "canaries")
    assert derived(issuer_key(folder, sealer), "canaries") == secret
    assert len({secret, derived(key, "envelopes"), raw(key)}) == 3
    assert derived(Ed25519PrivateKey.generate(), "canaries") != secret
