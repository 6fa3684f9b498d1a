package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble reads its newest write-ahead log and its manifest leniently: what it cannot read there it
// takes for a write that the power cut, and goes on without it. For a Raft log that is right only
// for the torn end of a write that never returned; damage to anything older would shorten a log
// that has voted. These checks run before Pebble opens the files and tell the two apart: a chunk
// that cannot be read is damage as soon as a readable chunk behind it proves that it was on disk.
//
// Both files are sequences of 32 KiB blocks of chunks that never cross a block's end:
//
//	manifest chunk   crc32c 4 | length 2 | kind 1 (1..4)                                     | payload
//	log chunk        crc32c 4 | length 2 | kind 1 (9..12) | log number 4 | synced offset 8   | payload
//	log's clean end  crc32c 4 | length 2 | kind 1 (5)     | log number + 1
//
// The checksum covers everything behind the length. A log chunk's synced offset says how much of
// the file had been synced before the chunk was written; a manifest record is written only after
// the one before it was synced.
const (
	chunkBlockBytes          = 32 << 10
	chunkHeaderBytes         = 7
	chunkHeaderRecycledBytes = chunkHeaderBytes + 4
	chunkHeaderSyncedBytes   = chunkHeaderRecycledBytes + 8
	chunkKindLegacyLast      = 4
	chunkKindRecycledLast    = 8
	chunkKindSyncedLast      = 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunk is one readable chunk of a block.
type chunk struct {
	bytes  int    // header and payload
	log    uint32 // number of the log it belongs to, of kinds that carry one
	synced uint64 // offset that was synced before it was written, of kinds that carry one
	kind   byte
}

// readChunk decodes the chunk at the start of b, the rest of a block. It reports false where there
// is none that is whole and passes its checksum.
func readChunk(b []byte) (chunk, bool) {
	if len(b) < chunkHeaderBytes {
		return chunk{}, false
	}
	c := chunk{kind: b[6]}
	header := chunkHeaderBytes
	switch {
	case c.kind == 0 || c.kind > chunkKindSyncedLast:
		return chunk{}, false
	case c.kind > chunkKindRecycledLast:
		header = chunkHeaderSyncedBytes
	case c.kind > chunkKindLegacyLast:
		header = chunkHeaderRecycledBytes
	}
	c.bytes = header + int(binary.LittleEndian.Uint16(b[4:]))
	if c.bytes > len(b) {
		return chunk{}, false
	}
	sum := crc32.Checksum(b[6:c.bytes], castagnoli)
	if binary.LittleEndian.Uint32(b) != (sum>>15|sum<<17)+0xa282ead8 {
		return chunk{}, false
	}
	if header >= chunkHeaderRecycledBytes {
		c.log = binary.LittleEndian.Uint32(b[7:])
	}
	if header == chunkHeaderSyncedBytes {
		c.synced = binary.LittleEndian.Uint64(b[11:])
	}
	return c, true
}

// chunkRules says what differs between the two kinds of file.
type chunkRules struct {
	// belongs reports whether c was written to this file, not left behind by what the file held before.
	belongs func(c chunk) bool
	// ends reports whether c marks a clean end.
	ends func(c chunk) bool
	// proves reports whether c, found behind an unreadable place at damage, shows that the place had
	// been on disk.
	proves func(c chunk, damage int64) bool
	// padBytes is the most that a writer leaves empty at a block's end.
	padBytes int
}

func logRules(number uint32) chunkRules {
	return chunkRules{
		belongs:  func(c chunk) bool { return c.kind > chunkKindLegacyLast && c.log == number },
		ends:     func(c chunk) bool { return c.kind > chunkKindLegacyLast && c.log == number+1 },
		proves:   func(c chunk, damage int64) bool { return c.synced > uint64(damage) },
		padBytes: chunkHeaderSyncedBytes,
	}
}

func manifestRules() chunkRules {
	return chunkRules{
		belongs:  func(c chunk) bool { return c.kind <= chunkKindLegacyLast },
		ends:     func(chunk) bool { return false },
		proves:   func(c chunk, _ int64) bool { return c.kind == 1 || c.kind == 2 }, // starts a record
		padBytes: chunkHeaderBytes,
	}
}

// checkChunks reads r to its end and returns the offset of a place that cannot be read although it
// was on disk, and whether there is one.
func checkChunks(r io.Reader, rules chunkRules) (damage int64, found bool, err error) {
	block := make([]byte, chunkBlockBytes)
	torn := int64(-1) // the first unreadable place
	for start := int64(0); ; start += chunkBlockBytes {
		n, err := io.ReadFull(r, block)
		if errors.Is(err, io.EOF) {
			return 0, false, nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, false, err
		}
		off := 0
		for torn < 0 && off < n {
			c, ok := readChunk(block[off:n])
			switch {
			case ok && rules.ends(c):
				return 0, false, nil
			case ok && rules.belongs(c):
				off += c.bytes
			case n == chunkBlockBytes && n-off < rules.padBytes && allZero(block[off:n]):
				off = n
			default:
				torn = start + int64(off)
			}
		}
		if torn >= 0 && provesDamage(block[off:n], rules, torn) {
			return torn, true, nil
		}
	}
}

// provesDamage looks for a proving chunk at every place of b, because a damaged length hides where
// the next chunk starts.
func provesDamage(b []byte, rules chunkRules, torn int64) bool {
	for off := 0; off+chunkHeaderBytes <= len(b); off++ {
		kind := b[off+6]
		if kind == 0 || kind > chunkKindSyncedLast {
			continue
		}
		if c, ok := readChunk(b[off:]); ok && rules.belongs(c) && rules.proves(c, torn) {
			return true
		}
	}
	return false
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// checkFiles fails with kind Corrupt when the newest write-ahead log or the manifest in dir is damaged
// before its tail, or missing.
func checkFiles(fs vfs.FS, dir string) error {
	newest, err := newestLog(fs, dir)
	if err != nil {
		return err
	}
	db, err := pebble.Peek(dir, fs)
	if err != nil {
		return fmt.Errorf("look into %s: %w", dir, err)
	}
	if !db.Exists || newest < 0 {
		return corruptf("the manifest or the write-ahead log is missing")
	}
	name := fs.PathJoin(dir, fmt.Sprintf("%06d", newest)+logSuffix)
	if err := checkFile(fs, name, logRules(uint32(newest))); err != nil {
		return err
	}
	return checkFile(fs, db.ManifestFilename, manifestRules())
}

func checkFile(fs vfs.FS, name string, rules chunkRules) (err error) {
	f, err := fs.Open(name, vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	damage, found, err := checkChunks(f, rules)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if found {
		return corruptf("%s is damaged at byte %d, before its tail", fs.PathBase(name), damage)
	}
	return nil
}
