"""The log's keys: Ed25519 for its checkpoints, one per subject for commitments; others' too.

They are sealed, in files of mode 0600 in a directory of mode 0700, made on first use. Keys in the
clear, from before they were sealed, are sealed in their place.

``commitments.key`` is of a log from before subjects had keys of their own: the commitments of
that time are under keys derived from it (HKDF-SHA256, ``portcullis/commitment/v1``). Nothing is
derived from it any more, and the first erasure destroys it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from portcullis.audit import subjects
from portcullis.audit.files import fresh, replace, sync_directory
from portcullis.audit.note import Signer, SigningKey
from portcullis.audit.subjects import SUBJECTS_FILE, SubjectKeys
from portcullis.core.errors import Problem
from portcullis.core.ports import SEALED, Sealer

SIGNER_FILE: Final = "log.key"
HANDLES_FILE: Final = "subjects.key"
DERIVED_FILE: Final = "commitments.key"
DIGESTS: Final = "shared.digests"
"""The folder, beside those of logs, of what several gateways make digests with; no log's name."""
_SIZE: Final = 32
_Key = TypeVar("_Key", bound=SigningKey)


class LogKeys(NamedTuple):
    """What the writer of a log holds and nobody else."""

    signer: Signer
    subjects: SubjectKeys


def load_keys(directory: Path, origin: str, *, create: bool, sealer: Sealer) -> LogKeys:
    """Read the keys, making them first when ``create`` is set and there are none.

    Raises Problem PC6002 when a key is missing, malformed, readable by others, or of another
    origin: a log that exists must never be continued under another key. Raises Problem PC7010
    when a key does not open.
    """
    signer = load_signer(directory, SIGNER_FILE, origin, Signer, create=create, sealer=sealer)
    files = _Files(directory, sealer)
    if create or files.has(DERIVED_FILE):
        _make_subjects(directory, files)
    opened = open_subjects(directory, sealer)
    try:
        files.reseal()
    except BaseException:
        opened.close()
        raise
    return LogKeys(signer, opened)


def open_subjects(directory: Path, sealer: Sealer) -> SubjectKeys:
    """The subjects' keys of a log that exists. Raises Problem as ``load_keys`` does."""
    try:
        handles = bytes.fromhex(_Files(directory, sealer).read(HANDLES_FILE))
    except ValueError:
        raise Problem("PC6002", f"{HANDLES_FILE} is not hexadecimal") from None
    if len(handles) != _SIZE:
        raise Problem("PC6002", f"{HANDLES_FILE} is not 32 bytes")
    if not (directory / SUBJECTS_FILE).exists():
        raise Problem("PC6002", f"{SUBJECTS_FILE} is missing")
    return SubjectKeys(directory / SUBJECTS_FILE, handles, sealer)


