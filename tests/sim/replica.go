package sim

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memory"
	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// replica is one node's copy of one shard: the real core, state machine and storage, and the queues
// that production's goroutines have between them.
type replica struct {
	*node
	id    uint64 // in the Raft group; never used twice in it
	shard shard.ID
	group multiraft.GroupID
	// What outlives a crash.
	disk    *memory.Disk
	fetched *snapshotData // the newest snapshot whose data is complete here

	store     *memory.Store
	machine   *apply.StateMachine
	core      *multiraft.Replica
	inbox     []multiraft.Event
	stepping  bool
	jobs      []any // *multiraft.Apply and *multiraft.InstallSnapshot, in order
	applying  bool
	flushing  bool
	proposals map[multiraft.Ticket]func(outcome []byte, err error)
	reads     map[multiraft.Ticket]func(err error)
	leads     bool
}

// snapshotData is a snapshot that was made: a copy of a shard's disk.
type snapshotData struct {
	disk  *memory.Disk
	state outbound.AppliedState
}

// forget drops what a crash takes.
func (r *replica) forget() {
	r.store, r.machine, r.core, r.inbox, r.jobs = nil, nil, nil, nil, nil
	r.stepping, r.applying, r.flushing, r.leads = false, false, false, false
	r.proposals, r.reads = nil, nil
}

// start brings the replica up from its disk and the node's log.
func (r *replica) start() {
	r.proposals = map[multiraft.Ticket]func([]byte, error){}
	r.reads = map[multiraft.Ticket]func(error){}
	rec, err := r.recover()
	if err == nil && rec.NeedsSnapshot && r.fetched != nil {
		// The crash came between the log's reset to the snapshot and the switch to it.
		r.disk = r.fetched.disk.Clone()
		rec, err = r.recover()
	}
	if err != nil {
		r.must(err, "recover")
		return
	}
	if !rec.Write.IsEmpty() {
		r.must(r.log.Write([]multiraft.LogWrite{rec.Write}), "recover")
	}
	if r.mutant == CommitBehindApplied {
		state, err := r.log.Load(r.group)
		r.must(err, "load")
		rec.Stored.HardState = state.HardState
	}
	r.core, err = multiraft.NewReplica(multiraft.ReplicaConfig{
		Group: r.group, Log: r.log, Recovery: rec, ReadNonce: r.rng.Uint64(), Limits: r.swarm.replica,
	})
	if err != nil {
		r.must(err, "start replica")
		return
	}
	r.post()
}

func (r *replica) recover() (multiraft.Recovery, error) {
	state, err := r.open()
	if err != nil {
		return multiraft.Recovery{}, err
	}
	return multiraft.Recover(r.log, r.group, multiraft.AppliedPoint{
		LogPoint: multiraft.LogPoint{Index: state.Index, Term: state.Term}, LogTime: state.LogTime, Membership: state.Membership,
	})
}

// open opens storage and state machine from the disk.
func (r *replica) open() (outbound.AppliedState, error) {
	options := r.swarm.storage
	options.Disk = r.disk
	r.store = memory.New(options)
	state, err := r.store.Open(context.Background(), r.shard)
	if err != nil {
		return state, err
	}
	r.machine = apply.New(apply.Options{Appender: r.store, Remover: r.store, Cutter: cutter{r.store, r.mutant}, Limits: r.swarm.machine})
	return state, r.machine.Restore(r.shard, state)
}

// cutter is the storage's, or with a defect.
type cutter struct {
	*memory.Store
	mutant Mutant
}

// Cut implements outbound.StateCutter.
func (c cutter) Cut(id shard.ID, state outbound.AppliedState) {
	if c.mutant == MachineNotCut {
		state.Machine = nil
	}
	c.Store.Cut(id, state)
}

// post gives events to the core. What comes while it waits for its turn goes into the same step.
func (r *replica) post(events ...multiraft.Event) {
	r.inbox = append(r.inbox, events...)
	if !r.stepping {
		r.stepping = true
		r.after(time.Duration(r.rng.IntN(50))*time.Microsecond, r.step)
	}
}

func (r *replica) step() {
	events := r.inbox
	r.inbox, r.stepping = nil, false
	var out multiraft.Effects
	if err := r.core.Step(r.clock(), events, &out); err != nil {
		r.must(err, "step")
		return
	}
	for _, a := range out.Appends {
		r.write(r, a)
	}
	for _, a := range out.Applies {
		r.jobs = append(r.jobs, a)
	}
	if out.Install != nil {
		r.jobs = append(r.jobs, out.Install)
	}
	r.work()
	for _, m := range out.Send {
		r.send(r, m)
	}
	for _, d := range out.Done {
		if done := r.proposals[d.Ticket]; done != nil {
			delete(r.proposals, d.Ticket)
			done(d.Outcome, d.Err)
		}
	}
	for _, ready := range out.Reads {
		if done := r.reads[ready.Ticket]; done != nil {
			delete(r.reads, ready.Ticket)
			done(ready.Err)
		}
	}
	if out.Fetch != nil {
		r.fetch(out.Fetch.Message)
	}
	if out.WantSnapshot {
		r.makeSnapshot()
	}
	if status := r.core.Status(); status.Leads != r.leads {
		if r.leads = status.Leads; r.leads {
			r.counts.Elections++
		}
	}
}

// work applies what is committed, one job at a time, in order.
func (r *replica) work() {
	if r.applying || len(r.jobs) == 0 {
		return
	}
	job := r.jobs[0]
	r.jobs = r.jobs[1:]
	r.applying = true
	r.after(r.about(200*time.Microsecond), func() {
		r.applying = false
		switch job := job.(type) {
		case *multiraft.Apply:
			r.apply(job)
		case *multiraft.InstallSnapshot:
			r.install(job)
		}
		r.work()
	})
}

