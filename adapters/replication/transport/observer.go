package transport

import (
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// Observer learns what the transport does, for metrics. Its methods return at once and are called
// concurrently.
type Observer interface {
	// FrameSent: a frame with this many messages and bytes went to the peer; queued messages wait still.
	FrameSent(peer cluster.NodeID, messages, bytes, queued int)
	// FrameReceived: a frame with this many messages and bytes came from the peer.
	FrameReceived(peer cluster.NodeID, messages, bytes int)
	// MessagesDropped: messages to the peer were given up; the zero NodeID when it was not known.
	MessagesDropped(peer cluster.NodeID, messages int)
	// Connected: the stream to the peer was opened.
	Connected(peer cluster.NodeID)
	// Disconnected: the stream to the peer ended, or could not be opened.
	Disconnected(peer cluster.NodeID, cause error)
	// RoundTrip: the peer answered a ping after this time.
	RoundTrip(peer cluster.NodeID, took time.Duration)
}

// silent observes nothing.
type silent struct{}

func (silent) FrameSent(cluster.NodeID, int, int, int) {}
func (silent) FrameReceived(cluster.NodeID, int, int)  {}
func (silent) MessagesDropped(cluster.NodeID, int)     {}
func (silent) Connected(cluster.NodeID)                {}
func (silent) Disconnected(cluster.NodeID, error)      {}
func (silent) RoundTrip(cluster.NodeID, time.Duration) {}
