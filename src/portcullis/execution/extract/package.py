"""ZIP packages: entries as they are declared, read as they really are, both within bounds."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

from portcullis.execution.extract.kinds import Opaque

MAX_ENTRIES: Final = 4096
MAX_BYTES: Final = 64 * 2**20
"""Most bytes of all entries together, unpacked."""

DAMAGED: Final = "an archive that is not understood"
_END: Final = b"PK\5\6"
_END_BYTES: Final = 22
"""An end record without a comment, in which something else could stand."""
_ENCRYPTED: Final = 0x1


class Package:
    """The entries of a package. Raises Opaque for what two readers could read differently."""

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = ZipFile(BytesIO(data))
            entries = self._zip.infolist()
        except (BadZipFile, LargeZipFile, ValueError, NotImplementedError):
            raise Opaque(DAMAGED) from None
        if len(entries) > MAX_ENTRIES:
            raise Opaque(f"more than {MAX_ENTRIES} entries")
        if sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise Opaque(f"more than {MAX_BYTES} bytes when unpacked")
        self._entries = {entry.filename: entry for entry in entries if not entry.is_dir()}
        ends = data[-_END_BYTES:].startswith(_END)
        if not ends or min((e.header_offset for e in entries), default=0) != 0:
            raise Opaque(DAMAGED)
        lower = {name.lower() for name in self._entries}
        if len(lower) != sum(not entry.is_dir() for entry in entries):
            raise Opaque("an archive that names an entry twice")
        for entry in entries:
            if entry.flag_bits & _ENCRYPTED:
                raise Opaque("an encrypted archive")
            if entry.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
                raise Opaque(DAMAGED)
        self._left = MAX_BYTES

    def names(self) -> Iterator[str]:
        """The names of all entries but directories."""
        return iter(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def read(self, name: str) -> bytes:
        """An entry, unpacked. Raises Opaque when it is not what it was declared to be."""
        entry: ZipInfo = self._entries[name]
        try:
            with self._zip.open(entry) as stream:
                data = stream.read(entry.file_size + 1)
        except (BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError):
            raise Opaque(DAMAGED) from None
        self._left -= len(data)
        if len(data) != entry.file_size or self._left < 0:
            raise Opaque(DAMAGED)
        return data
