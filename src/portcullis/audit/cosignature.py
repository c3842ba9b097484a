"""Cosignatures of witnesses (C2SP tlog-cosignature, Ed25519, "cosignature/v1").

A cosignature says: at this time, this was the largest tree of this log that I had seen, and it is
consistent with all that I saw before. Its keys are those of ``note`` with the kind 0x04.
"""

from __future__ import annotations

from typing import ClassVar, Final

from portcullis.audit.note import Note, Signature, SigningKey, Verifier
from portcullis.core.errors import Problem

_TIME_SIZE: Final = 8
_SIZE: Final = _TIME_SIZE + 64
_MAX_TIME: Final = 2**63 - 1


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


class Cosigner(Verifier):
    """A witness' public key and its name."""

    KIND: ClassVar[bytes] = b"\x04"

    def cosigned(self, note: Note) -> int | None:
        """When the witness last cosigned the note's text (seconds since the epoch), if it did.

        Raises Problem PC6005 when a cosignature that says it is of this key does not verify.
        """
        times = [self._time(one.bytes, note.text) for one in self.own(note)]
        return max(times, default=None)

    def _verify(self, signature: bytes, text: str) -> None:
        self._time(signature, text)

    def _time(self, signature: bytes, text: str) -> int:
        time = int.from_bytes(signature[:_TIME_SIZE], "big")
        if len(signature) != _SIZE or time > _MAX_TIME:
            raise Problem("PC6005", f"the cosignature of {self.name} is malformed")
        self._check(signature[_TIME_SIZE:], _message(text, time))
        return time


class WitnessSigner(SigningKey):
    """A witness' private key and its name. It signs nothing but cosignatures."""

    VERIFIER: ClassVar[type[Verifier]] = Cosigner

    def cosign(self, text: str, time: int) -> Signature:
        """Cosign a checkpoint's text at ``time``, in whole seconds since the epoch."""
        signature = self._key.sign(_message(text, time))
        return self._signed(time.to_bytes(_TIME_SIZE, "big") + signature)
