package duckdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// What lies in the data directory:
//
//	duckdb-temp/          what statements spill; emptied at the start
//	shards/<n>/CURRENT    the pointer: which generation of the shard's file is valid
//	shards/<n>/<g>.duckdb the file of generation g
//	shards/<n>/opening    only while the file is opened: how many openings did not return
const (
	shardsFolder = "shards"
	tempFolder   = "duckdb-temp"
	pointerName  = "CURRENT"
	openingName  = "opening"
	fileSuffix   = ".duckdb"
	newSuffix    = ".new"

	folderMode = 0o700
	fileMode   = 0o600
)

// pointerForm is version 1 of the pointer: one line of text with the generation and, over all that
// stands before it, the xxHash64.
const pointerForm = "raftmetrics shard pointer v1 generation %d "

// errPointer is returned for a pointer that does not say anything valid.
var errPointer = errors.New("the pointer file is damaged")

func encodePointer(generation uint64) []byte {
	body := fmt.Sprintf(pointerForm, generation)
	return fmt.Appendf(nil, "%s%016x\n", body, xxhash.Sum64String(body))
}

func decodePointer(text []byte) (uint64, error) {
	var generation uint64
	if _, err := fmt.Sscanf(string(text), pointerForm, &generation); err != nil || string(encodePointer(generation)) != string(text) {
		return 0, errPointer
	}
	return generation, nil
}

// folder is the directory of one shard.
type folder struct{ path string }

func (s *Store) folder(id shard.ID) folder {
	return folder{path: filepath.Join(s.options.Directory, shardsFolder, id.String())}
}

func (f folder) file(generation uint64) string {
	return filepath.Join(f.path, strconv.FormatUint(generation, 10)+fileSuffix)
}

// current returns the valid generation, 0 when the shard was never created. A pointer that is
// missing although there is a file was lost, or not written any more, after the file was complete.
func (f folder) current() (uint64, error) {
	text, err := os.ReadFile(filepath.Join(f.path, pointerName))
	if err == nil {
		return decodePointer(text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return 0, err
	}
	var found uint64
	for _, e := range entries {
		number, isFile := strings.CutSuffix(e.Name(), fileSuffix)
		generation, err := strconv.ParseUint(number, 10, 64)
		switch {
		case !isFile || err != nil:
		case found != 0:
			return 0, errPointer
		default:
			found = generation
		}
	}
	if found == 0 {
		return 0, nil
	}
	return found, f.point(found)
}

// point makes generation the valid one, all at once and for good.
func (f folder) point(generation uint64) error {
	return f.replace(pointerName, encodePointer(generation))
}

// clean removes what is not of the valid generation. DuckDB's own write-ahead log goes too: what it
// holds beyond the file's last checkpoint was never reported durable and comes back from the Raft log,
// and a damaged one could keep the file from opening, or end the process.
func (f folder) clean(generation uint64) error {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return err
	}
	keep := strconv.FormatUint(generation, 10) + fileSuffix
	for _, e := range entries {
		if name := e.Name(); name != pointerName && name != openingName && name != keep {
			if err := os.RemoveAll(filepath.Join(f.path, name)); err != nil {
				return err
			}
		}
	}
	return syncFolder(f.path)
}

// openingsMax is how many openings in a row may end with the process before a file counts as
// damaged. One or two may have been killed for other reasons.
const openingsMax = 5

// markOpening notes that an opening begins, and fails when too many did not return.
func (f folder) markOpening() error {
	text, err := os.ReadFile(filepath.Join(f.path, openingName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	openings, _ := strconv.Atoi(string(text))
	if openings >= openingsMax {
		return errOpenings
	}
	return f.replace(openingName, []byte(strconv.Itoa(openings+1)))
}

// errOpenings is returned for a file that ended the process each time it was opened.
var errOpenings = fmt.Errorf("opening the file did not return %d times in a row", openingsMax)

func (f folder) unmarkOpening() error { return os.Remove(filepath.Join(f.path, openingName)) }

// replace writes a file all at once, durable on return.
func (f folder) replace(name string, content []byte) error {
	path := filepath.Join(f.path, name)
	if err := writeSynced(path+newSuffix, content); err != nil {
		return err
	}
	if err := os.Rename(path+newSuffix, path); err != nil {
		return err
	}
	return syncFolder(f.path)
}

func writeSynced(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Sync(), file.Close())
}

// syncFolder makes the names in a directory durable.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeFolder creates a directory for this user alone, durable on return.
func makeFolder(path string) error {
	if err := os.MkdirAll(path, folderMode); err != nil {
		return fmt.Errorf("create a directory: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}
