package datadir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// FormatVersion numbers the layout of the whole data directory and of every record in it.
const FormatVersion = 1

// Identity is whose directory it is: one life of one node.
type Identity struct {
	Format      int    `json:"format"`
	NodeID      string `json:"node_id"`
	Incarnation uint64 `json:"incarnation"` // drawn when the directory was empty, never 0
	StorageKind string `json:"storage"`
}

// Membership is what makes the node a member of its cluster, stored before it acts as one.
type Membership struct {
	Format    int    `json:"format"`
	ClusterID string `json:"cluster_id"`
	Key       []byte `json:"key"` // the cluster's, 32 bytes: whoever has it owns the data
	// Address is how the cluster told the node that it is reached.
	Address string `json:"address"`
	// Founding is the encoded state that the cluster was founded with.
	Founding json.RawMessage `json:"founding"`
	// LogCreated tells that the Raft log exists: from then on a missing log was lost, and with it the
	// votes of every replica here.
	LogCreated bool `json:"log_created"`
}

type metaRecord struct {
	Format      int             `json:"format"`
	Index       uint64          `json:"index"`
	Term        uint64          `json:"term"`
	LogTimeNano int64           `json:"log_time_ns"`
	Membership  []byte          `json:"raft_membership,omitempty"`
	State       json.RawMessage `json:"state"`
}

// Identify returns the stored identity, or stores a new one with the incarnation drawn. An error of
// kind Invalid tells of a directory that belongs to another node, holds another kind of storage, or is
// not ours at all.
func (d *Dir) Identify(nodeID, storageKind string, incarnation uint64) (Identity, error) {
	var stored Identity
	found, err := d.load(identityFile, &stored)
	if err != nil {
		return Identity{}, err
	}
	if !found {
		if err := d.refuseForeignContent(); err != nil {
			return Identity{}, err
		}
		stored = Identity{Format: FormatVersion, NodeID: nodeID, Incarnation: incarnation, StorageKind: storageKind}
		return stored, d.publish(identityFile, stored)
	}
	switch {
	case stored.Incarnation == 0 || stored.NodeID == "":
		return Identity{}, damaged(identityFile, errors.New("a member is missing"))
	case stored.NodeID != nodeID:
		return Identity{}, mismatch("NODE_ID", nodeID, stored.NodeID)
	case stored.StorageKind != storageKind:
		return Identity{}, mismatch("STORAGE", storageKind, stored.StorageKind)
	}
	return stored, nil
}

func mismatch(name string, wanted, stored any) error {
	return fault.Newf(fault.Invalid, "data_dir_mismatch",
		"%s: is %v, but DATA_DIR was made with %v; expected %v (it can't be changed later), or an empty DATA_DIR", name, wanted, stored, stored)
}

// Membership returns the stored membership and whether there is one.
func (d *Dir) Membership() (Membership, bool, error) {
	var m Membership
	found, err := d.load(membershipFile, &m)
	if err == nil && found && (m.ClusterID == "" || len(m.Key) == 0 || len(m.Founding) == 0) {
		err = damaged(membershipFile, errors.New("a member is missing"))
	}
	return m, found, err
}

// SaveMembership stores the membership, durable on return.
func (d *Dir) SaveMembership(m Membership) error {
	m.Format = FormatVersion
	return d.publish(membershipFile, m)
}

// SaveState stores the newest cluster state that the node knows, so that it finds the others again.
func (d *Dir) SaveState(encoded []byte) error { return d.publish(stateFile, json.RawMessage(encoded)) }

// State returns the newest stored cluster state, nil when there is none. Its format is for whoever decodes
// it to check.
func (d *Dir) State() ([]byte, error) {
	content, err := d.read(stateFile)
	if err == nil && content != nil && !json.Valid(content) {
		return nil, damaged(stateFile, errors.New("it is no JSON"))
	}
	return content, err
}

// SaveMeta implements outbound.MetaStore.
func (d *Dir) SaveMeta(_ context.Context, s outbound.AppliedState) error {
	return d.publish(metaFile, metaRecord{
		Format: FormatVersion, Index: s.Index, Term: s.Term, LogTimeNano: int64(s.LogTime),
		Membership: s.Membership, State: s.Machine,
	})
}

// LoadMeta implements outbound.MetaStore.
func (d *Dir) LoadMeta(context.Context) (outbound.AppliedState, error) {
	var r metaRecord
	if found, err := d.load(metaFile, &r); err != nil || !found {
		return outbound.AppliedState{}, err
	}
	return outbound.AppliedState{
		Index: r.Index, Term: r.Term, LogTime: time.Duration(r.LogTimeNano), Membership: r.Membership, Machine: r.State,
	}, nil
}

// ForgetMeta removes what SaveMeta stored: the node is no member of the meta group any more.
func (d *Dir) ForgetMeta() error {
	if err := os.Remove(filepath.Join(d.path, metaFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove meta state: %w", err)
	}
	return syncFolder(d.path)
}

// Retire empties the directory but for the lock, durable on return: this life of the node is over, and
// the next Identify begins another. A mark stands meanwhile, by which Open finishes what a crash left.
func (d *Dir) Retire() error {
	mark := filepath.Join(d.path, retiringFile)
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return fmt.Errorf("mark data directory: %w", err)
	}
	if err := syncFolder(d.path); err != nil {
		return fmt.Errorf("sync data directory: %w", err)
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("list data directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() == lockFile || e.Name() == retiringFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(d.path, e.Name())); err != nil {
			return fmt.Errorf("empty data directory: %w", err)
		}
	}
	if err := syncFolder(d.path); err != nil {
		return fmt.Errorf("sync data directory: %w", err)
	}
	if err := os.Remove(mark); err != nil {
		return fmt.Errorf("unmark data directory: %w", err)
	}
	return syncFolder(d.path)
}

// load reads a record into v and reports whether there is one.
func (d *Dir) load(name string, v any) (bool, error) {
	content, err := d.read(name)
	if err != nil || content == nil {
		return false, err
	}
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(content, &version); err != nil {
		return false, damaged(name, err)
	}
	if version.Format != FormatVersion {
		return false, fault.Newf(fault.Invalid, "format_unknown",
			"DATA_DIR: %s has format version %d; this program reads %d", name, version.Format, FormatVersion)
	}
	if err := json.Unmarshal(content, v); err != nil {
		return false, damaged(name, err)
	}
	return true, nil
}

// read returns a file's content, nil when there is no such file.
func (d *Dir) read(name string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return content, nil
}

func damaged(name string, cause error) error {
	return fault.Wrap(cause, fault.Corrupt, "record_damaged", "the record "+name+" in DATA_DIR is damaged; restore it from a backup, or empty DATA_DIR to let the cluster rebuild this node")
}

// refuseForeignContent keeps a directory that lost its identity, or was never ours, from being used
// as if it were empty.
func (d *Dir) refuseForeignContent() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("list data directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() != lockFile && e.Name() != identityFile+".new" && e.Name() != "lost+found" {
			return fault.Newf(fault.Invalid, "data_dir_foreign",
				"DATA_DIR: %s holds %q but no %s; expected an empty directory or one of this program's", d.path, e.Name(), identityFile)
		}
	}
	return nil
}

// publish stores a record so that a crash leaves either the old one or the new one whole.
func (d *Dir) publish(name string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	path := filepath.Join(d.path, name)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	_, err = f.Write(append(content, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("publish %s: %w", name, err)
	}
	if err := syncFolder(d.path); err != nil {
		return fmt.Errorf("sync data directory: %w", err)
	}
	return nil
}
