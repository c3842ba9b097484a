"""Every key manager on a place of its own; ``reopen`` opens it again as a restart would."""

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from needs import SOFTHSM, needs_softhsm
from portcullis.core.ports import KeyManager
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.keymanager.openbao import OpenBaoKeyManager
from portcullis.identity.keymanager.passphrase import PassphraseKeyManager
from portcullis.identity.keymanager.pkcs11 import Pkcs11KeyManager
from transit import Transit, transit

ADAPTERS = ("file", "passphrase", pytest.param("pkcs11", marks=needs_softhsm), "openbao")


class Hsm(NamedTuple):
    """A SoftHSM token: one for the whole run, since the library reads its place only once."""

    token: str
    pin: str
    environ: dict[str, str]


@pytest.fixture(scope="session")
def hsm(tmp_path_factory) -> Hsm:
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(conf)
    token = Hsm("gate", str(secrets.randbelow(10**8) + 10**8), dict(os.environ))
    pins = ["--pin", token.pin, "--so-pin", token.pin]
    command = ["softhsm2-util", "--init-token", "--free", "--label", token.token, *pins]
    subprocess.run(command, check=True, capture_output=True, env=token.environ)
    return token


@pytest.fixture
def engine() -> Iterator[Transit]:
    with transit() as found:
        found.make("portcullis")
        yield found


@pytest.fixture(params=ADAPTERS)
def reopen(request, tmp_path) -> Callable[..., KeyManager]:
    """Opens one and the same place; ``reopen(elsewhere=True)`` is a place of the same kind."""
    made: dict[bool, Callable[[], KeyManager]] = {}

    def place(elsewhere: bool) -> Callable[[], KeyManager]:  # noqa: FBT001 - of this fixture alone
        folder = tmp_path / ("elsewhere" if elsewhere else "here")
        match request.param:
            case "file":
                return lambda: FileKeyManager(folder / "master.key", create=True)
            case "passphrase":
                passphrase = secrets.token_hex(8)
                path = folder / "master.sealed"
                return lambda: PassphraseKeyManager(path, passphrase, create=True)
            case "pkcs11":
                hsm = request.getfixturevalue("hsm")
                label = f"key-{secrets.token_hex(4)}"
                return lambda: Pkcs11KeyManager(SOFTHSM, hsm.token, hsm.pin, label, create=True)
            case _:
                engine = request.getfixturevalue("engine")
                name = "portcullis"
                if elsewhere:
                    name = "other"
                    engine.make(name)
                return lambda: OpenBaoKeyManager(
                    engine.url, engine.mount, name, lambda: engine.token
                )

    def opened(*, elsewhere: bool = False) -> KeyManager:
        if elsewhere not in made:
            made[elsewhere] = place(elsewhere)
        return made[elsewhere]()

    return opened