func (r *replica) apply(a *multiraft.Apply) {
	outcomes, err := r.machine.Apply(context.Background(), r.shard, a.Entries)
	if err != nil {
		r.must(err, "apply")
		return
	}
	for _, e := range a.Entries {
		r.counts.Applied++
		r.note(uint64(r.now), r.node.id, r.id, uint64(r.shard), e.Index, e.Term, uint64(e.LogTime), uint64(len(e.Commands)))
		for _, c := range e.Commands {
			_, _ = r.trace.Write(c)
		}
	}
	if r.mutant == NoDedup {
		r.must(r.applyAgain(a.Entries, outcomes), "apply again")
	}
	r.post(multiraft.Applied{Apply: a, Outcomes: outcomes})
	if len(r.machine.TakeCut()) > 0 {
		r.flushCut()
	}
	if r.mutant == TruncateUnflushed {
		r.post(multiraft.Durable{Index: a.Entries[len(a.Entries)-1].Index})
	}
}

// applyAgain is what a state machine does that does not know what it has applied.
func (r *replica) applyAgain(entries []inbound.Entry, outcomes [][]byte) error {
	var decoder command.Decoder
	for _, e := range entries {
		for _, c := range e.Commands {
			outcome, err := command.DecodeOutcome(outcomes[0])
			outcomes = outcomes[1:]
			if err != nil || outcome.Verdict != command.Duplicate {
				continue
			}
			if err := r.applyCommand(&decoder, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// applyCommand does what a command says whether or not that was done before.
func (r *replica) applyCommand(decoder *command.Decoder, c []byte) error {
	header, body, err := command.DecodeHeader(c)
	if err != nil {
		return err
	}
	switch header.Kind {
	case command.Write:
		_, columns, err := decoder.Write(header, body)
		if err != nil {
			return err
		}
		return r.store.Append(context.Background(), r.shard, columns)
	case command.Delete:
		d, err := command.DecodeDelete(body)
		if err != nil {
			return err
		}
		_, err = r.store.Delete(context.Background(), r.shard, d)
		return err
	default:
		return nil
	}
}

// flushCut makes what is cut durable, some time later.
func (r *replica) flushCut() {
	if r.flushing {
		return
	}
	r.flushing = true
	r.after(r.about(20*time.Millisecond), func() {
		r.flushing = false
		r.flush()
	})
}

func (r *replica) flush() {
	durable, err := r.store.Flush(context.Background(), r.shard)
	if err != nil {
		r.must(err, "flush")
		return
	}
	r.counts.Flushes++
	r.post(multiraft.Durable{Index: durable})
}

// makeSnapshot makes the newest state durable and offers a copy of it.
func (r *replica) makeSnapshot() {
	r.after(r.about(20*time.Millisecond), func() {
		r.machine.Cut(r.shard)
		if r.flush(); r.err != nil {
			return
		}
		data := snapshotData{disk: r.disk.Clone()}
		var err error
		if data.state, err = memory.New(memory.Options{Disk: data.disk}).Open(context.Background(), r.shard); err != nil {
			r.must(err, "snapshot")
			return
		}
		if data.state.Index == 0 {
			return
		}
		membership := data.state.Membership
		if membership == nil {
			membership = r.founding
		}
		r.snapshot = append(r.snapshot, data)
		r.post(multiraft.SnapshotMade{Snapshot: multiraft.Snapshot{
			Index: data.state.Index, Term: data.state.Term, Membership: membership,
			Manifest: []byte(strconv.Itoa(len(r.snapshot) - 1)),
		}})
	})
}

// fetch copies a snapshot's data beside the present state. It may fail, and nobody hears of it then.
func (r *replica) fetch(m *raftpb.Message) {
	r.after(r.about(50*time.Millisecond), func() {
		if !r.healed && r.chance(0.1) {
			return
		}
		number, err := strconv.Atoi(string(m.GetSnapshot().GetData()))
		if err != nil {
			r.must(err, "fetch")
			return
		}
		r.fetched = &r.snapshot[number]
		r.post(multiraft.SnapshotFetched{Message: m})
	})
}

var errOtherSnapshot = errors.New("the snapshot to install is not the one that was fetched")

func (r *replica) install(i *multiraft.InstallSnapshot) {
	if r.fetched == nil || r.fetched.state.Index != i.Snapshot.Index {
		r.must(errOtherSnapshot, "install")
		return
	}
	r.counts.Snapshots++
	r.disk = r.fetched.disk.Clone()
	state, err := r.open()
	if err != nil {
		r.must(err, "install")
		return
	}
	r.post(multiraft.SnapshotInstalled{Install: i, LogTime: state.LogTime})
}

// propose gives a command to the core; done is called once, unless the node crashes first.
func (r *replica) propose(c []byte, done func(outcome []byte, err error)) {
	ticket := r.nextTicket()
	r.proposals[ticket] = done
	r.post(multiraft.Propose{Ticket: ticket, Command: c, Deadline: r.clock() + proposalTimeout})
}

// read asks when a read that begins now may be served; done is called once, unless the node crashes.
func (r *replica) read(done func(err error)) {
	if r.mutant == StaleReads {
		r.after(0, func() { done(nil) })
		return
	}
	ticket := r.nextTicket()
	r.reads[ticket] = done
	r.post(multiraft.Read{Ticket: ticket, Deadline: r.clock() + proposalTimeout})
}
