package sim

import (
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memory"
	"github.com/raftmetrics/raftmetrics/application/ingest"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// node is one machine. Its log and its replicas' disks outlive a crash, nothing else does.
type node struct {
	*world
	id      uint64
	log     disk
	shards  []*replica
	up      bool
	life    int // counts starts; what was planned in another life does not happen
	booted  time.Duration
	frozen  time.Duration // nothing happens here before
	rate    float64       // of its clock
	skew    time.Duration // of its wall clock
	gateway *ingest.Gateway
	writes  []*attempt // under way, in order
	ticket  multiraft.Ticket

	writer struct {
		waiting []logJob
		busy    bool
	}
}

// logJob is one append of a replica that waits for the log.
type logJob struct {
	replica *replica
	append  *multiraft.Append
}

func newNode(w *world, id uint64) *node {
	n := &node{world: w, id: id, rate: 0.9 + 0.2*w.rng.Float64()}
	n.skew = time.Duration(w.rng.Int64N(int64(2*time.Hour))) - time.Hour
	n.format()
	for s := range w.swarm.shards {
		n.shards = append(n.shards, &replica{
			node: n, id: id, shard: shard.ID(s), group: multiraft.GroupOf(shard.ID(s)), disk: memory.NewDisk(),
		})
	}
	return n
}

// after lets do happen in d, unless the node has crashed by then, and not while the node is frozen.
func (n *node) after(d time.Duration, do func()) {
	life := n.life
	var due func()
	due = func() {
		switch {
		case !n.up || n.life != life:
		case n.frozen > n.now:
			n.world.after(n.frozen-n.now, due)
		default:
			do()
		}
	}
	n.world.after(d, due)
}

// clock is the node's monotonic clock, which starts anew with the process.
func (n *node) clock() time.Duration {
	return time.Duration(n.rate*float64(n.now-n.booted)) + time.Second
}

// format gives the node an empty disk.
func (n *node) format() {
	if n.newDisk != nil {
		n.log = n.newDisk(n)
	} else {
		n.log = newLogDisk()
	}
}

// found creates the node's replicas in its log.
func (n *node) found() {
	var writes []multiraft.LogWrite
	for _, r := range n.shards {
		writes = append(writes, multiraft.Found(r.group, r.id, n.founding))
	}
	n.must(n.log.Write(writes), "found")
}

func (n *node) must(err error, what string) {
	if err != nil {
		n.failf("node %d: %s: %w", n.id, what, err)
	}
}

func (n *node) start() {
	n.up, n.life, n.booted = true, n.life+1, n.now
	n.gateway = ingest.NewGateway(n.world.shards, n.world)
	for _, r := range n.shards {
		if r.start(); n.err != nil {
			return
		}
	}
	n.after(time.Duration(n.rng.Int64N(int64(multiraft.TickInterval))), n.tick)
	n.after(n.about(n.swarm.flush), n.cutSome)
	if n.mutant == AckBeforeSync {
		n.after(0, n.syncLater)
	}
}

// crash ends the process or, with the power, the unsynced part of the log.
func (n *node) crash() {
	if !n.up {
		return
	}
	n.counts.Crashes++
	n.up, n.frozen = false, 0
	n.must(n.log.crash(n.rng), "crash")
	n.writer.waiting, n.writer.busy = nil, false
	for _, r := range n.shards {
		r.forget()
	}
	writes := n.writes
	n.writes, n.gateway = nil, nil
	for _, a := range writes {
		n.world.after(n.about(n.swarm.delay), a.lost)
	}
}

func (n *node) tick() {
	for _, r := range n.shards {
		r.post(multiraft.Tick{Count: 1})
	}
	n.after(time.Duration(float64(multiraft.TickInterval)/n.rate), n.tick)
}

// cutSome cuts a shard for its age, as the flush driver does.
func (n *node) cutSome() {
	r := n.shards[n.rng.IntN(len(n.shards))]
	if r.machine.Cut(r.shard) {
		r.flushCut()
	}
	n.after(n.about(n.swarm.flush), n.cutSome)
}

// write queues an append. As in production one write is under way at a time, and takes along what
// waits of all groups.
func (n *node) write(r *replica, a *multiraft.Append) {
	n.writer.waiting = append(n.writer.waiting, logJob{r, a})
	n.writeNext()
}

func (n *node) writeNext() {
	if n.writer.busy || len(n.writer.waiting) == 0 {
		return
	}
	jobs := n.writer.waiting
	n.writer.waiting, n.writer.busy = nil, true
	var writes []multiraft.LogWrite
	for _, j := range jobs {
		if !j.append.Write.IsEmpty() {
			writes = append(writes, j.append.Write)
		}
	}
	took := time.Duration(0)
	if len(writes) > 0 {
		took = n.swarm.sync/2 + n.about(n.swarm.sync/2)
		if n.swarm.stalls && !n.healed && n.chance(0.003) {
			took += n.about(400 * time.Millisecond)
		}
		n.must(n.log.begin(writes), "write")
	}
	if n.mutant == AckBeforeSync {
		took = 0
	}
	n.after(took, func() {
		if n.mutant != AckBeforeSync {
			n.must(n.log.sync(), "sync")
		}
		for _, j := range jobs {
			j.replica.post(multiraft.Appended{Append: j.append})
		}
		n.writer.busy = false
		n.writeNext()
	})
}

// syncLater is what a program does that believes in the operating system.
func (n *node) syncLater() {
	n.must(n.log.sync(), "sync")
	n.after(100*time.Millisecond, n.syncLater)
}

// nextTicket numbers the node's requests.
func (n *node) nextTicket() multiraft.Ticket {
	n.ticket++
	return n.ticket
}

// numberer knows the numbers of the series that the node's replicas have applied.
type numberer struct{ node *node }

func (n numberer) SeriesEra(id shard.ID) uint32 {
	if store := n.node.shards[id].store; store != nil {
		return store.SeriesEra(id)
	}
	return 0
}

func (n numberer) NumberSeries(id shard.ID, keys []string, numbers []uint32) uint32 {
	if store := n.node.shards[id].store; store != nil {
		return store.NumberSeries(id, keys, numbers)
	}
	clear(numbers)
	return 0
}
