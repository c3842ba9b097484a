"""The relying party of WebAuthn level 3 (sections 7.1 and 7.2), with the rules that are ours.

The user is always verified; passkeys are discoverable, so nobody says a name before he shows one;
attestation is not asked for. Pages of other origins have no part in it, nor frames.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from fido2.server import Fido2Server
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    CollectedClientData,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from portcullis.core.errors import Problem
from portcullis.core.passkey_ports import Passkey

_ALGORITHMS: Final = frozenset({-7, -8, -257})
"""ES256, EdDSA and RS256 (RFC 9053, RFC 8812): what authenticators have."""
_ALG: Final = 3
_MAX_ANSWER: Final = 16_384
_TIMEOUT_MS: Final = 300_000


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey that was just made: its id (base64url), its public part and its counter."""

    id: str
    public: bytes
    sign_count: int


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Ceremonies under one origin. Whatever is wrong with an answer is Problem PC2083."""

    origin: str

    @property
    def possible(self) -> bool:
        """Whether browsers have passkeys here: https or ``localhost``; an address has none."""
        return self.origin.startswith("https://") or f".{self._host}".endswith(".localhost")

    def create(
        self, handle: bytes, user: str, known: tuple[Passkey, ...]
    ) -> tuple[dict[str, Any], Any]:
        """Options for making a passkey, as JSON, and what ``made`` needs.

        ``handle`` stands for the user at authenticators; ``known`` are the user's passkeys.
        """
        options, state = self._server().register_begin(
            PublicKeyCredentialUserEntity(id=handle, name=user, display_name=user),
            [AttestedCredentialData(one.public) for one in known],
            resident_key_requirement=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return _plain(options), state

    def made(self, state: Any, answer: str) -> Made:
        """The passkey that an answer to ``create`` holds."""
        response = _decoded(answer)
        try:
            parsed = RegistrationResponse.from_dict(response)
            _from_the_page(parsed.response.client_data)
            data = self._server().register_complete(state, response)
            credential = data.credential_data
        except Exception:  # noqa: BLE001 - the library fails on hostile bytes in many ways
            raise _refused() from None
        if credential is None or credential.public_key.get(_ALG) not in _ALGORITHMS:
            raise _refused()
        made = websafe_encode(credential.credential_id)
        return Made(id=made, public=bytes(credential), sign_count=data.counter)

    def get(self) -> tuple[dict[str, Any], Any]:
        """Options for showing any passkey of this console, as JSON, and what ``shown`` needs."""
        options, state = self._server().authenticate_begin(
            user_verification=UserVerificationRequirement.REQUIRED
        )
        return _plain(options), state

    def shown(self, state: Any, answer: str, passkey: Passkey, handle: bytes) -> int:
        """Verify an answer to ``get`` by ``passkey``, whose user's is ``handle``; its counter."""
        response = _decoded(answer)
        try:
            parsed = AuthenticationResponse.from_dict(response).response
            _from_the_page(parsed.client_data)
            known = [AttestedCredentialData(passkey.public)]
            self._server().authenticate_complete(state, known, response)
        except Exception:  # noqa: BLE001 - the library fails on hostile bytes in many ways
            raise _refused() from None
        if parsed.user_handle != handle:
            raise _refused()
        counter: int = parsed.authenticator_data.counter
        return counter

    @property
    def _host(self) -> str:
        return urlsplit(self.origin).hostname or ""

    def _server(self) -> Fido2Server:
        server = Fido2Server(
            PublicKeyCredentialRpEntity(id=self._host, name="Portcullis"),
            verify_origin=lambda origin: origin == self.origin,
        )
        server.timeout = _TIMEOUT_MS  # type: ignore[assignment] # it says None and takes it
        server.allowed_algorithms = [
            one for one in server.allowed_algorithms if one.alg in _ALGORITHMS
        ]
        return server


def named(answer: str) -> str:
    """The id of the passkey that an answer says it was made by, in the form that we keep."""
    said = _decoded(answer).get("id")
    if not isinstance(said, str) or not said.isascii():
        raise _refused()
    try:
        return websafe_encode(websafe_decode(said))
    except ValueError:
        raise _refused() from None


def _decoded(answer: str) -> dict[str, Any]:
    if len(answer) > _MAX_ANSWER:
        raise _refused()
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        raise _refused() from None
    if not isinstance(found, dict):
        raise _refused()
    return found


def _from_the_page(client: CollectedClientData) -> None:
    if client.cross_origin:
        raise ValueError("crossOrigin")


def _plain(options: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(options)))["publicKey"]
    return plain


def _refused() -> Problem:
    return Problem("PC2083", "the answer is not that of a passkey for this login")
