package memory

import (
	"bytes"
	"maps"
	"sync"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/adapters/storage/snapshot"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Disk stands for what survives a Store: the content of every shard as of its last Flush. Tests and
// the simulation drop a Store at any moment and open another on the same Disk, as after a crash.
// One Store at a time may use a Disk.
type Disk struct {
	mu struct {
		sync.Mutex
		images   map[shard.ID]image
		received map[shard.ID]received
	}
}

// received is a snapshot that is complete and not installed.
type received struct {
	manifest snapshot.Manifest
	image    image
}

// image is a shard's durable content. Everything in it is immutable.
type image struct {
	state       outbound.AppliedState
	series      catalogue.List
	retention   memtable.Retention
	generations []*memtable.Generation // without anything that deletions forget
}

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	d := &Disk{}
	d.mu.images = map[shard.ID]image{}
	d.mu.received = map[shard.ID]received{}
	return d
}

// Clone returns a disk with the same content, which goes its own way from then on: a snapshot.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := NewDisk()
	maps.Copy(c.mu.images, d.mu.images)
	maps.Copy(c.mu.received, d.mu.received)
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

// received returns the shard's snapshot that waits to be installed.
func (d *Disk) received(id shard.ID) (received, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.mu.received[id]
	return r, ok
}

func (d *Disk) receive(id shard.ID, r received) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.received[id] = r
}

// install makes the received snapshot the shard's content, in one step.
func (d *Disk) install(id shard.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.images[id] = d.mu.received[id].image
	delete(d.mu.received, id)
}

// outdate forgets a received snapshot that is not newer than the shard.
func (d *Disk) outdate(id shard.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.received[id].manifest.Index <= d.mu.images[id].state.Index {
		delete(d.mu.received, id)
	}
}

// empty forgets the shard's content, but no received snapshot.
func (d *Disk) empty(id shard.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.mu.images, id)
}

// destroy forgets everything of the shard.
func (d *Disk) destroy(id shard.ID) {
	d.empty(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.mu.received, id)
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
