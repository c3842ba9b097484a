"""Proofs hold for what is in the tree and for nothing else."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.audit.merkle import fold
from portcullis.audit.proofs import (
    consistency_proof,
    inclusion_proof,
    subtree,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [sha256(b"\0" + n.to_bytes(4, "big")).digest() for n in range(700)]
FORGED = sha256(b"forged").digest()


def node(level: int, index: int) -> bytes:
    return fold(LEAVES[index << level : (index + 1) << level])


sizes = st.integers(1, len(LEAVES))


@st.composite
def positions(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(sizes)
    return draw(st.integers(0, size - 1)), size


@settings(max_examples=200, deadline=None)
@given(positions())
def test_every_entry_can_be_proven(position: tuple[int, int]) -> None:
    index, size = position
    root = fold(LEAVES[:size])
    assert subtree(node, 0, size) == root
    assert verify_inclusion(LEAVES[index], index, size, inclusion_proof(node, index, size), root)


@settings(max_examples=200, deadline=None)
@given(positions(), st.data())
def test_a_changed_inclusion_proof_never_verifies(
    position: tuple[int, int], data: st.DataObject
) -> None:
    index, size = position
    root = fold(LEAVES[:size])
    proof = inclusion_proof(node, index, size)
    assert not verify_inclusion(FORGED, index, size, proof, root)
    assert not verify_inclusion(LEAVES[index], index, size, proof, FORGED)
    assert not verify_inclusion(LEAVES[index], index, size, [*proof, FORGED], root)
    other = data.draw(st.integers(-2, size + 2).filter(lambda n: n != index))
    assert not verify_inclusion(LEAVES[index], other, size, proof, root)
    if proof:
        assert not verify_inclusion(LEAVES[index], index, size, proof[:-1], root)
        place = data.draw(st.integers(0, len(proof) - 1))
        changed = [*proof[:place], FORGED, *proof[place + 1 :]]
        assert not verify_inclusion(LEAVES[index], index, size, changed, root)


@settings(max_examples=200, deadline=None)
@given(sizes, sizes)
def test_every_prefix_is_consistent(one: int, other: int) -> None:
    old, new = sorted((one, other))
    proof = consistency_proof(node, old, new)
    assert verify_consistency(old, new, proof, fold(LEAVES[:old]), fold(LEAVES[:new]))


@settings(max_examples=200, deadline=None)
@given(sizes, sizes, st.data())
def test_a_rewritten_history_is_never_consistent(one: int, other: int, data: st.DataObject) -> None:
    old, new = sorted((one, other))
    proof = consistency_proof(node, old, new)
    old_root, new_root = fold(LEAVES[:old]), fold(LEAVES[:new])
    assert not verify_consistency(old, new, proof, FORGED, new_root)
    assert not verify_consistency(old, new, proof, old_root, FORGED)
    assert not verify_consistency(old, new, [*proof, FORGED], old_root, new_root)
    assert not verify_consistency(new, old, proof, new_root, old_root) or old == new
    if proof:
        assert not verify_consistency(old, new, proof[:-1], old_root, new_root)
        place = data.draw(st.integers(0, len(proof) - 1))
        changed = [*proof[:place], FORGED, *proof[place + 1 :]]
        assert not verify_consistency(old, new, changed, old_root, new_root)


def test_the_empty_tree_is_a_prefix_of_every_tree() -> None:
    assert verify_consistency(0, 5, [], fold([]), fold(LEAVES[:5]))
    assert not verify_consistency(0, 5, [], FORGED, fold(LEAVES[:5]))
    assert not verify_consistency(0, 5, [FORGED], fold([]), fold(LEAVES[:5]))
