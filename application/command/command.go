// Package command is the language of a shard's log: the commands that gateways propose, the outcomes
// that the state machine answers, and their bytes. It is pure.
package command

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// Version is the format of the commands that this program writes; it reads all from version 1 on. A
// gateway may propose a newer one only once every replica of the shard reads it.
const Version = 2

// Limits of what a command may hold.
const (
	// BytesMax bounds one encoded command.
	BytesMax = 32 << 20
	// WindowMax bounds how far, within a session, a sequence may lie above the lowest unresolved one.
	WindowMax = 4096
)

// Kind says what a command asks for. The numbers are part of the format.
type Kind uint8

// The kinds.
const (
	// Register asks for a new session. Like Mark it stands outside sessions.
	Register Kind = 1
	// Write stores samples.
	Write Kind = 2
	// Begin records an idempotency key at its home shard, or finds what is recorded.
	Begin Kind = 3
	// Finish records that every shard has applied what was begun under a key.
	Finish Kind = 4
	// Mark changes nothing. It names a place in the log, so that replicas can be compared there.
	Mark Kind = 5
	// Delete forgets samples of a metric; since version 2.
	Delete Kind = 6
	// Retain moves cut-offs. As they only rise it may apply any number of times, so it stands outside
	// sessions; since version 2.
	Retain Kind = 7
)

// Header precedes every command. A Register, a Mark and a Retain carry zeros but for the version.
type Header struct {
	// Version is the format of the body, from 1 to Version. Only DecodeHeader sets it: what is written
	// is always the newest.
	Version uint8
	Kind    Kind
	// Session is what a Register's outcome gave; 0 only outside sessions.
	Session uint64
	// Sequence numbers the session's commands from 1. A command that is proposed again keeps it.
	Sequence uint64
	// Lowest is the session's lowest sequence whose outcome the gateway still waited for when it
	// encoded this command; 1 to Sequence. The state machine forgets what lies below.
	Lowest uint64
}

// Identity names a write across shards, so that each applies its part once however often the client
// retries. The zero Identity is none.
type Identity struct {
	Home   shard.ID // the shard that keeps the key
	Number uint64   // which Begin of that shard it was, from 1
}

// IsNone reports whether the write has no identity.
func (i Identity) IsNone() bool { return i.Number == 0 }

// KeyID stands for a client's idempotency key: the first half of its SHA-256.
type KeyID [16]byte

// KeyOf returns the id of a client's key.
func KeyOf(key string) KeyID {
	sum := sha256.Sum256([]byte(key))
	return KeyID(sum[:len(KeyID{})])
}

// Hash returns what the key's home shard is chosen by.
func (k KeyID) Hash() uint64 { return binary.LittleEndian.Uint64(k[:]) }

// BeginBody is what a Begin asks to record.
type BeginBody struct {
	Key      KeyID
	Digest   [32]byte         // of the raw request: another one under the same key is refused
	Received metric.Timestamp // what observations without a timestamp take, for retries too
}

// FinishBody is what a Finish records.
type FinishBody struct {
	Key    KeyID
	Number uint64 // of the Begin
	Stored uint64 // samples, for the answer to a retry
}
