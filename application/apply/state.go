package apply

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// stateVersion is the format of a ledger's bytes.
const stateVersion = 1

// errState means that stored bytes are not a ledger.
var errState = fault.New(fault.Corrupt, "machine_state_corrupt", "the shard's stored sessions and keys fail their check")

// encode returns the ledger's bytes, equal for equal ledgers: every list stands in the order of its
// touches, forgotten by shard. Log time is kept beside them, in outbound.AppliedState.
//
//	version                          byte
//	newest session, newest number    uvarint each
//	unused sessions                  uvarint count, each: id, touched
//	sessions                         uvarint count, each: id, touched, floor,
//	                                 taken: uvarint words, 8 bytes little endian each,
//	                                   bit i of the sequence floor+i
//	                                 others: uvarint count, each: sequence-floor uvarint, verdict byte
//	keys                             uvarint count, each: id (16), digest (32), touched, number,
//	                                 received varint, stored+1 or 0 while open
//	identities                       uvarint count, each: home, number, touched
//	forgotten                        uvarint count, each: home, number
//
// Numbers are uvarints, times nanoseconds of log time.
func (l *ledger) encode() []byte {
	b := make([]byte, 0, 64+24*l.sessions.len()+72*l.keys.len()+16*l.identities.len())
	b = append(b, stateVersion)
	b = binary.AppendUvarint(b, l.sessionLast)
	b = binary.AppendUvarint(b, l.numberLast)
	b = binary.AppendUvarint(b, uint64(l.unused.len()))
	for e := l.unused.oldest; e != nil; e = e.newer {
		b = appendUvarints(b, e.key, uint64(e.touched))
	}
	b = binary.AppendUvarint(b, uint64(l.sessions.len()))
	for e := l.sessions.oldest; e != nil; e = e.newer {
		b = appendUvarints(b, e.key, uint64(e.touched))
		b = e.value.encode(b)
	}
	b = binary.AppendUvarint(b, uint64(l.keys.len()))
	for e := l.keys.oldest; e != nil; e = e.newer {
		b = append(b, e.key[:]...)
		b = append(b, e.value.digest[:]...)
		b = appendUvarints(b, uint64(e.touched), e.value.number)
		b = binary.AppendVarint(b, int64(e.value.received))
		stored := uint64(0)
		if e.value.finished {
			stored = e.value.stored + 1
		}
		b = binary.AppendUvarint(b, stored)
	}
	b = binary.AppendUvarint(b, uint64(l.identities.len()))
	for e := l.identities.oldest; e != nil; e = e.newer {
		b = appendUvarints(b, uint64(e.key.Home), e.key.Number, uint64(e.touched))
	}
	b = binary.AppendUvarint(b, uint64(len(l.forgotten)))
	for _, home := range slices.Sorted(maps.Keys(l.forgotten)) {
		b = appendUvarints(b, uint64(home), l.forgotten[home])
	}
	return b
}

