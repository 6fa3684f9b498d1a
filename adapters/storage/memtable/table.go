// Package memtable keeps a shard's recent samples in memory, readable at once, in generations that
// freeze, are written elsewhere, and go.
package memtable

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Table is one shard's memtable and catalogue. Generations are numbered upwards; those up to the
// durable one are stored elsewhere (or kept, see Keep), later ones are frozen, the last is active.
// Append, Define, Observe and Freeze are for one goroutine at a time; everything else may run
// beside them and each other.
type Table struct {
	scratch struct { // the appender's own
		plan    *catalogue.Plan
		slots   []uint32
		newest  []Point
		cutoffs []int64
	}
	pending struct { // the appender's own: generations that deletions ended and no Freeze covers
		bytes     int64
		deletions int
	}
	expired        atomic.Uint64
	activeBytes    atomic.Int64
	sealedBytes    atomic.Int64
	catalogueBytes atomic.Int64
	era            uint32 // see Era

	mu struct {
		sync.RWMutex
		catalogue *catalogue.Catalogue
		active    *Generation
		sealed    []*Generation // frozen or kept, ascending
		durable   uint64        // number of the newest durable generation
		cut       uint64        // number of the last generation that the newest Freeze covers

		tombstones []Tombstone // deletions that are not durable yet, ascending; never changed in place
		retention  Retention

		seriesFrozen int  // how many series the newest freeze, or Define, covers
		retentionNew bool // no freeze covers the newest cut-offs
	}
}

// New returns an empty table whose active generation follows durable and which takes up to
// seriesMax series (0: metric.SeriesPerShardMax).
func New(durable uint64, seriesMax int) *Table {
	t := &Table{era: eras.Add(1)}
	t.mu.catalogue = catalogue.New(seriesMax)
	t.mu.active = newGeneration(durable + 1)
	t.mu.durable, t.mu.cut = durable, durable
	return t
}

// Append adds columns, visible to every View taken afterwards, all of it or none. On error, by the
// contract of outbound.SampleAppender, nothing has changed.
func (t *Table) Append(columns outbound.Columns) error {
	// Only this goroutine writes the catalogue, so that it may read it without the lock.
	plan, err := t.mu.catalogue.Prepare(columns.Keys, columns.Numbers, t.scratch.plan)
	if err != nil {
		return err
	}
	t.scratch.plan = plan
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.catalogue.Define(plan)
	t.appendLocked(plan.IDs(), columns)
	t.observeLocked(plan.IDs())
	t.storeActiveBytesLocked()
	t.catalogueBytes.Store(t.mu.catalogue.Bytes())
	return nil
}

// observeLocked tells the catalogue the newest samples of the columns that were appended to.
func (t *Table) observeLocked(ids []catalogue.SeriesID) {
	for i, id := range ids {
		if slot := t.scratch.slots[i]; slot > 0 {
			newest := t.mu.active.columns.At(slot - 1).newest
			t.mu.catalogue.Observe(id, newest.At, newest.Value)
		}
	}
}

// Define adds series before the first Append, in the order of their ids, when a shard is opened; where they are
// many, by several calls.
func (t *Table) Define(keys []string) error {
	plan, err := t.mu.catalogue.Prepare(keys, nil, t.scratch.plan)
	if err != nil {
		return err
	}
	t.scratch.plan = plan
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.catalogue.Define(plan)
	t.catalogueBytes.Store(t.mu.catalogue.Bytes())
	t.mu.seriesFrozen = t.mu.catalogue.Len()
	return nil
}

// Observe tells the newest stored sample of a series when a shard is opened; of several calls for
// one series the rule of catalogue.Observe picks.
func (t *Table) Observe(id catalogue.SeriesID, p Point) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.catalogue.Observe(id, p.At, p.Value)
}

