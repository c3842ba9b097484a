"""The key-encryption keys in a file of mode 0600, one in hexadecimal per line, newest last."""

from __future__ import annotations

from typing import ClassVar, Final

from portcullis.core.errors import Problem
from portcullis.identity.keymanager.ring import KEY_BYTES, RingKeyManager

_TITLE: Final = (
    "# Portcullis's key-encryption keys, oldest first. Whoever reads this opens all that is sealed."
)


class FileKeyManager(RingKeyManager):
    """Keys as they are: as safe as the place where the file lies."""

    kind: ClassVar[str] = "file"

    def _encode(self, keys: tuple[bytes, ...]) -> bytes:
        return "".join(f"{line}\n" for line in (_TITLE, *(key.hex() for key in keys))).encode()

    def _decode(self, content: bytes) -> tuple[bytes, ...]:
        lines = [line.strip() for line in content.splitlines()]
        try:
            keys = tuple(
                bytes.fromhex(line.decode("ascii"))
                for line in lines
                if line and not line.startswith(b"#")
            )
        except ValueError:
            keys = ()
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise Problem("PC7010", f"{self._path} does not hold keys of 32 bytes in hexadecimal")
        return keys
