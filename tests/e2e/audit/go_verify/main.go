// Verifies a Portcullis log with the Go project's own transparency log packages: the checkpoint's
// signature, that every record is in the tree that was signed (proven from the hash tiles on
// disk), and that a smaller tree is a prefix of it. Witnesses' cosignatures on the checkpoint
// (C2SP tlog-cosignature, Ed25519) are verified with Go's crypto/ed25519.
//
// Usage: go_verify DIR VKEY OLDSIZE OLDROOT [WITNESS VKEY]...
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
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
	known := []note.Verifier{verifier}
	for _, vkey := range os.Args[5:] {
		known = append(known, newCosigner(vkey))
	}
	opened, err := note.Open(signed, note.VerifierList(known...))
	check(err)
	if opened.Sigs[0].Name != verifier.Name() || len(opened.Sigs) < len(known) {
		log.Fatal("a signature is missing")
	}
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

// A cosigner is a witness' key: the signature is over a header, the time and the note's text.
type cosigner struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func newCosigner(vkey string) cosigner {
	parts := strings.SplitN(vkey, "+", 3)
	data, err := base64.StdEncoding.DecodeString(parts[2])
	check(err)
	if data[0] != 4 || len(data) != 33 {
		log.Fatal("not the key of a witness")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), data...))
	return cosigner{parts[0], binary.BigEndian.Uint32(sum[:]), data[1:]}
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.id }

func (c cosigner) Verify(text, signature []byte) bool {
	if len(signature) != 72 {
		return false
	}
	head := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(signature))
	return ed25519.Verify(c.key, append([]byte(head), text...), signature[8:])
}

func hash(text string) (result tlog.Hash) {
	data, err := base64.StdEncoding.DecodeString(text)
	check(err)
	copy(result[:], data)
	return result
}
