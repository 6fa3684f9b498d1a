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
//	shards/<n>/RECEIVED   a snapshot that waits to be installed: its manifest, and the generation that
//	                      its file has already
//	shards/<n>/receiving  the file of a snapshot that is being received
//	shards/<n>/snapshot-<serial>  a copy of the file that other nodes read
//	shards/<n>/quarantine-<g>/    damaged data, kept until the next quarantine
//	shards/<n>.destroyed/ a shard that is being removed
const (
	shardsFolder = "shards"
	tempFolder   = "duckdb-temp"
	pointerName  = "CURRENT"
	openingName  = "opening"
	fileSuffix   = ".duckdb"
	newSuffix    = ".new"

	receivedName     = "RECEIVED"
	receivingName    = "receiving"
	pinPrefix        = "snapshot-"
	quarantinePrefix = "quarantine-"
	destroyedSuffix  = ".destroyed"

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
	waiting, _, err := f.received()
	if err != nil {
		return 0, err
	}
	var found uint64
	for _, e := range entries {
		generation, isFile := generationOf(e.Name())
		switch {
		case !isFile || generation == waiting.generation:
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

// generationOf returns the generation whose file has this name.
func generationOf(name string) (uint64, bool) {
	number, isFile := strings.CutSuffix(name, fileSuffix)
	generation, err := strconv.ParseUint(number, 10, 64)
	return generation, isFile && err == nil
}

// nextGeneration returns one that no file has had as long as its name could be remembered.
func (f folder) nextGeneration() (uint64, error) {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return 0, err
	}
	var last uint64
	for _, e := range entries {
		generation, _ := generationOf(e.Name())
		if number, quarantined := strings.CutPrefix(e.Name(), quarantinePrefix); quarantined {
			generation, _ = strconv.ParseUint(number, 10, 64)
		}
		last = max(last, generation)
	}
	return last + 1, nil
}

// point makes generation the valid one, all at once and for good.
func (f folder) point(generation uint64) error {
	return f.replace(pointerName, encodePointer(generation))
}

// clean removes what is neither of the valid generation nor of a received snapshot. DuckDB's own
// write-ahead log goes too: what it holds beyond the file's last checkpoint was never reported durable
// and comes back from the Raft log, and a damaged one could keep the file from opening, or end the
// process.
func (f folder) clean(generation uint64) error {
	waiting, ok, err := f.received()
	if err != nil {
		return err
	}
	if ok && waiting.generation == generation { // It was installed.
		ok = false
	}
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		owner, isFile := generationOf(name)
		keep := name == pointerName || name == openingName || strings.HasPrefix(name, quarantinePrefix) ||
			(isFile && owner == generation) || (ok && (name == receivedName || (isFile && owner == waiting.generation)))
		if !keep {
			if err := os.RemoveAll(filepath.Join(f.path, name)); err != nil {
				return err
			}
		}
	}
	return syncFolder(f.path)
}

// dropLog removes DuckDB's own write-ahead log of a generation, for the reason that clean gives.
func (f folder) dropLog(generation uint64) error {
	logs, err := filepath.Glob(f.file(generation) + ".*")
	if err != nil {
		return err
	}
	for _, path := range logs {
		if err := os.RemoveAll(path); err != nil {
			return err
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
