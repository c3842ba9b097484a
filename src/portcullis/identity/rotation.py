"""How the trust domain's keys follow each other: roots, signing authorities, JWT keys.

A root or a JWT key is *prepared* (published, signs nothing) for an overlap, so that everybody
knows it before it signs; then it is *active* until half of its life is over; then *retired*:
its private key is destroyed and it stays published until everything that it signed has expired.
A signing authority needs no overlap, since its certificate travels with what it signs: a new one
replaces it at half of its life.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from portcullis.config.identity import Identity
from portcullis.core.errors import Problem
from portcullis.core.ports import Sealer
from portcullis.identity.authority_files import Files, Key, Kind, State
from portcullis.identity.x509 import SigningKey, authority_certificate, generate

MAX_SVID_SECONDS: Final = 72 * 3600
MAX_JWT_SECONDS: Final = 3600
_MAX_OVERLAP: Final = 7 * 86_400


def overlap(life: float) -> float:
    """How long a key of this life is published before it signs, in seconds."""
    return min(life / 8, _MAX_OVERLAP)


def due(state: State, now: float) -> tuple[str, ...]:
    """What the clock asks for, first things first: ``prepare root``, ``activate jwt``, ..."""
    found = []
    for kind in ("root", "jwt"):
        active, prepared = state.active(kind), state.of(kind, "prepared")
        over = now >= active.not_after
        if prepared is not None:
            if over or now >= prepared.active_at:
                found.append(f"activate {kind}")
        elif over or now >= active.half - overlap(active.not_after - active.created_at):
            found.append(f"prepare {kind}")
    if now >= state.active("signing").half:
        found.append("renew signing")
    if any(key.state == "retired" and now >= key.needed_until for key in state.keys):
        found.append("expire")
    return tuple(found)


class Change:
    """One change on its way. New files are written as it goes; ``state`` is what it leads to.

    Nothing counts before the caller has written ``state``. ``root_key`` is the active root's
    sealed key, when that is kept offline. Not for sharing between threads.
    """

    def __init__(
        self,
        files: Files,
        state: State,
        *,
        sealer: Sealer,
        settings: Identity,
        now: float,
        new_id: Callable[[], str],
        root_key: bytes | None = None,
    ) -> None:
        self.state = state
        self._files = files
        self._sealer = sealer
        self._settings = settings
        self._now = now
        self._new_id = new_id
        self._root_key = root_key

    def do(self, step: str) -> None:
        """Take one of the steps that ``due`` names."""
        verb, _, kind = step.partition(" ")
        if verb == "expire":
            self.expire()
        elif kind == "signing":  # in force as soon as it is made
            self.renew_signing()
        elif kind == "root":
            self.prepare_root() if verb == "prepare" else self.activate_root()
        else:
            self.prepare_jwt() if verb == "prepare" else self.activate_jwt()

    def rotate(self, kind: Kind) -> None:
        """Put a new key in force at once; the old one stays published as long as it is needed.

        A prepared one is thrown away: whoever had the old key may have that one too.
        """
        if kind != "signing":
            prepared = self.state.of(kind, "prepared")
            self._now_keys(tuple(key for key in self.state.keys if key != prepared))
            self.do(f"prepare {kind}")
        self.do(f"activate {kind}")

    def retire(self, kind: Literal["root", "jwt"]) -> None:
        """Take the old keys out of the bundle, whatever they signed. PC7008 when there is none."""
        kept = tuple(k for k in self.state.keys if (k.kind, k.state) != (kind, "retired"))
        if len(kept) == len(self.state.keys):
            hint = f"Run `portcullis ca rotate {kind}` first: it puts a new one in force."
            raise Problem("PC7008", f"there is no old {kind} key to retire", hint=hint)
        self._now_keys(kept)

    def expire(self) -> None:
        """Take out of the bundle what nothing needs any more."""
        self._now_keys(
            tuple(
                key
                for key in self.state.keys
                if key.state != "retired" or self._now < key.needed_until
            )
        )

    def prepare_root(self) -> None:
        """Publish a new root."""
        life = self._settings.root_ttl_seconds
        private = generate(self._settings.key_type)
        key = self._key("root", "prepared", life)
        certificate = authority_certificate(
            "root",
            key.id,
            self.state.trust_domain,
            private.public_key(),
            issuer=private,
            not_before=self._now,
            not_after=key.not_after,
        )
        self._write(key, private, certificate.public_bytes(Encoding.PEM))
        self._now_keys((*self.state.keys, key))

    def activate_root(self) -> None:
        """Put the prepared root in force, with a signing authority below it."""
        self._activate("root", self._leaves_until())
        self.renew_signing()

    def renew_signing(self) -> None:
        """Replace the signing authority by a new one below the active root."""
        root = self.state.active("root")
        certificate = x509.load_pem_x509_certificate(self._files.get(f"{root.name}.pem"))
        above = (certificate, self._root_private(root, certificate))
        private = generate(self._settings.key_type)
        key = self._key("signing", "active", self._settings.signing_ttl_seconds)
        key = msgspec.structs.replace(
            key, root=root.id, not_after=min(key.not_after, root.not_after)
        )
        signed = authority_certificate(
            "signing",
            key.id,
            self.state.trust_domain,
            private.public_key(),
            issuer=above,
            not_before=self._now,
            not_after=key.not_after,
        )
        self._write(key, private, signed.public_bytes(Encoding.PEM))
        self._now_keys((*(k for k in self.state.keys if k.kind != "signing"), key))

    def prepare_jwt(self) -> None:
        """Publish a new JWT key: P-256, whatever the other keys are (JWT-SVID.md section 2.2)."""
        private = ec.generate_private_key(ec.SECP256R1())
        key = self._key("jwt", "prepared", self._settings.signing_ttl_seconds)
        public = private.public_key().public_bytes(
            Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._write(key, private, public)
        self._now_keys((*self.state.keys, key))

    def activate_jwt(self) -> None:
        """Sign with the prepared JWT key from now on."""
        self._activate("jwt", self._now + MAX_JWT_SECONDS)

    def _activate(self, kind: Kind, needed_until: float) -> None:
        """Retire the active key (there is none in the beginning) and activate the prepared one."""
        keys = []
        for key in self.state.keys:
            if key.kind == kind and key.state == "active":
                keys.append(
                    msgspec.structs.replace(key, state="retired", needed_until=needed_until)
                )
            elif key.kind == kind and key.state == "prepared":
                keys.append(msgspec.structs.replace(key, state="active", active_at=self._now))
            else:
                keys.append(key)
        self._now_keys(tuple(keys))

    def _leaves_until(self) -> float:
        """When the last leaf that can exist by now has expired."""
        signing = self.state.of("signing", "active")
        ends = signing.not_after if signing else self._now
        return min(ends, self._now + MAX_SVID_SECONDS)

    def _root_private(self, root: Key, certificate: x509.Certificate) -> SigningKey:
        name = f"{root.name}.key"
        if self._root_key is None and not self._files.has(name):
            raise Problem(
                "PC7008",
                "the root key is offline, so the signing authority cannot be renewed",
                hint="Run `portcullis ca rotate signing --root-key FILE`.",
            )
        sealed = self._files.get(name) if self._root_key is None else self._root_key
        private = unsealed(self._sealer, sealed, name)
        if private.public_key() != certificate.public_key():
            raise Problem("PC7008", "that is not the key of the active root")
        return private

    def _key(self, kind: Kind, state: Literal["prepared", "active"], life: float) -> Key:
        now = self._now
        wait = overlap(life) if state == "prepared" else 0
        return Key(
            kind=kind,
            id=self._new_id(),
            state=state,
            created_at=now,
            active_at=now + wait,
            not_after=float(int(now + life)),
        )

    def _write(self, key: Key, private: SigningKey, public: bytes) -> None:
        name = f"{key.name}.key"
        self._files.put(name, self._sealer.seal(_pkcs8(private), _purpose(name)))
        self._files.put(f"{key.name}.pem", public)

    def _now_keys(self, keys: tuple[Key, ...]) -> None:
        self.state = msgspec.structs.replace(self.state, keys=keys)


def unsealed(sealer: Sealer, sealed: bytes, name: str) -> SigningKey:
    """The private key of the file ``name``. Raises Problem PC7010, or PC7008 for another kind."""
    try:
        private = serialization.load_der_private_key(sealer.open(sealed, _purpose(name)), None)
    except ValueError:
        raise Problem("PC7008", f"{name} is not a private key") from None
    if not isinstance(private, (ec.EllipticCurvePrivateKey, Ed25519PrivateKey)):
        raise Problem("PC7008", f"{name} is not a key of ours")
    return private


def resealed(files: Files, state: State, sealer: Sealer) -> int:
    """Seal again what is not under the newest key-encryption key; how many there were."""
    count = 0
    for key in state.keys:
        name = f"{key.name}.key"
        if key.state == "retired" or not files.has(name):
            continue
        sealed = files.get(name)
        if not sealer.current(sealed):
            opened = sealer.open(sealed, _purpose(name))
            files.put(name, sealer.seal(opened, _purpose(name)))
            count += 1
    return count


def _purpose(name: str) -> str:
    return f"file:ca/{name}"


def _pkcs8(private: SigningKey) -> bytes:
    return private.private_bytes(
        Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