def shared_subjects(directory: Path, sealer: Sealer) -> SubjectKeys:
    """Keys of subjects that are of no log, made when there are none; see ``SubjectKeys.shared``.

    Several processes may begin to use them at once. Raises Problem as ``load_keys`` does, and
    PC6001 when nothing can be written there.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (directory / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _make_subjects(directory, _Files(directory, sealer))
    except OSError as error:
        raise Problem("PC6001", f"{directory.name} cannot be used: {error.strerror}") from None
    return open_subjects(directory, sealer)


def destroy_derived(directory: Path) -> bool:
    """Destroy what the keys of older commitments were derived from; False when it is not there.

    Its bytes are overwritten in place before the file is removed, as are those of a copy that
    was being sealed when a crash came. Raises Problem PC6001.
    """
    _destroy(fresh(directory / DERIVED_FILE))
    return _destroy(directory / DERIVED_FILE)


def _destroy(path: Path) -> bool:
    try:
        with path.open("r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        sync_directory(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Problem("PC6001", f"{path.name} cannot be destroyed: {error.strerror}") from None
    return True


def _make_subjects(directory: Path, files: _Files) -> None:
    """The file of the keys first: with a key in it, the handle key is never made anew."""
    path = directory / SUBJECTS_FILE
    if not files.has(HANDLES_FILE):
        if subjects.count(path, files.sealer)[0]:
            raise Problem("PC6002", f"{HANDLES_FILE} is missing")
        subjects.create(path)
        files.create(HANDLES_FILE, secrets.token_hex(_SIZE))


def load_signer(
    directory: Path, file: str, name: str, kind: type[_Key], *, create: bool, sealer: Sealer
) -> _Key:
    """Read the signing key called ``name`` in ``file``, making it first when ``create`` is set.

    An empty name is that of whatever key is there. Raises Problem PC6002 when it is missing,
    malformed, readable by others, or another's, PC7010 when it does not open.
    """
    files = _Files(directory, sealer)
    if create:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        files.create(file, kind(name, secrets.token_bytes(_SIZE)).export())
    try:
        signer = kind.parse(files.read(file))
    except Problem as problem:
        if problem.code in {"PC6002", "PC7010"}:
            raise
        raise Problem("PC6002", f"{file} cannot be used: {problem.detail}") from None
    if name and signer.name != name:
        raise Problem("PC6002", f"{file} is the key of {signer.name}, not of {name}")
    return signer


def reseal(directory: Path, sealer: Sealer) -> None:
    """Bring the keys in ``directory`` under the newest version of the key manager.

    Raises Problem PC6002 for a key that is missing or readable by others, PC6001 when one cannot
    be written, PC7010 when one does not open; what was not reached stays as it is.
    """
    try:
        files = _Files(directory, sealer)
        files.reseal()
        if files.has(DERIVED_FILE) and not files.has(HANDLES_FILE):
            return  # from before subjects had keys, and not opened since
        opened = open_subjects(directory, sealer)
        try:
            opened.reseal()
        finally:
            opened.close()
    except OSError as error:
        raise Problem("PC6001", f"the log's keys cannot be written: {error.strerror}") from None


class _Files:
    """The key files of one log. Each is sealed for its folder's name and its own."""

    def __init__(self, directory: Path, sealer: Sealer) -> None:
        self._directory = directory
        self.sealer = sealer

    def create(self, name: str, text: str) -> None:
        """Make a key file durable; one that exists is kept."""
        if not self.has(name):
            self._write(name, text)

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self._directory / name).exists()

    def read(self, name: str) -> str:
        """The key, without the white space around it."""
        content = self._content(name)
        if content.startswith(SEALED):
            content = self.sealer.open(content, self._purpose(name))
        try:
            return content.decode("ascii").strip()
        except UnicodeDecodeError:
            raise Problem("PC6002", f"{name} is not text") from None

    def reseal(self) -> None:
        """Seal what is in the clear or under an older version of the key manager."""
        for name in self._names():
            content = self._content(name)
            if not (content.startswith(SEALED) and self.sealer.current(content)):
                self._write(name, self.read(name))

    def _names(self) -> list[str]:
        """The log's signing key, there or not, and whatever else is kept beside it.

        What is of no log has none.
        """
        beside = {path.name for path in self._directory.glob("*.key")}
        return sorted(beside if self._directory.name == DIGESTS else beside | {SIGNER_FILE})

    def _write(self, name: str, text: str) -> None:
        sealed = self.sealer.seal(f"{text}\n".encode(), self._purpose(name))
        replace(self._directory / name, sealed, mode=0o600)
        sync_directory(self._directory)

    def _content(self, name: str) -> bytes:
        try:
            with (self._directory / name).open("rb") as stream:
                if os.fstat(stream.fileno()).st_mode & 0o077:
                    raise Problem("PC6002", f"{name} is readable by others (chmod 600)")
                return stream.read()
        except OSError:
            raise Problem("PC6002", f"{name} is missing or unreadable") from None

    def _purpose(self, name: str) -> str:
        return f"file:{self._directory.name}/{name}"
