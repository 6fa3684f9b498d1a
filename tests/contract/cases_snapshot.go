package contract

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// make makes a snapshot of a shard, which must be at index.
func (s *subject) make(id shard.ID, index uint64) outbound.ShardSnapshot {
	s.Helper()
	made, err := s.store.MakeSnapshot(s.ctx, id)
	if err != nil || !equalState(made.State, stateAt(index)) {
		s.Fatalf("MakeSnapshot(%d)=%+v, %v, want %+v", id, made.State, err, stateAt(index))
	}
	return made
}

// data reads a whole snapshot.
func (s *subject) data(id shard.ID, manifest []byte) []byte {
	s.Helper()
	d, err := s.store.OpenSnapshot(s.ctx, id, manifest)
	if err != nil {
		s.Fatalf("OpenSnapshot(%d): %v", id, err)
	}
	b, err := io.ReadAll(d)
	if err := errors.Join(err, d.Close()); err != nil || int64(len(b)) != d.Bytes {
		s.Fatalf("the snapshot has %d bytes, want %d: %v", len(b), d.Bytes, err)
	}
	return b
}

// receive gives data to the store as the snapshot that manifest describes, and commits it.
func (s *subject) receive(id shard.ID, manifest, data []byte) error {
	s.Helper()
	w, err := s.store.ReceiveSnapshot(s.ctx, id, manifest)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(data, 100_000) {
		if _, err := w.Write(part); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	return w.Commit(s.ctx)
}

// install installs a received snapshot, which must bring the shard to index.
func (s *subject) install(id shard.ID, manifest []byte, index uint64) {
	s.Helper()
	got, err := s.store.InstallSnapshot(s.ctx, id, manifest)
	if err != nil || !equalState(got, stateAt(index)) {
		s.Fatalf("InstallSnapshot(%d)=%+v, %v, want %+v", id, got, err, stateAt(index))
	}
}

// transfer makes a snapshot of a shard, which must be at index, and has another store receive it.
func (s *subject) transfer(id shard.ID, index uint64, to *subject) []byte {
	s.Helper()
	made := s.make(id, index)
	if err := to.receive(id, made.Manifest, s.data(id, made.Manifest)); err != nil {
		s.Fatalf("receive(%d): %v", id, err)
	}
	return made.Manifest
}

// checkDigest compares the content of a shard on two stores.
func (s *subject) checkDigest(id shard.ID, other *subject) {
	s.Helper()
	digest := func(of *subject) []byte {
		sum, err := of.store.PinContent(id)
		if err != nil {
			s.Fatalf("PinContent(%d): %v", id, err)
		}
		b, err := sum(s.ctx)
		if err != nil {
			s.Fatalf("digest of %d: %v", id, err)
		}
		return b
	}
	if a, b := digest(s), digest(other); !bytes.Equal(a, b) {
		s.Errorf("digests differ: %x and %x", a, b)
	}
}

func testSnapshot(t env) {
	from, to := start(t, Options{}, 2), start(t, Options{}, 2)
	if _, err := from.store.MakeSnapshot(from.ctx, 0); fault.From(err).Code() != "snapshot_none" {
		t.Fatalf("MakeSnapshot of an empty shard: %v, want snapshot_none", err)
	}
	var all []sample
	for round := range 3 {
		batch := ramp(t, round*200, 200)
		from.append(0, batch...)
		from.cut(0, uint64(round+1))
		from.flush(0, uint64(round+1))
		all = append(all, batch...)
	}
	to.append(0, ramp(t, 10_000, 77)...) // What the receiver had is replaced, flushed or not.
	to.append(1, ramp(t, 20_000, 5)...)
	to.cut(0, 1)
	to.flush(0, 1)
	to.append(0, ramp(t, 11_000, 77)...)
	to.cut(0, 2)
	to.append(0, ramp(t, 12_000, 77)...)
	from.append(0, ramp(t, 50_000, 10)...) // Not durable, so not in the snapshot.
	manifest := from.transfer(0, 3, to)
	to.install(0, manifest, 3)
	check := func() {
		t.Helper()
		to.check(rampSpec(t), all, 0)
		to.checkLatest(nameOf(t, "m"), metric.Matchers{}, all, 0)
	}
	check()
	to.check(rampSpec(t), ramp(t, 20_000, 5), 1)
	to.flush(0, 3)
	more := ramp(t, 30_000, 40)
	to.append(0, more...)
	all = append(all, more...)
	check()
	to.cut(0, 9)
	to.flush(0, 9)
	to.crash()
	if got := to.begin(2)[0]; !equalState(got, stateAt(9)) {
		t.Fatalf("state=%+v, want %+v", got, stateAt(9))
	}
	check()
	back := to.transfer(0, 9, from)
	from.install(0, back, 9)
	from.check(rampSpec(t), all, 0)
	from.checkDigest(0, to)
}

// testSnapshotKept changes a shard in every way while a snapshot of it is read.
func testSnapshotKept(t env) {
	from, to := start(t, Options{}, 1), start(t, Options{}, 1)
	first := ramp(t, 0, 30_000)
	from.append(0, first...)
	from.cut(0, 1)
	from.flush(0, 1)
	made := from.make(0, 1)
	if again := from.make(0, 1); !bytes.Equal(again.Manifest, made.Manifest) {
		t.Error("an unchanged shard gave another snapshot")
	}
	reading, err := from.store.OpenSnapshot(from.ctx, 0, made.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, reading.Bytes)
	half := data[:len(data)/2]
	if _, err := io.ReadFull(reading, half); err != nil {
		t.Fatal(err)
	}
	var newest outbound.ShardSnapshot
	for i := range uint64(4) {
		from.append(0, ramp(t, int(i)*1000, 5000)...)
		from.cut(0, i+2)
		from.flush(0, i+2)
		newest = from.make(0, i+2)
	}
	from.store.ReleaseSnapshots(0)
	if _, err := from.store.OpenSnapshot(from.ctx, 0, newest.Manifest); fault.KindOf(err) != fault.NotFound {
		t.Errorf("OpenSnapshot of a released one: %v, want NotFound", err)
	}
	if _, err := io.ReadFull(reading, data[len(half):]); err != nil {
		t.Fatal(err)
	}
	if err := reading.Close(); err != nil {
		t.Fatal(err)
	}
	if err := to.receive(0, made.Manifest, data); err != nil {
		t.Fatal(err)
	}
	to.install(0, made.Manifest, 1)
	to.check(rampSpec(t), first, 0)
}

// testSnapshotDamaged gives a store everything but the snapshot that it was promised.
func testSnapshotDamaged(t env) {
	from, to := start(t, Options{}, 2), start(t, Options{}, 2)
	from.append(0, ramp(t, 0, 1000)...)
	from.cut(0, 5)
	from.flush(0, 5)
	to.append(0, ramp(t, 500, 10)...)
	made := from.make(0, 5)
	data := from.data(0, made.Manifest)
	flipped := bytes.Clone(data)
	flipped[len(flipped)/2] ^= 4
	badManifest := bytes.Clone(made.Manifest)
	badManifest[20] ^= 1
	for name, c := range map[string]struct {
		id             shard.ID
		manifest, data []byte
		want           fault.Kind
	}{
		"flipped":       {0, made.Manifest, flipped, fault.Corrupt},
		"short":         {0, made.Manifest, data[:len(data)-1], fault.Corrupt},
		"long":          {0, made.Manifest, append(bytes.Clone(data), 0), fault.Corrupt},
		"empty":         {0, made.Manifest, nil, fault.Corrupt},
		"manifest":      {0, badManifest, data, fault.Corrupt},
		"no manifest":   {0, nil, data, fault.Corrupt},
		"another shard": {1, made.Manifest, data, fault.Conflict},
	} {
		if err := to.receive(c.id, c.manifest, c.data); fault.KindOf(err) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, ok, err := to.store.ReceivedSnapshot(to.ctx, c.id); ok || err != nil {
			t.Errorf("%s: ReceivedSnapshot=%v, %v, want none", name, ok, err)
		}
		if _, err := to.store.InstallSnapshot(to.ctx, 0, made.Manifest); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: InstallSnapshot: %v, want NotFound", name, err)
		}
	}
	w, err := to.store.ReceiveSnapshot(to.ctx, 0, made.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.store.ReceiveSnapshot(to.ctx, 0, made.Manifest); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second ReceiveSnapshot: %v, want Conflict", err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	to.check(rampSpec(t), ramp(t, 500, 10), 0)
	if err := to.receive(0, made.Manifest, data); err != nil {
		t.Fatal(err)
	}
	to.install(0, made.Manifest, 5)
	to.check(rampSpec(t), ramp(t, 0, 1000), 0)
}

// testSnapshotPending receives a snapshot and crashes before it is installed.
func testSnapshotPending(t env) {
	from, to := start(t, Options{}, 1), start(t, Options{}, 1)
	from.append(0, ramp(t, 0, 1000)...)
	from.cut(0, 5)
	from.flush(0, 5)
	own := ramp(t, 5000, 10)
	to.append(0, own...)
	to.cut(0, 2)
	to.flush(0, 2)
	from.transfer(0, 5, to)
	to.crash()
	if got := to.begin(1)[0]; !equalState(got, stateAt(2)) {
		t.Fatalf("state=%+v, want %+v", got, stateAt(2))
	}
	to.check(rampSpec(t), own, 0)
	got, ok, err := to.store.ReceivedSnapshot(to.ctx, 0)
	if err != nil || !ok || got.State.Index != 5 || got.State.Term != stateAt(5).Term {
		t.Fatalf("ReceivedSnapshot=%+v, %v, %v, want index 5", got.State, ok, err)
	}
	to.install(0, got.Manifest, 5)
	to.check(rampSpec(t), ramp(t, 0, 1000), 0)
	to.crash()
	if got := to.begin(1)[0]; !equalState(got, stateAt(5)) {
		t.Fatalf("state=%+v, want %+v", got, stateAt(5))
	}
	if _, ok, err := to.store.ReceivedSnapshot(to.ctx, 0); ok || err != nil {
		t.Fatalf("ReceivedSnapshot after its installation: %v, %v, want none", ok, err)
	}
	// One that the shard has overtaken by its log is forgotten.
	from.transfer(0, 5, to)
	to.cut(0, 6)
	to.flush(0, 6)
	to.crash()
	to.begin(1)
	if _, ok, err := to.store.ReceivedSnapshot(to.ctx, 0); ok || err != nil {
		t.Fatalf("ReceivedSnapshot of an overtaken one: %v, %v, want none", ok, err)
	}
}

func testRemove(t env) {
	for name, remove := range map[string]func(*subject, shard.ID) error{
		"Destroy":    func(s *subject, id shard.ID) error { return s.store.Destroy(s.ctx, id) },
		"Quarantine": func(s *subject, id shard.ID) error { return s.store.Quarantine(s.ctx, id) },
	} {
		t.Run(name, func(sub *testing.T) {
			t := env{T: sub, factory: t.factory}
			s := start(t, Options{}, 2)
			s.append(1, ramp(t, 0, 10)...)
			s.cut(1, 1)
			s.flush(1, 1)
			for round := range uint64(3) {
				mine := ramp(t, int(round)*100, 100)
				s.append(0, mine...)
				s.cut(0, 10+round)
				s.flush(0, 10+round)
				s.append(0, sample{mine[0].series, 1, 1})
				s.check(rampSpec(t), append(mine, sample{mine[0].series, 1, 1}), 0) // Statements were kept.
				made := s.make(0, 10+round)
				if err := remove(s, 0); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				if _, err := s.store.Partials(s.ctx, []shard.ID{0}, s.query(rampSpec(t))); fault.From(err).Code() != "shard_closed" {
					t.Fatalf("Partials of a removed shard: %v, want shard_closed", err)
				}
				if _, err := s.store.OpenSnapshot(s.ctx, 0, made.Manifest); fault.KindOf(err) != fault.NotFound {
					t.Errorf("OpenSnapshot of a removed shard: %v, want NotFound", err)
				}
				if round == 1 {
					s.crash()
					if got := s.begin(2)[0]; got.Index != 0 {
						t.Fatalf("state=%+v, want none", got)
					}
				} else if got, err := s.store.Open(s.ctx, 0); err != nil || got.Index != 0 {
					t.Fatalf("Open=%+v, %v, want none", got, err)
				}
				s.check(rampSpec(t), nil, 0)
				s.check(rampSpec(t), ramp(t, 0, 10), 1)
			}
			if err := remove(s, 7); err != nil { // Never there.
				t.Fatal(err)
			}
			s.stop()
			s.begin(0)
			if err := remove(s, 1); err != nil { // Not open.
				t.Fatal(err)
			}
			if got, err := s.store.Open(s.ctx, 1); err != nil || got.Index != 0 {
				t.Fatalf("Open=%+v, %v, want none", got, err)
			}
		})
	}
}
