"""The log is hashed as RFC 6962 says: pymerkle, which nobody here wrote, finds the same tree."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import ConsistencyProof, InmemoryTree, InvalidProof
from pymerkle import verify_consistency as their_consistency
from pymerkle import verify_inclusion as their_inclusion

from audit_logs import Log, event
from portcullis.audit import merkle
from portcullis.audit.checkpoint import Checkpoint, open_checkpoint
from portcullis.audit.merkle import TILE_WIDTH, leaf_hash
from portcullis.audit.proofs import (
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from portcullis.audit.tiles import TileReader
from portcullis.audit.verify import verify

CHANCE = random.Random(6962)
SIZES = sorted(
    {1, 2, 3, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537}
    | {CHANCE.randrange(4, 65_535) for _ in range(5)}
)
LAST = SIZES[-1]


class Both:
    """One log as we wrote it and as pymerkle sees its entries."""

    def __init__(self, root: Path, sizes: list[int]) -> None:
        self.signed: dict[int, Checkpoint] = {}
        self.entries: list[bytes] = []
        self.tree = InmemoryTree("sha256")
        self.log = Log(root)
        for size in sizes:
            with self.log.open() as log:
                for number in range(log.size, size):
                    log.enqueue(event(f"{number}"))
            note = (self.log.directory / "checkpoint").read_bytes()
            self.signed[size] = open_checkpoint(note, self.log.verifier)
            self.reader = TileReader(self.log.directory, size)
            self._read(size)

    def _read(self, size: int) -> None:
        """Give pymerkle the bytes of the entries, as they lie in the published bundles."""
        first = len(self.entries) // TILE_WIDTH
        for index in range(first, -(-size // TILE_WIDTH)):
            entries = self.reader.entries(index)
            self.entries += entries[len(self.entries) - index * TILE_WIDTH :]
        for number in range(self.tree.get_size(), size):
            self.tree.append_entry(self.entries[number])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(tmp_path_factory.mktemp("log"), SIZES)


def in_rfc6962(proof: ConsistencyProof) -> list[bytes]:
    """A proof of pymerkle between different sizes, as RFC 6962 section 2.1.2 writes it.

    pymerkle's begins with the first new leaf, and goes up to the subtree that stands beside the
    last old one; the RFC's has that subtree alone, and leaves out an old tree that is complete.
    """
    old = proof.subset.index(1)
    new = proof.path[0]
    for bit, sibling in zip(proof.rule, proof.path[1:old], strict=False):
        pair = (sibling, new) if bit else (new, sibling)
        new = proof.hasher.hash_pair(*pair)
    rest = proof.path[old + 1 :]
    return [new, *rest] if sum(proof.subset) == 1 else [proof.path[old], new, *rest]


def flipped(data: bytes, bit: int) -> bytes:
    """The same with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_pymerkle_hashes_with_the_prefixes_of_rfc_6962() -> None:
    tree = InmemoryTree("sha256")
    assert tree.get_root() == hashlib.sha256(b"").digest() == merkle.EMPTY_ROOT
    left, right = (hashlib.sha256(b"\0" + leaf).digest() for leaf in (b"", b"a"))
    tree.append_entries([b"", b"a"])
    assert (tree.get_leaf(1), tree.get_leaf(2)) == (left, right)
    assert tree.get_root() == hashlib.sha256(b"\1" + left + right).digest()


@pytest.mark.parametrize("size", SIZES)
def test_every_signed_root_is_the_one_that_pymerkle_finds_over_the_entries(
    both: Both, size: int
) -> None:
    signed = both.signed[size]
    assert (signed.size, signed.root) == (size, both.tree.get_root(size))


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257])
def test_one_bit_of_one_entry_gives_another_root(both: Both, size: int) -> None:
    for number in {0, size // 2, size - 1}:
        other = InmemoryTree("sha256")
        entries = both.entries[:size]
        entries[number] = flipped(entries[number], CHANCE.randrange(len(entries[number]) * 8))
        other.append_entries(entries)
        assert other.get_root() != both.signed[size].root


@pytest.mark.parametrize("prefix", [0, 1])
def test_a_log_whose_hash_is_not_that_of_rfc_6962_is_found_by_pymerkle_alone(
    prefix: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sha256(data: bytes = b"") -> hashlib._Hash:
        return hashlib.sha256(flipped(data, 1) if data[:1] == bytes([prefix]) else data)

    monkeypatch.setattr(merkle, "sha256", sha256)
    both = Both(tmp_path, [300])
    assert verify(both.log.directory, both.log.verifier).ok
    assert both.signed[300].root != both.tree.get_root()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_inclusion_proofs_are_the_same_and_each_verifies_the_others(
    both: Both, data: st.DataObject
) -> None:
    size = data.draw(st.sampled_from(SIZES) | st.integers(1, LAST), label="size")
    index = data.draw(st.integers(0, size - 1), label="index")
    bit = data.draw(st.integers(0, 255), label="bit")
    reader, root = TileReader(both.log.directory, LAST), both.tree.get_root(size)
    theirs = both.tree.prove_inclusion(index + 1, size)
    leaf = leaf_hash(both.entries[index])
    ours = inclusion_proof(reader.node, index, size)
    assert theirs.path == [leaf, *ours]
    assert verify_inclusion(leaf, index, size, theirs.path[1:], root)
    where = {"index": index + 1, "size": size}
    their_inclusion(leaf, root, theirs, **where)
    for changed in ((flipped(leaf, bit), root), (leaf, flipped(root, bit))):
        with pytest.raises(InvalidProof):
            their_inclusion(*changed, theirs, **where)
    if ours:
        place = 1 + data.draw(st.integers(0, len(ours) - 1), label="place")
        theirs.path[place] = flipped(theirs.path[place], bit)
        with pytest.raises(InvalidProof):
            their_inclusion(leaf, root, theirs, **where)
        assert not verify_inclusion(leaf, index, size, theirs.path[1:], root)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_consistency_proofs_are_the_same_and_each_verifies_the_others(
    both: Both, data: st.DataObject
) -> None:
    sizes = st.sampled_from(SIZES) | st.integers(1, LAST)
    old, new = sorted(data.draw(st.lists(sizes, min_size=2, max_size=2, unique=True)))
    bit = data.draw(st.integers(0, 255), label="bit")
    reader = TileReader(both.log.directory, LAST)
    roots = both.tree.get_root(old), both.tree.get_root(new)
    theirs = both.tree.prove_consistency(old, new)
    where = {"prior_size": old, "later_size": new}
    their_consistency(*roots, theirs, **where)
    ours = consistency_proof(reader.node, old, new)
    assert in_rfc6962(theirs) == ours
    assert verify_consistency(old, new, in_rfc6962(theirs), *roots)
    for changed in ((flipped(roots[0], bit), roots[1]), (roots[0], flipped(roots[1], bit))):
        with pytest.raises(InvalidProof):
            their_consistency(*changed, theirs, **where)
    place = data.draw(st.integers(0, len(theirs.path) - 1), label="place")
    theirs.path[place] = flipped(theirs.path[place], bit)
    with pytest.raises(InvalidProof):
        their_consistency(*roots, theirs, **where)
    place = data.draw(st.integers(0, len(ours) - 1), label="ours")
    ours[place] = flipped(ours[place], bit)
    assert not verify_consistency(old, new, ours, *roots)
