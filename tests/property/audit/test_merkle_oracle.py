"""Our tree and pymerkle's have one root, however many leaves there are and however they came."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from portcullis.audit.merkle import Tree, fold, leaf_hash, leaf_hashes

MOST = 2_000


def grown(entries: list[bytes], cuts: list[int]) -> Tree:
    """The tree over the entries, appended in pieces, with a restart between two of them."""
    tree = Tree()
    for start, end in zip([0, *cuts], [*cuts, len(entries)], strict=True):
        stored = {(tile.level, tile.index): tile.hashes for tile in tree.partial()}
        tree = Tree.resume(tree.size, lambda level, index, kept=stored: kept[level, index])
        tree.append(leaf_hashes(entries[start:end]))
    return tree


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, MOST) | st.sampled_from([255, 256, 257, 511, 512, 513]),
    st.binary(max_size=40),
    st.data(),
)
def test_both_trees_have_one_root_and_one_bit_of_a_leaf_changes_it(
    size: int, salt: bytes, data: st.DataObject
) -> None:
    entries = [salt + b"%d" % number for number in range(size)]
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=5), label="cuts"))
    theirs = InmemoryTree("sha256")
    theirs.append_entries(entries)
    assert grown(entries, cuts).root() == fold(leaf_hashes(entries)) == theirs.get_root()
    if not size:
        return
    number = data.draw(st.integers(0, size - 1), label="changed")
    bit = data.draw(st.integers(0, len(entries[number]) * 8 - 1), label="bit")
    changed = bytearray(entries[number])
    changed[bit // 8] ^= 1 << bit % 8
    entries[number] = bytes(changed)
    assert theirs.get_leaf(number + 1) != leaf_hash(entries[number])
    assert grown(entries, cuts).root() != theirs.get_root()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=64), min_size=1, max_size=300), st.data())
def test_both_agree_on_every_earlier_root_too(entries: list[bytes], data: st.DataObject) -> None:
    theirs = InmemoryTree("sha256")
    theirs.append_entries(entries)
    size = data.draw(st.integers(0, len(entries)), label="size")
    assert grown(entries[:size], []).root() == theirs.get_root(size)