// Freeze makes the active generation immutable and starts a new one. It returns at once, with false
// when there was nothing to freeze: no new sample, series, deletion or cut-off.
func (t *Table) Freeze() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.mu.active
	if g.samples == 0 && t.mu.catalogue.Len() == t.mu.seriesFrozen && !t.mu.retentionNew && t.mu.cut == g.first-1 {
		return false
	}
	t.sealLocked()
	t.mu.cut = g.last
	t.mu.seriesFrozen = g.series.Len()
	t.mu.retentionNew = false
	t.sealedBytes.Add(t.pending.bytes)
	t.pending.bytes, t.pending.deletions = 0, 0
	t.storeActiveBytesLocked()
	return true
}

func (t *Table) storeActiveBytesLocked() {
	t.activeBytes.Store(t.mu.active.bytes + t.pending.bytes + int64(t.pending.deletions)*tombstoneBytes)
}

// sealLocked ends the active generation and starts the next.
func (t *Table) sealLocked() {
	g := t.mu.active
	g.series, g.retention = t.mu.catalogue.Series(), t.mu.retention
	t.mu.sealed = append(slices.Clip(t.mu.sealed), g)
	t.mu.active = newGeneration(g.last + 1)
	t.pending.bytes += g.bytes
}

// Frozen returns the generations that Freeze froze and that are not yet durable, ascending. Deletions end
// generations, too, but only the next Freeze makes them part of what is to be flushed.
func (t *Table) Frozen() []*Generation {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var frozen []*Generation
	for _, g := range t.mu.sealed {
		if g.first > t.mu.durable && g.last <= t.mu.cut {
			frozen = append(frozen, g)
		}
	}
	return frozen
}

// Drop tells that generations up to upTo are durable elsewhere, and that what their deletions forget is
// gone there: a View taken from now on has its Durable at upTo and reads them there. Views taken before
// keep them.
func (t *Table) Drop(upTo uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := make([]*Generation, 0, len(t.mu.sealed))
	for _, g := range t.mu.sealed {
		if g.last <= upTo {
			t.sealedBytes.Add(-g.bytes)
			continue
		}
		kept = append(kept, g)
	}
	t.mu.sealed = kept
	t.mu.durable = max(t.mu.durable, upTo)
	t.dropTombstonesLocked(upTo)
}

// dropTombstonesLocked forgets the deletions in generations up to upTo.
func (t *Table) dropTombstonesLocked(upTo uint64) {
	t.mu.tombstones = slices.Clip(deadFrom(t.mu.tombstones, upTo+1))
}

// Keep tells that generations up to merged's last are durable but stay readable here: merged stands
// in place of those that it is made of, or is added to an empty table when a shard is opened.
func (t *Table) Keep(merged *Generation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sealed := make([]*Generation, 0, len(t.mu.sealed)+1)
	i := 0
	for ; i < len(t.mu.sealed) && t.mu.sealed[i].last < merged.first; i++ {
		sealed = append(sealed, t.mu.sealed[i])
	}
	sealed = append(sealed, merged)
	t.sealedBytes.Add(merged.bytes)
	for ; i < len(t.mu.sealed); i++ {
		if g := t.mu.sealed[i]; g.last > merged.last {
			sealed = append(sealed, g)
		} else {
			t.sealedBytes.Add(-g.bytes)
		}
	}
	t.mu.sealed = sealed
	t.mu.durable = max(t.mu.durable, merged.last)
	if sealed[0] == merged { // Nothing is left that its deletions apply to.
		t.dropTombstonesLocked(merged.last)
	}
}

// Usage is a table's memory in bytes.
type Usage struct {
	Active    int64 // samples that a Freeze would freeze, with something added for each deletion
	Sealed    int64 // samples of frozen and kept generations
	Catalogue int64 // the series themselves, an estimate
}

// Usage returns the memory in use, without waiting.
func (t *Table) Usage() Usage {
	return Usage{Active: t.activeBytes.Load(), Sealed: t.sealedBytes.Load(), Catalogue: t.catalogueBytes.Load()}
}

// Series returns all series defined so far.
func (t *Table) Series() catalogue.List {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.mu.catalogue.Series()
}
