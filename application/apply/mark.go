package apply

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ inbound.ReplicaDigester = (*StateMachine)(nil)

const (
	// digestsMax bounds the digests that a node computes at once.
	digestsMax = 2
	// marksMax bounds the marks that a shard keeps, and with them the content that is held fast.
	marksMax = 2
	// markAgeMax is how long a mark nobody asks for is kept, by log time.
	markAgeMax = time.Minute
)

// marks are the newest marks in a shard's log with the content as of them. They are not part of the
// replicated state: a replica that lost them is asked again at a new mark.
type marks struct {
	id     shard.ID
	pinner outbound.ContentPinner
	mu     struct {
		sync.Mutex
		kept    []mark
		changed chan struct{} // closed and replaced by each new mark
	}
}

// mark is one place in the log. Whoever asks first takes its digest.
type mark struct {
	number  uint64
	index   uint64
	logTime time.Duration
	digest  func(context.Context) ([]byte, error) // nil once taken
	err     error                                 // why there is no digest
}

func (m *marks) init(id shard.ID, pinner outbound.ContentPinner) {
	m.id, m.pinner = id, pinner
	m.mu.changed = make(chan struct{})
}

// set holds the content fast. No Append may run beside it.
func (m *marks) set(number, index uint64, now time.Duration) {
	if m.pinner == nil {
		return
	}
	digest, err := m.pinner.PinContent(m.id)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.mu.kept) >= marksMax {
		m.mu.kept = append([]mark(nil), m.mu.kept[1:]...)
	}
	m.mu.kept = append(m.mu.kept, mark{number: number, index: index, logTime: now, digest: digest, err: err})
	close(m.mu.changed)
	m.mu.changed = make(chan struct{})
}

// expire forgets marks that nobody has asked for.
func (m *marks) expire(now time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.mu.kept) > 0 && now-m.mu.kept[0].logTime > markAgeMax {
		m.mu.kept = append([]mark(nil), m.mu.kept[1:]...)
	}
}

// take returns a mark whose digest nobody else will compute, or a channel that closes when there may be
// one.
func (m *marks) take(number uint64) (found mark, ok bool, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.mu.kept {
		if k := &m.mu.kept[i]; k.number == number {
			found = *k
			k.digest = nil
			return found, true, nil
		}
	}
	return mark{}, false, m.mu.changed
}

// DigestAt implements inbound.ReplicaDigester.
func (s *StateMachine) DigestAt(ctx context.Context, id shard.ID, number uint64) (outbound.ReplicaDigest, error) {
	m, err := s.machine(id)
	if err != nil {
		return outbound.ReplicaDigest{}, fault.Wrap(err, fault.Unavailable, "no_replica", "the node that was asked holds no replica of shard "+id.String())
	}
	for {
		found, ok, changed := m.marks.take(number)
		if ok {
			return s.digest(ctx, id, found)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return outbound.ReplicaDigest{}, errMarkUnknown.WithCause(context.Cause(ctx))
		}
	}
}

var errMarkUnknown = fault.New(fault.Unavailable, "mark_unknown", "the replica has not come to the mark, or does not keep it any more")

func (s *StateMachine) digest(ctx context.Context, id shard.ID, m mark) (outbound.ReplicaDigest, error) {
	switch {
	case m.err != nil:
		return outbound.ReplicaDigest{}, fmt.Errorf("hold the content of shard %v: %w", id, m.err)
	case m.digest == nil:
		return outbound.ReplicaDigest{}, errMarkUnknown
	}
	select {
	case s.digesting <- struct{}{}:
		defer func() { <-s.digesting }()
	case <-ctx.Done():
		return outbound.ReplicaDigest{}, fmt.Errorf("wait for other digests: %w", context.Cause(ctx))
	}
	sum, err := m.digest(ctx)
	if err != nil {
		return outbound.ReplicaDigest{}, fmt.Errorf("sum up shard %v: %w", id, err)
	}
	return outbound.ReplicaDigest{Index: m.index, Digest: sum}, nil
}
