"""The archive of a bundle: a gzipped tar, the same bytes for the same files, read within bounds."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from typing import Final

from portcullis.core.errors import Problem

MEDIA_TYPE: Final = "application/vnd.openpolicyagent.bundles"
"""The type of an answer by which a server says that it waits when it is asked to."""
MAX_ARCHIVE: Final = 16 * 2**20
"""The longest archive that is read, in bytes."""
MAX_CONTENT: Final = 64 * 2**20
"""The most that its files have together, in bytes."""
MAX_FILES: Final = 8192
_MAX_NAME: Final = 512


def pack(files: dict[str, bytes]) -> bytes:
    """The archive of files by name. Names begin with a slash in it, as OPA writes them."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, body in sorted(files.items()):
            entry = tarfile.TarInfo(f"/{name}")
            entry.size, entry.mode = len(body), 0o644
            tar.addfile(entry, io.BytesIO(body))
    return gzip.compress(plain.getvalue(), mtime=0)


def unpack(archive: bytes) -> dict[str, bytes]:
    """The files of an archive by name, without what stands before them (``/``, ``./``).

    Raises Problem PC7037 for what is no archive, is larger than its bounds, has a name twice, or
    anything that is neither a file nor a folder.
    """
    if len(archive) > MAX_ARCHIVE:
        raise Problem("PC7037", f"the bundle is larger than {MAX_ARCHIVE} bytes")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(archive)) as packed:
            plain = packed.read(MAX_CONTENT + 1)
        if len(plain) > MAX_CONTENT:
            raise Problem("PC7037", f"the bundle's files have more than {MAX_CONTENT} bytes")
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
            return _files(tar)
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, RecursionError):
        raise Problem("PC7037", "the bundle is not a gzipped tar archive") from None


def _files(tar: tarfile.TarFile) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    left = MAX_CONTENT
    for count, entry in enumerate(tar, 1):
        if count > MAX_FILES:
            raise Problem("PC7037", f"the bundle has more than {MAX_FILES} entries")
        if entry.isdir():
            continue
        name = entry.name.removeprefix("./").lstrip("/")
        parts = name.split("/")
        plain = entry.isreg() and not entry.issparse()
        if not plain or not name or len(name) > _MAX_NAME or {"", ".", ".."} & {*parts}:
            raise Problem("PC7037", "the bundle has something that is no plain file")
        left -= entry.size  # what it says; of a sparse file, which has holes, that is any number
        if left < 0:
            raise Problem("PC7037", f"the bundle's files have more than {MAX_CONTENT} bytes")
        opened = tar.extractfile(entry)
        if name in found or opened is None:
            raise Problem("PC7037", "the bundle has a file twice")
        found[name] = opened.read()
    return found
