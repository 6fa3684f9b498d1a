package duckdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"

	"github.com/raftmetrics/raftmetrics/adapters/storage/snapshot"
)

// receivedForm is version 1 of the note of a received snapshot: one line of text with the generation
// that its file has, its manifest in hexadecimal and, over all that stands before it, the xxHash64.
const receivedForm = "raftmetrics received snapshot v1 generation %d manifest %x "

// waiting is a received snapshot.
type waiting struct {
	generation uint64
	manifest   snapshot.Manifest
}

func (w waiting) encode() []byte {
	body := fmt.Sprintf(receivedForm, w.generation, w.manifest.Encode())
	return fmt.Appendf(nil, "%s%016x\n", body, xxhash.Sum64String(body))
}

func decodeWaiting(text []byte) (waiting, bool) {
	var w waiting
	var manifest []byte
	if _, err := fmt.Sscanf(string(text), receivedForm, &w.generation, &manifest); err != nil {
		return waiting{}, false
	}
	var err error
	w.manifest, err = snapshot.Decode(manifest)
	return w, err == nil && string(w.encode()) == string(text)
}

// received returns the snapshot that waits to be installed. A damaged note is as good as none: the
// snapshot comes again.
func (f folder) received() (waiting, bool, error) {
	text, err := os.ReadFile(filepath.Join(f.path, receivedName))
	if errors.Is(err, fs.ErrNotExist) {
		return waiting{}, false, nil
	}
	if err != nil {
		return waiting{}, false, err
	}
	w, ok := decodeWaiting(text)
	if !ok {
		return waiting{}, false, nil
	}
	if _, err := os.Stat(f.file(w.generation)); errors.Is(err, fs.ErrNotExist) {
		return waiting{}, false, nil
	} else if err != nil {
		return waiting{}, false, err
	}
	return w, true, nil
}

// accept makes the file that was received the snapshot that waits to be installed, in place of another.
// Until the note is written it is a leftover.
func (f folder) accept(m snapshot.Manifest, current uint64) error {
	before, replaced, err := f.received()
	if err != nil {
		return err
	}
	generation, err := f.nextGeneration()
	if err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(f.path, receivingName), f.file(generation)); err != nil {
		return err
	}
	if err := syncFolder(f.path); err != nil {
		return err
	}
	if err := f.replace(receivedName, waiting{generation: generation, manifest: m}.encode()); err != nil {
		return err
	}
	if replaced && before.generation != current {
		return os.Remove(f.file(before.generation))
	}
	return nil
}

// outdate removes a received snapshot that is not newer than index.
func (f folder) outdate(index uint64) error {
	w, ok, err := f.received()
	if err != nil || !ok || w.manifest.Index > index {
		return err
	}
	return f.reject(w)
}

// reject removes a received snapshot, its note first.
func (f folder) reject(w waiting) error {
	if err := os.Remove(filepath.Join(f.path, receivedName)); err != nil {
		return err
	}
	if err := syncFolder(f.path); err != nil {
		return err
	}
	return os.Remove(f.file(w.generation))
}
