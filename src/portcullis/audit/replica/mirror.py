"""A mirror: a copy made by another party, verified before it is stored, and cosigned then.

What it saw last, and its key, are those of a witness (``witness``): so a source that forks or goes
back is refused, and a state that is lost is noticed. Its store holds the log as C2SP tlog-tiles,
with a checkpoint that log and mirror have signed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.merkle import EMPTY_ROOT
from portcullis.audit.note import (
    MAX_SIGNATURES,
    Verifier,
    encode64,
    parse_note,
    parse_signatures,
)
from portcullis.audit.proofs import consistency_proof
from portcullis.audit.quorum import Quorum
from portcullis.audit.replica.copy import Copy, Lock
from portcullis.audit.replica.source import Fetch, FetchedTiles, fetch_checkpoint, tree_at
from portcullis.audit.witness import Refusal, Witness
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.record_ports import ObjectStore

_LATER: Final = 503


class Mirrored(msgspec.Struct, frozen=True, kw_only=True):
    """One round: how many entries the mirror has, and how many of them are new."""

    origin: str
    size: int
    added: int
    cosigned_at: int


class Mirror:
    """Copies ``verifier``'s log into a store. With ``quorum``, only what it has cosigned.

    Raises Problem PC6006 for the policy of other logs.
    """

    def __init__(
        self,
        source: Fetch,
        store: ObjectStore,
        witness: Witness,
        verifier: Verifier,
        *,
        clock: Clock,
        quorum: Quorum | None = None,
        lock: Lock = lambda: None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        if quorum and not quorum.admits(verifier):
            raise Problem("PC6006", f"no log line has the key of {verifier.name}: {verifier}")
        self._source = source
        self._store = store
        self._witness = witness
        self._verifier = verifier
        self._clock = clock
        self._quorum = quorum
        self._copy = Copy(store, lock=lock, progress=progress)

    def step(self) -> Mirrored:
        """Bring the mirror up to its source, once.

        Raises Problem PC6005 when the source, or what the mirror holds, does not verify: nothing
        was changed that its readers see. PC6007 when the source has no quorum, PC6021 when source
        or store cannot be used, PC6020 when something else lies in the store.
        """
        signed, note = fetch_checkpoint(self._source, self._verifier)
        if len(parse_note(note).signatures) >= MAX_SIGNATURES:
            raise Problem("PC6005", "the checkpoint has no room for the mirror's cosignature")
        if self._quorum and not self._quorum.met(note, self._clock.now()).met:
            raise Problem("PC6007", f"the checkpoint of {signed.size} entries is not cosigned")
        seen = self._seen()
        if signed.size < seen.size:
            raise Problem(
                "PC6005", f"the source has {signed.size} entries, {seen.size} were mirrored"
            )
        tree = tree_at(FetchedTiles(self._store.get, seen.size), seen.size)
        if tree.root() != seen.root:
            raise Problem("PC6005", "what the mirror holds is not what it cosigned")
        self._copy.extend(tree, FetchedTiles(self._source, signed.size), signed)
        self._copy.publish(self._cosigned(seen, signed, note), seen.size, signed.size)
        return Mirrored(
            origin=signed.origin,
            size=signed.size,
            added=signed.size - seen.size,
            cosigned_at=int(self._clock.now()),
        )

    def _seen(self) -> Checkpoint:
        seen = self._witness.seen(self._verifier.name)
        return seen or Checkpoint(self._verifier.name, 0, EMPTY_ROOT)

    def _cosigned(self, seen: Checkpoint, signed: Checkpoint, note: bytes) -> bytes:
        """The note with our cosignature, which is durable."""
        node = FetchedTiles(self._store.get, signed.size).node
        proof = map(encode64, consistency_proof(node, seen.size, signed.size))
        head = "\n".join((f"old {seen.size}", *proof, "", ""))
        try:
            line = self._witness.add(head.encode() + note)
        except OSError as error:
            raise Problem("PC7005", f"the mirror's state: {error.strerror}") from None
        if isinstance(line, Refusal):
            raise Problem("PC6021" if line.status == _LATER else "PC6005", line.reason)
        whole, (ours,) = parse_note(note), parse_signatures(line)
        others = [one for one in whole.signatures if one[:2] != ours[:2]]
        return bytes(whole._replace(signatures=(*others, ours)))
