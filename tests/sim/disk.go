package sim

import (
	"fmt"
	"math/rand/v2"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
)

// disk is a node's log store with a switch for its power.
type disk interface {
	multiraft.Log
	// begin hands writes to the disk, which may or may not keep them before the next sync.
	begin(writes []multiraft.LogWrite) error
	// sync makes everything durable that was begun.
	sync() error
	// crash keeps what was durable and, by chance, a first part of the rest, batch by batch.
	crash(rng *rand.Rand) error
}

// logDisk is a node's log and the disk below it: what a program sees, what a power cut leaves, and what
// lies between the two.
type logDisk struct {
	visible, durable logImage
	unsynced         [][]multiraft.LogWrite // in order
}

var _ disk = (*logDisk)(nil)

// logImage is the content of a log, by group.
type logImage map[multiraft.GroupID]groupLog

type groupLog struct {
	state   multiraft.LogState
	entries []*raftpb.Entry // entries[0] is at state.First()
}

func newLogDisk() *logDisk { return &logDisk{visible: logImage{}, durable: logImage{}} }

// copyWrites keeps the writes apart from whoever asked for them.
func copyWrites(writes []multiraft.LogWrite) []multiraft.LogWrite {
	copies := append([]multiraft.LogWrite(nil), writes...)
	for i := range copies {
		entries := make([]*raftpb.Entry, len(copies[i].Entries))
		for j, e := range copies[i].Entries {
			entries[j] = &raftpb.Entry{
				Index: new(e.GetIndex()), Term: new(e.GetTerm()), Type: e.GetType().Enum(), Data: append([]byte(nil), e.GetData()...),
			}
		}
		copies[i].Entries = entries
	}
	return copies
}

// Write implements multiraft.Log: all of it is durable at once.
func (d *logDisk) Write(writes []multiraft.LogWrite) error {
	if err := d.begin(writes); err != nil {
		return err
	}
	return d.sync()
}

// begin implements disk. What was begun is visible at once.
func (d *logDisk) begin(writes []multiraft.LogWrite) error {
	batch := copyWrites(writes)
	d.unsynced = append(d.unsynced, batch)
	for i := range batch {
		if err := d.visible.apply(&batch[i]); err != nil {
			return err
		}
	}
	return nil
}

// sync implements disk.
func (d *logDisk) sync() error {
	for _, batch := range d.unsynced {
		for i := range batch {
			if err := d.durable.apply(&batch[i]); err != nil {
				return err
			}
		}
	}
	d.unsynced = nil
	return nil
}

// crash implements disk.
func (d *logDisk) crash(rng *rand.Rand) error {
	for _, batch := range d.unsynced[:rng.IntN(len(d.unsynced)+1)] {
		for i := range batch {
			if err := d.durable.apply(&batch[i]); err != nil {
				return err
			}
		}
	}
	d.unsynced = nil
	d.visible = logImage{}
	for id, g := range d.durable {
		g.entries = append([]*raftpb.Entry(nil), g.entries...)
		d.visible[id] = g
	}
	return nil
}

func (i logImage) apply(w *multiraft.LogWrite) error {
	g := i[w.Group]
	if w.Create != nil {
		g.state.Identity = *w.Create
	}
	if w.Reset != nil {
		g.state.Truncated, g.state.Last, g.entries = *w.Reset, w.Reset.Index, nil
	}
	if w.HardState != nil {
		g.state.HardState = w.HardState
	}
	if len(w.Entries) > 0 {
		first := w.Entries[0].GetIndex()
		if first < g.state.First() || first > g.state.Last+1 {
			return fmt.Errorf("entry %d of %s does not follow [%d, %d]", first, w.Group, g.state.First(), g.state.Last)
		}
		kept := first - g.state.First()
		g.entries = append(g.entries[:kept:kept], w.Entries...)
		g.state.Last = w.Entries[len(w.Entries)-1].GetIndex()
	}
	if commit := g.state.HardState.GetCommit(); commit > g.state.Last {
		return fmt.Errorf("%s has commit %d behind its last entry %d", w.Group, commit, g.state.Last)
	}
	if t := w.Truncate; t != nil {
		if t.Index < g.state.First() || t.Index > g.state.Last {
			return fmt.Errorf("truncation of %s at %d is outside [%d, %d]", w.Group, t.Index, g.state.First(), g.state.Last)
		}
		g.entries = append([]*raftpb.Entry(nil), g.entries[t.Index-g.state.Truncated.Index:]...)
		g.state.Truncated = *t
	}
	i[w.Group] = g
	return nil
}

// Load implements multiraft.Log.
func (d *logDisk) Load(id multiraft.GroupID) (multiraft.LogState, error) {
	return d.visible[id].state, nil
}

// Entries implements multiraft.Log.
func (d *logDisk) Entries(id multiraft.GroupID, lo, hi, bytesMax uint64) ([]*raftpb.Entry, error) {
	g := d.visible[id]
	if lo < g.state.First() || hi <= lo || hi > g.state.Last+1 {
		return nil, fmt.Errorf("entries [%d, %d) of %s are outside [%d, %d]", lo, hi, id, g.state.First(), g.state.Last)
	}
	var bytes uint64
	var entries []*raftpb.Entry
	for _, e := range g.entries[lo-g.state.First() : hi-g.state.First()] {
		if bytes += uint64(len(e.GetData())); bytes > bytesMax && len(entries) > 0 {
			break
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Term implements multiraft.Log.
func (d *logDisk) Term(id multiraft.GroupID, index uint64) (uint64, error) {
	g := d.visible[id]
	if index == g.state.Truncated.Index {
		return g.state.Truncated.Term, nil
	}
	if index < g.state.First() || index > g.state.Last {
		return 0, fmt.Errorf("entry %d of %s is outside [%d, %d]", index, id, g.state.First(), g.state.Last)
	}
	return g.entries[index-g.state.First()].GetTerm(), nil
}
