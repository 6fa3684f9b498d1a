package datadir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// FormatVersion numbers the layout of the whole data directory, kept in the record.
const FormatVersion = 1

// Record is what a cluster is founded with and never changes. It is stored as JSON: people read it
// when something is wrong.
type Record struct {
	Format      int    `json:"format"`
	ClusterID   string `json:"cluster_id"` // 16 hexadecimal digits
	Shards      int    `json:"shards"`
	Spread      int    `json:"metric_spread"`
	MapVersion  int    `json:"shard_map_version"`
	StorageKind string `json:"storage"`
	// Founded tells that every group was created in the Raft log: from then on a log without them was
	// lost, and with it acknowledged samples.
	Founded bool `json:"founded"`
}

// Found returns the stored record, or stores proposed where there is none yet. A stored record with
// other numbers than proposed (the cluster id aside) is an error of kind Invalid that names them.
func (d *Dir) Found(proposed Record) (Record, error) {
	proposed.Format, proposed.Founded = FormatVersion, false
	stored, err := d.read()
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.refuseForeignContent(); err != nil {
			return Record{}, err
		}
		return proposed, d.write(proposed)
	}
	if err != nil {
		return Record{}, err
	}
	return stored, stored.check(proposed)
}

// SetFounded notes in the stored record that every group was created.
func (d *Dir) SetFounded(r Record) error {
	r.Founded = true
	return d.write(r)
}

func (r Record) check(proposed Record) error {
	for _, c := range []struct {
		name           string
		stored, wanted any
	}{
		{"SHARDS", r.Shards, proposed.Shards},
		{"METRIC_SPREAD", r.Spread, proposed.Spread},
		{"STORAGE", r.StorageKind, proposed.StorageKind},
		{"shard map version", r.MapVersion, proposed.MapVersion},
	} {
		if c.stored != c.wanted {
			return fault.Newf(fault.Invalid, "cluster_record_mismatch",
				"%s: is %v, but this data was founded with %v; expected %v (it can't be changed later), or an empty DATA_DIR",
				c.name, c.wanted, c.stored, c.stored)
		}
	}
	return nil
}

func (d *Dir) read() (Record, error) {
	content, err := os.ReadFile(filepath.Join(d.path, recordFile))
	if err != nil {
		return Record{}, fmt.Errorf("read cluster record: %w", err)
	}
	var version struct{ Format int }
	if err := json.Unmarshal(content, &version); err != nil {
		return Record{}, corrupt(err)
	}
	if version.Format != FormatVersion {
		return Record{}, fault.Newf(fault.Invalid, "format_unknown",
			"DATA_DIR has format version %d; this program reads %d", version.Format, FormatVersion)
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	var r Record
	if err := decoder.Decode(&r); err != nil {
		return Record{}, corrupt(err)
	}
	if r.ClusterID == "" || r.Shards < 1 || r.Spread < 1 {
		return Record{}, corrupt(errors.New("a member is missing"))
	}
	return r, nil
}

func corrupt(cause error) error {
	return fault.Wrap(cause, fault.Corrupt, "cluster_record_damaged", "the cluster record "+recordFile+" is damaged; restore it from a backup")
}

// refuseForeignContent keeps a directory that lost its record, or was never ours, from being founded
// as if it were empty.
func (d *Dir) refuseForeignContent() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("list data directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() != lockFile && e.Name() != recordFile+".new" && e.Name() != "lost+found" {
			return fault.Newf(fault.Invalid, "data_dir_foreign",
				"DATA_DIR: %s holds %q but no %s; expected an empty directory or one of this program's", d.path, e.Name(), recordFile)
		}
	}
	return nil
}

// write stores the record so that a crash leaves either none or a whole one.
func (d *Dir) write(r Record) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode cluster record: %w", err)
	}
	name := filepath.Join(d.path, recordFile)
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create cluster record: %w", err)
	}
	_, err = f.Write(append(content, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write cluster record: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("publish cluster record: %w", err)
	}
	if err := syncFolder(d.path); err != nil {
		return fmt.Errorf("sync data directory: %w", err)
	}
	return nil
}
