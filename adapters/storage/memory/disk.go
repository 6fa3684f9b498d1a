package memory

import (
	"bytes"
	"maps"
	"sync"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Disk stands for what survives a Store: the content of every shard as of its last Flush. Tests and
// the simulation drop a Store at any moment and open another on the same Disk, as after a crash.
// One Store at a time may use a Disk.
type Disk struct {
	mu struct {
		sync.Mutex
		images map[shard.ID]image
	}
}

// image is a shard's durable content. Everything in it is immutable.
type image struct {
	state       outbound.AppliedState
	series      catalogue.List
	generations []*memtable.Generation
}

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	d := &Disk{}
	d.mu.images = map[shard.ID]image{}
	return d
}

// Clone returns a disk with the same content, which goes its own way from then on: a snapshot.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := NewDisk()
	maps.Copy(c.mu.images, d.mu.images)
	return c
}

func (d *Disk) load(id shard.ID) image {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.mu.images[id]
	i.state = cloneState(i.state)
	return i
}

func (d *Disk) store(id shard.ID, i image) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.images[id] = i
}

// cloneState keeps callers' slices apart from what is stored.
func cloneState(s outbound.AppliedState) outbound.AppliedState {
	s.Membership = bytes.Clone(s.Membership)
	s.Machine = bytes.Clone(s.Machine)
	return s
}

// mergeFrom returns the index from which on generations should become one: the unflushed ones, from
// first on, and before them as many as keep each generation more than twice as large as the sum of
// those behind it. So a shard has few generations and a sample is copied a logarithmic number of times.
func mergeFrom(generations []*memtable.Generation, first int) int {
	samples := 0
	for _, g := range generations[first:] {
		samples += g.Samples()
	}
	for first > 0 && generations[first-1].Samples() <= 2*samples {
		first--
		samples += generations[first].Samples()
	}
	return first
}
