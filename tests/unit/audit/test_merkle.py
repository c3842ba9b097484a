from __future__ import annotations

import pytest

from portcullis.audit.merkle import EMPTY_ROOT, Tree, fold, leaf_hash

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [  # the test vectors of the Certificate Transparency reference implementation
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_an_empty_log_has_the_root_of_rfc_6962() -> None:
    assert Tree().root() == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference_implementation(size: int) -> None:
    tree = Tree()
    tree.append([leaf_hash(leaf) for leaf in LEAVES[:size]])
    assert tree.root().hex() == ROOTS[size - 1]


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 513, 65535, 65536, 65537, 66000])
def test_tiles_and_root_agree_around_every_tile_boundary(size: int) -> None:
    leaves = [leaf_hash(n.to_bytes(4, "big")) for n in range(size)]
    tree = Tree()
    tiles = tree.append(leaves) + tree.partial()
    assert tree.root() == fold(leaves)
    level0 = sorted((t for t in tiles if t.level == 0), key=lambda t: t.index)
    assert [h for t in level0 for h in t.hashes] == leaves
    for level in (1, 2):
        expected = [
            fold(leaves[n * 256**level : (n + 1) * 256**level]) for n in range(size // 256**level)
        ]
        row = sorted((t for t in tiles if t.level == level), key=lambda t: t.index)
        assert [h for t in row for h in t.hashes] == expected
        assert [t.index for t in row] == list(range(-(-len(expected) // 256)))


def test_a_resumed_tree_goes_on_as_if_it_had_never_stopped() -> None:
    leaves = [leaf_hash(n.to_bytes(4, "big")) for n in range(70_000)]
    whole, first = Tree(), Tree()
    whole.append(leaves)
    first.append(leaves[:66_321])
    stored = {(tile.level, tile.index): tile.hashes for tile in first.partial()}
    second = Tree.resume(66_321, lambda level, index: stored[level, index])
    assert second.root() == first.root()
    second.append(leaves[66_321:])
    assert second.root() == whole.root()
    assert second.partial() == whole.partial()
