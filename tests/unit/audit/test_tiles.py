from __future__ import annotations

import pytest

from portcullis.audit.merkle import Tile, fold, leaf_hash
from portcullis.audit.tiles import TileReader, TileWriter, pack, tile_path, unpack
from portcullis.core.errors import Problem


def test_paths_are_those_that_other_readers_look_for() -> None:
    assert tile_path(0, 0) == "tile/0/000"
    assert tile_path(1, 1234067) == "tile/1/x001/x234/067"
    assert tile_path("entries", 1000, 7) == "tile/entries/x001/000.p/7"


def test_a_bundle_gives_back_its_entries() -> None:
    entries = [b"", b"x" * 65535, "\u00e9".encode()]
    assert unpack(pack(entries)) == entries


@pytest.mark.parametrize("data", [b"\0", b"\0\2x", b"\0\1x\0", b"\xff\xff"])
def test_a_bundle_cut_within_an_entry_is_not_read_as_shorter(data: bytes) -> None:
    with pytest.raises(ValueError, match="ends within"):
        unpack(data)


def leaves(count: int) -> tuple[bytes, ...]:
    return tuple(leaf_hash(bytes([n])) for n in range(count))


def test_partial_tiles_stay_readable_after_the_full_one_replaced_them(tmp_path) -> None:
    writer = TileWriter(tmp_path)
    writer.write(Tile(0, 0, leaves(7)))
    writer.write_bundle(0, [b"e"] * 7)
    writer.write(Tile(0, 0, leaves(256)))
    writer.write_bundle(0, [b"e"] * 256)
    assert not (tmp_path / "tile/0/000.p").exists()
    reader = TileReader(tmp_path, 7)
    assert reader.hashes(0, 0) == leaves(7)
    assert reader.entries(0) == [b"e"] * 7
    assert reader.node(1, 1) == fold(leaves(4)[2:])


def test_missing_or_misshapen_files_are_told_by_name(tmp_path) -> None:
    writer = TileWriter(tmp_path)
    writer.write(Tile(0, 0, leaves(7)))
    (tmp_path / "tile/0/000.p/7").write_bytes(b"short")
    writer.write_bundle(0, [b"e"] * 6)
    for ask in (
        lambda: TileReader(tmp_path, 7).hashes(0, 0),
        lambda: TileReader(tmp_path, 7).entries(0),
        lambda: TileReader(tmp_path, 300).entries(1),
        lambda: TileReader(tmp_path, 7).hashes(0, 1),
    ):
        with pytest.raises(Problem) as caught:
            ask()
        assert caught.value.code == "PC6005"
        assert "tile" in caught.value.detail
