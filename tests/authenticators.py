"""A passkey in software, and what goes wrong with it: a peer for the console's ceremonies."""

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2.cose import ES256
from fido2.utils import sha256, websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorData,
    CollectedClientData,
)

_PRESENT, _VERIFIED, _ATTESTED = 0x01, 0x04, 0x40


@dataclass
class Authenticator:
    """One discoverable P-256 credential. ``counter`` is what it says next."""

    counter: int = 1
    id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    handle: bytes = b""

    def make(self, options: dict[str, Any], origin: str, *, verified: bool = True) -> str:
        """The answer to options for making a passkey."""
        self.handle = websafe_decode(options["user"]["id"])
        credential = AttestedCredentialData.create(
            bytes(16), self.id, ES256.from_cryptography_key(self.key.public_key())
        )
        data = self._data(options["rp"]["id"], verified, _ATTESTED, credential)
        client = CollectedClientData.create("webauthn.create", options["challenge"], origin)
        return self._answer(
            clientDataJSON=client,
            attestationObject=AttestationObject.create("none", data, {}),
        )

    def show(
        self,
        options: dict[str, Any],
        origin: str,
        *,
        verified: bool = True,
        framed: bool = False,
        rp_id: str = "",
    ) -> str:
        """The answer to options for showing a passkey."""
        data = self._data(rp_id or options["rpId"], verified)
        client = CollectedClientData.create(
            "webauthn.get", options["challenge"], origin, cross_origin=framed
        )
        signature = self.key.sign(data + client.hash, ec.ECDSA(SHA256()))
        return self._answer(
            clientDataJSON=client,
            authenticatorData=data,
            signature=signature,
            userHandle=self.handle,
        )

    def _data(
        self,
        rp_id: str,
        verified: bool,  # noqa: FBT001 - a flag of the data
        more: int = 0,
        credential: AttestedCredentialData | None = None,
    ) -> AuthenticatorData:
        flags = _PRESENT | (_VERIFIED if verified else 0) | more
        made = AuthenticatorData.create(
            sha256(rp_id.encode()), flags, self.counter, credential or b""
        )
        self.counter += 1
        return made

    def _answer(self, **response: bytes) -> str:
        name = websafe_encode(self.id)
        return json.dumps(
            {
                "id": name,
                "rawId": name,
                "type": "public-key",
                "clientExtensionResults": {},
                "response": {key: websafe_encode(value) for key, value in response.items()},
            }
        )
