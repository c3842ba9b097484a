"""An SVID kept in files, which is done only when it is asked for: ``svid.pem``, ``bundle.pem``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from portcullis.client.svid import Svid, svid
from portcullis.core.errors import Problem
from portcullis.wire.certificates import der, pem

_END: Final = "-----END PRIVATE KEY-----\n"


class Saved:
    """A directory (0700) that holds one SVID; every file in it is 0600 and replaced whole.

    ``svid.pem`` is the key and the chain, as ``curl --cert`` and most others take it;
    ``bundle.pem`` are the authorities, as ``curl --cacert`` takes them.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, now: float) -> Svid | None:
        """What was stored, or None. Raises Problem PC7010 when it cannot be read."""
        try:
            text = (self._directory / "svid.pem").read_text(encoding="ascii")
            roots = (self._directory / "bundle.pem").read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(error) from None
        key, end, chain = text.partition(_END)
        try:
            return svid(der(chain), (key + end).encode("ascii"), der(roots), now)
        except (ValueError, Problem) as error:
            raise _unreadable(error) from None

    def store(self, found: Svid) -> None:
        """Keep an SVID. Raises Problem PC7010 when that fails."""
        key = found.key.decode("ascii")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write("bundle.pem", pem(found.roots))
            self._write("svid.pem", key + pem(found.chain))
        except OSError as error:
            detail = f"the SVID cannot be saved ({error.strerror})"
            raise Problem("PC7010", detail, hint="Check --save.") from None

    def _write(self, name: str, text: str) -> None:
        unfinished = self._directory / f".{name}.{os.getpid()}"
        unfinished.unlink(missing_ok=True)
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._directory / name)


def _unreadable(error: Exception) -> Problem:
    detail = f"what was saved there is not an SVID ({type(error).__name__})"
    return Problem("PC7010", detail, hint="Remove the directory given to --save.")
