"""A witness (C2SP tlog-witness): cosigns what it has verified to be consistent, and nothing else.

The rule is ``judge``, which is pure. ``Witness`` keeps, per log, the last checkpoint it cosigned,
with its own cosignature: one file each, durable before the cosignature leaves. ``origins`` lists
whom it has cosigned for. So a file that was deleted or exchanged is missed, and the witness does
not start (Problem PC6008): to begin anew under the same key would be to cosign a second history.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec

from portcullis.audit.checkpoint import Checkpoint, is_size, open_checkpoint
from portcullis.audit.cosignature import Cosigner, WitnessSigner
from portcullis.audit.files import read, replace, sync_directory
from portcullis.audit.journal import lock
from portcullis.audit.keys import load_signer
from portcullis.audit.merkle import EMPTY_ROOT, HASH_SIZE
from portcullis.audit.note import MAX_NOTE, Note, Verifier, decode64, parse_note
from portcullis.audit.proofs import verify_consistency
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Sealer

MAX_BODY: Final = 1 << 16
"""The largest request, in bytes: 63 hashes, and a checkpoint with room for many signatures."""
KEY_FILE: Final = "witness.key"
VKEY: Final = "witness.vkey"
_ORIGINS: Final = "origins"
_SEEN: Final = "seen"
_MAX_PROOF: Final = 63
_MAX_ORIGINS: Final = 1 << 20


class Request(msgspec.Struct, frozen=True):
    """The body of an add-checkpoint: what the log thinks was seen last, a proof, a checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes


class Refusal(msgspec.Struct, frozen=True):
    """Why there is no cosignature: an HTTP status, a reason, and with 409 the size last seen."""

    status: int
    reason: str
    size: int | None = None


def parse_request(body: bytes) -> Request:
    """Read the body of an add-checkpoint request, or raise Problem PC6005."""
    head, gap, note = body.partition(b"\n\n")
    try:
        first, *rest = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise Problem("PC6005", "the request is not one of tlog-witness") from None
    word, _, old = first.partition(" ")
    if not gap or word != "old" or not is_size(old) or len(rest) > _MAX_PROOF:
        raise Problem("PC6005", "the request is not one of tlog-witness")
    proof = tuple(map(decode64, rest))
    if any(len(item) != HASH_SIZE for item in proof):
        raise Problem("PC6005", "the request's proof is not a list of hashes")
    return Request(int(old), proof, note)


def judge(request: Request, new: Checkpoint, seen: Checkpoint | None) -> Refusal | None:
    """Why ``new``, a checkpoint whose signature is good, is not cosigned; None when it is.

    ``seen`` is the last one that was cosigned for its origin.
    """
    seen = seen or Checkpoint(new.origin, 0, EMPTY_ROOT)
    if request.old > new.size:
        return Refusal(400, "the old size is beyond the checkpoint's")
    if request.old != seen.size:
        return Refusal(409, "the old size is not the one last seen", seen.size)
    if new.size == seen.size and new.root != seen.root:
        return Refusal(409, "another tree of this size was seen", seen.size)
    if not verify_consistency(seen.size, new.size, request.proof, seen.root, new.root):
        return Refusal(422, "the proof does not show that the log only grew")
    return None