func appendUvarints(b []byte, values ...uint64) []byte {
	for _, v := range values {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func (w *window) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, w.floor)
	var words [len(w.taken)]uint64
	used := 0
	for i := range uint64(command.WindowMax) {
		if s := w.floor + i; w.taken[s%command.WindowMax/64]&(1<<(s%64)) != 0 {
			words[i/64] |= 1 << (i % 64)
			used = int(i/64) + 1
		}
	}
	b = binary.AppendUvarint(b, uint64(used))
	for _, word := range words[:used] {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	b = binary.AppendUvarint(b, uint64(len(w.others)))
	for _, o := range w.others {
		b = binary.AppendUvarint(b, o.sequence-w.floor)
		b = append(b, byte(o.verdict))
	}
	return b
}

// decodeLedger reads what encode wrote; now is the log time kept beside it. No bytes at all are the
// ledger of a new shard.
func decodeLedger(data []byte, now time.Duration, limits Limits) (*ledger, error) {
	l := newLedger(limits)
	l.now = now
	if len(data) == 0 {
		return l, nil
	}
	if data[0] != stateVersion {
		return nil, errState.WithCause(fmt.Errorf("version %d, want %d", data[0], stateVersion))
	}
	r := stateReader{rest: data[1:], now: now}
	l.sessionLast, l.numberLast = r.uvarint(), r.uvarint()
	for range r.count() {
		id := r.uvarint()
		addOnce(&r, &l.unused, id, struct{}{}, r.touched())
	}
	for range r.count() {
		id, touched := r.uvarint(), r.touched()
		addOnce(&r, &l.sessions, id, r.window(), touched)
	}
	for range r.count() {
		var id command.KeyID
		r.bytes(id[:])
		touched, k := r.key()
		addOnce(&r, &l.keys, id, k, touched)
	}
	for range r.count() {
		i := command.Identity{Home: r.home(), Number: r.uvarint()}
		addOnce(&r, &l.identities, i, struct{}{}, r.touched())
	}
	for range r.count() {
		home := r.home()
		l.forgotten[home] = r.uvarint()
	}
	if r.err == nil && len(r.rest) != 0 {
		r.fail("bytes behind the end")
	}
	if r.err != nil {
		return nil, errState.WithCause(r.err)
	}
	return l, nil
}

// addOnce adds an entry that must be new and not older than the one before.
func addOnce[K comparable, V any](r *stateReader, a *aging[K, V], key K, value V, touched time.Duration) {
	if a.get(key) != nil || a.newest != nil && a.newest.touched > touched {
		r.fail("entries out of order")
	}
	if r.err == nil {
		a.add(key, value, touched)
	}
}

// stateReader consumes a ledger's bytes; after the first failure it returns zeros.
type stateReader struct {
	rest []byte
	now  time.Duration
	err  error
}

func (r *stateReader) fail(what string) {
	if r.err == nil {
		r.err = errors.New(what)
	}
	r.rest = nil
}

func (r *stateReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("number cut short")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *stateReader) bytes(into []byte) {
	if len(r.rest) < len(into) {
		r.fail("bytes cut short")
		return
	}
	copy(into, r.rest)
	r.rest = r.rest[len(into):]
}

// count reads how many entries follow, each of at least a byte.
func (r *stateReader) count() uint64 {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail("count too great")
		return 0
	}
	return n
}

func (r *stateReader) touched() time.Duration {
	t := r.uvarint()
	if t > uint64(max(r.now, 0)) {
		r.fail("time after the log's")
	}
	return time.Duration(t)
}

func (r *stateReader) home() shard.ID {
	h := r.uvarint()
	if h >= shard.CountMax {
		r.fail("unknown shard")
	}
	return shard.ID(h)
}

func (r *stateReader) key() (time.Duration, key) {
	var k key
	r.bytes(k.digest[:])
	touched := r.touched()
	k.number = r.uvarint()
	received, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail("time of receipt cut short")
		return 0, key{}
	}
	r.rest = r.rest[n:]
	k.received = metric.Timestamp(received)
	if stored := r.uvarint(); stored > 0 {
		k.finished, k.stored = true, stored-1
	}
	return touched, k
}

func (r *stateReader) window() *window {
	w := newWindow()
	w.floor = r.uvarint()
	words := r.uvarint()
	if words > uint64(len(w.taken)) {
		r.fail("window too large")
		return w
	}
	for i := range words {
		var word [8]byte
		r.bytes(word[:])
		bits := binary.LittleEndian.Uint64(word[:])
		for bit := range uint64(64) {
			if s := w.floor + 64*i + bit; bits&(1<<bit) != 0 {
				w.taken[s%command.WindowMax/64] |= 1 << (s % 64)
			}
		}
	}
	for range r.count() {
		sequence := w.floor + r.uvarint()
		var verdict [1]byte
		r.bytes(verdict[:])
		w.others = append(w.others, verdictAt{sequence: sequence, verdict: command.Verdict(verdict[0])})
	}
	return w
}
