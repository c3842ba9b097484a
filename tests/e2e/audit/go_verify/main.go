// Verifies a Portcullis log with the Go project's own transparency log packages: the checkpoint's
// signature, that every record is in the tree that was signed (proven from the hash tiles on
// disk), and that a smaller tree is a prefix of it.
//
// Usage: go_verify DIR VKEY OLDSIZE OLDROOT
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A tileDir reads the tiles of C2SP tlog-tiles: height 8, no height in the path, all widths.
type tileDir string

func (dir tileDir) Height() int                              { return 8 }
func (dir tileDir) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

func (dir tileDir) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		path := strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(string(dir), "tile", path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func entries(dir string, size int64) [][]byte {
	var all [][]byte
	for n := int64(0); int64(len(all)) < size; n++ {
		tile := tlog.Tile{H: 8, L: -1, N: n, W: 256}
		if size-n*256 < 256 {
			tile.W = int(size - n*256)
		}
		path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(dir, path))
		check(err)
		for len(data) > 0 {
			length := binary.BigEndian.Uint16(data)
			all = append(all, data[2:2+length])
			data = data[2+length:]
		}
	}
	return all
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	log.SetFlags(0)
	dir, vkey := os.Args[1], os.Args[2]
	verifier, err := note.NewVerifier(vkey)
	check(err)
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	check(err)
	opened, err := note.Open(signed, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root := hash(lines[2])

	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tileDir(dir))
	leaves := entries(dir, size)
	for index := int64(0); index < size; index++ {
		proof, err := tlog.ProveRecord(size, index, reader)
		check(err)
		check(tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(leaves[index])))
	}

	old, err := strconv.ParseInt(os.Args[3], 10, 64)
	check(err)
	proof, err := tlog.ProveTree(size, old, reader)
	check(err)
	check(tlog.CheckTree(proof, size, root, old, hash(os.Args[4])))
	for _, item := range proof {
		fmt.Println(item)
	}
	fmt.Printf("verified %s: %d of %d records\n", verifier.Name(), len(leaves), size)
}

func hash(text string) (result tlog.Hash) {
	data, err := base64.StdEncoding.DecodeString(text)
	check(err)
	copy(result[:], data)
	return result
}