class Witness:
    """One witness and its state. Made by ``open_witness``; safe to call from many threads."""

    def __init__(
        self,
        directory: Path,
        signer: WitnessSigner,
        logs: Mapping[str, Sequence[Verifier]],
        clock: Clock,
        held: int,
    ) -> None:
        self._directory = directory
        self._signer = signer
        self._logs = logs
        self._clock = clock
        self._held = held
        self._locks = {origin: Lock() for origin in logs}
        self._listing = Lock()
        self._origins = _listed(directory)
        self._seen = {
            origin: seen
            for origin, keys in logs.items()
            if (seen := self._load(origin, keys)) is not None
        }

    @property
    def vkey(self) -> str:
        """The verifier key by which others know this witness."""
        return str(self._signer.verifier)

    def seen(self, origin: str) -> Checkpoint | None:
        """The checkpoint of a log that was cosigned last, if one was."""
        return self._seen.get(origin, (None, 0))[0]

    def add(self, body: bytes) -> str | Refusal:
        """Cosign a checkpoint, durably: the signature line, or why not. Blocks.

        Raises OSError when the disk refuses: then nothing was cosigned.
        """
        try:
            request = parse_request(body)
            note = parse_note(request.note)
        except Problem as problem:
            return Refusal(400, problem.detail)
        origin = note.text.partition("\n")[0]
        keys = self._logs.get(origin)
        if keys is None:
            return Refusal(404, "the origin is not one of ours")
        key = _signed(note, keys)
        if key is None:
            return Refusal(403, "the checkpoint is not signed by a key that we know for its origin")
        try:
            new = open_checkpoint(request.note, key)
        except Problem as problem:
            return Refusal(400, problem.detail)
        with self._locks[origin]:
            return self._cosign(request, new, note, key)

    def close(self) -> None:
        """Let another process have the state."""
        os.close(self._held)

    def _cosign(
        self, request: Request, new: Checkpoint, note: Note, key: Verifier
    ) -> str | Refusal:
        seen, last = self._seen.get(new.origin, (None, 0))
        refusal = judge(request, new, seen)
        if refusal is not None:
            return refusal
        now = int(self._clock.now())
        if now < last:
            return Refusal(503, "the witness' clock is behind its last cosignature")
        cosignature = self._signer.cosign(note.text, now)
        # one line of the log's: as many as it likes would not be read back
        kept = Note(note.text, (key.own(note)[0], cosignature))
        replace(_place(self._directory, new.origin), bytes(kept), mode=0o600)
        sync_directory(self._directory / _SEEN)
        self._list(new.origin)
        self._seen[new.origin] = new, now
        return cosignature.line()

    def _list(self, origin: str) -> None:
        with self._listing:
            if origin not in self._origins:
                listed = sorted(self._origins | {origin})
                _write_origins(self._directory, listed)
                self._origins = frozenset(listed)

    def _load(self, origin: str, keys: Sequence[Verifier]) -> tuple[Checkpoint, int] | None:
        """What was cosigned last for an origin, and when."""
        try:
            data = read(_place(self._directory, origin), MAX_NOTE)
        except FileNotFoundError:
            if origin in self._origins:
                raise Problem("PC6008", f"the state of {origin} is missing") from None
            return None
        except OSError as error:
            raise Problem("PC6008", f"the state of {origin}: {error.strerror}") from None
        own = Cosigner(self._signer.name, self._signer.verifier.public)
        try:
            note = parse_note(data)
            time, key = own.cosigned(note), _signed(note, keys)
            if time is None or key is None:
                raise Problem("PC6005", "not signed by the log and by this witness")
            seen = open_checkpoint(data, key)
        except Problem as problem:
            raise Problem("PC6008", f"the state of {origin}: {problem.detail}") from None
        if seen.origin != origin:
            raise Problem("PC6008", f"the state of {origin} is another's")
        return seen, time


def open_witness(
    directory: Path,
    name: str,
    logs: Mapping[str, Sequence[Verifier]],
    *,
    sealer: Sealer,
    clock: Clock,
) -> Witness:
    """Open a witness called ``name`` for ``logs`` (by origin), making key and state at first.

    The name may be empty when there is a key: it says its name. Raises Problem PC6008 when only
    one of key and state is there, or the state is damaged; PC6002 for a key that cannot be used,
    PC6003 while another process is this witness, PC7010 when the key does not open, PC7001 or
    PC7004 for an impossible name.
    """
    new = not (directory / KEY_FILE).exists()
    if not new and not (directory / _ORIGINS).exists():
        raise Problem("PC6008", f"{KEY_FILE} is there, but not what was seen under it")
    if new and (directory / _ORIGINS).exists() and _listed(directory):
        raise Problem("PC6008", f"{KEY_FILE} is gone; what was seen under it is there")
    if new and not name:
        raise Problem("PC7004", "a new witness needs a name", hint="Such as `example.org/w1`.")
    (directory / _SEEN).mkdir(mode=0o700, parents=True, exist_ok=True)
    held = lock(directory)
    try:
        if new:  # the list first: a key without a list means a loss
            _write_origins(directory, [])
        signer = load_signer(directory, KEY_FILE, name, WitnessSigner, create=new, sealer=sealer)
        replace(directory / VKEY, f"{signer.verifier}\n".encode())
        return Witness(directory, signer, logs, clock, held)
    except BaseException:
        os.close(held)
        raise


def _signed(note: Note, keys: Sequence[Verifier]) -> Verifier | None:
    """The key of a log that signed the note, if one did."""
    for key in keys:
        try:
            key.open(bytes(note))
        except Problem:
            continue
        return key
    return None


def _place(directory: Path, origin: str) -> Path:
    return directory / _SEEN / sha256(origin.encode()).hexdigest()


def _listed(directory: Path) -> frozenset[str]:
    try:
        return frozenset(read(directory / _ORIGINS, _MAX_ORIGINS).decode().split("\n")[:-1])
    except (OSError, UnicodeDecodeError):
        raise Problem("PC6008", "the list of the logs it has cosigned for cannot be read") from None


def _write_origins(directory: Path, origins: Sequence[str]) -> None:
    replace(directory / _ORIGINS, "".join(f"{origin}\n" for origin in origins).encode(), mode=0o600)
    sync_directory(directory)
