"""What the approver sees, as it lies in the store: sealed for its own approval."""

from __future__ import annotations

from typing import Final

import msgspec

from portcullis.core.approval import Shown
from portcullis.core.ports import Sealer

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Shown).decode


def seal(sealer: Sealer, approval_id: str, shown: Shown) -> bytes:
    """Seal it."""
    return sealer.seal(_encode(shown), _purpose(approval_id))


def unseal(sealer: Sealer, approval_id: str, sealed: bytes) -> Shown | None:
    """What was sealed, None when it is gone. Raises Problem PC7010 when it does not open."""
    return _decode(sealer.open(sealed, _purpose(approval_id))) if sealed else None


def _purpose(approval_id: str) -> str:
    return f"approvals:{approval_id}"
