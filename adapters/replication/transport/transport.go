// Package transport carries Raft messages between nodes: one stream a peer and direction, on which the
// messages of all groups share frames, with bounded queues that a slow or dead peer fills alone.
package transport

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var _ multiraft.Transport = (*Transport)(nil)

// A peer that does not answer, because it is stopped, cut off or gone, is noticed within
// PeerSilenceMax: the sender asks for a sign of life every pingInterval and waits pongMax for it, the
// receiver waits that long for anything.
const (
	PeerSilenceMax = pingInterval + pongMax

	pingInterval = time.Second
	pongMax      = 4 * time.Second
	// writeMax bounds the time in which a piece of pieceBytes must get away.
	writeMax   = pongMax
	pieceBytes = 256 << 10
	// dialMax bounds one attempt to connect, whatever the dialer's own bounds.
	dialMax = 10 * time.Second
	// After a failed attempt the next waits between half and all of a delay that doubles from
	// backoffFirst to backoffMax.
	backoffFirst = 50 * time.Millisecond
	backoffMax   = 2 * time.Second
	// streamStable is how long a stream must have lived for the next failure to begin at backoffFirst.
	streamStable = 5 * time.Second
)

// Limits bound what waits for one peer. The zero value of a field means its default.
type Limits struct {
	// QueueMessagesMax bounds the messages that wait; 0: 16,384.
	QueueMessagesMax int
	// QueueBytesMax bounds their bytes; one message may exceed it when nothing else waits; 0: 64 MiB.
	QueueBytesMax int
	// FrameBytesTarget is the size from which a frame takes no further message; 0: 1 MiB.
	FrameBytesTarget int
}

func (l *Limits) fill() error {
	for _, f := range []struct {
		field *int
		value int
	}{{&l.QueueMessagesMax, 16384}, {&l.QueueBytesMax, 64 << 20}, {&l.FrameBytesTarget, 1 << 20}} {
		if *f.field == 0 {
			*f.field = f.value
		}
		if *f.field < 0 {
			return errors.New("check transport limits: a bound is negative")
		}
	}
	return nil
}

// Config is what a Transport needs. Limits, Lost and Observer may be left zero.
type Config struct {
	// Locate returns the node that holds a replica, at once; false when it is not known.
	Locate func(group multiraft.GroupID, replica uint64) (cluster.NodeID, bool)
	// Dial opens an authenticated connection to a node, resolving its name anew.
	Dial func(ctx context.Context, node cluster.NodeID) (net.Conn, error)
	// Receive takes a message that arrived, may keep it, and returns at once.
	Receive func(group multiraft.GroupID, m *raftpb.Message)
	// Lost, when not nil, learns of messages with entries or a snapshot that certainly or probably
	// did not arrive: raft must be told (Unreachable, SnapshotSent), or it waits. It returns at once.
	Lost     func(group multiraft.GroupID, m *raftpb.Message)
	Entropy  outbound.Entropy
	Observer Observer
	Log      zerolog.Logger
	Limits   Limits
}

// Transport sends to every peer of this node. Send may be called before and after Run.
type Transport struct {
	config Config
	work   sync.WaitGroup
	mu     struct {
		sync.Mutex
		running context.Context //nolint:containedctx // the lifetime of the peers that Send starts
		peers   map[cluster.NodeID]*peer
	}
}

// New checks config and returns a transport whose messages wait until Run.
func New(config Config) (*Transport, error) {
	if config.Locate == nil || config.Dial == nil || config.Receive == nil || config.Entropy == nil {
		return nil, errors.New("check transport config: Locate, Dial, Receive and Entropy are needed")
	}
	if err := config.Limits.fill(); err != nil {
		return nil, err
	}
	if config.Observer == nil {
		config.Observer = silent{}
	}
	if config.Lost == nil {
		config.Lost = func(multiraft.GroupID, *raftpb.Message) {}
	}
	t := &Transport{config: config}
	t.mu.peers = map[cluster.NodeID]*peer{}
	return t, nil
}

// Run sends until ctx ends and returns after the last of its goroutines. It may be called once.
func (t *Transport) Run(ctx context.Context) error {
	t.mu.Lock()
	t.mu.running = ctx //nolint:fatcontext // kept for the peers that Send starts
	for _, p := range t.mu.peers {
		t.work.Go(func() { p.run(ctx) })
	}
	t.mu.Unlock()
	<-ctx.Done()
	t.mu.Lock()
	t.mu.running = nil // from here on Send starts no peer
	t.mu.Unlock()
	t.work.Wait()
	return nil
}

// Send implements multiraft.Transport.
func (t *Transport) Send(messages []multiraft.Message) {
	var last *peer
	var lastNode cluster.NodeID
	for _, m := range messages {
		node, ok := t.config.Locate(m.Group, m.Message.GetTo())
		if !ok {
			t.lose(cluster.NodeID{}, m)
			continue
		}
		if last == nil || node != lastNode {
			last, lastNode = t.peer(node), node
		}
		if last == nil || !last.offer(m, proto.Size(m.Message)) {
			t.lose(node, m)
		}
	}
}

// lose counts a message that will not arrive and tells raft where it has to know.
func (t *Transport) lose(node cluster.NodeID, m multiraft.Message) {
	t.config.Observer.MessagesDropped(node, 1)
	if typ := m.Message.GetType(); typ == raftpb.MsgApp || typ == raftpb.MsgSnap {
		t.config.Lost(m.Group, m.Message)
	}
}

// peer returns the sender to a node, nil when there are more nodes than a cluster can have.
func (t *Transport) peer(node cluster.NodeID) *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.mu.peers[node]; p != nil {
		return p
	}
	if len(t.mu.peers) >= cluster.NodesMax {
		return nil
	}
	p := newPeer(t, node)
	t.mu.peers[node] = p
	if ctx := t.mu.running; ctx != nil && ctx.Err() == nil {
		t.work.Go(func() { p.run(ctx) })
	}
	return p
}
