package apply_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// PinContent implements outbound.ContentPinner: the digest is the samples' list.
func (r *rig) PinContent(shard.ID) (func(context.Context) ([]byte, error), error) {
	if r.broken != nil {
		return nil, r.broken
	}
	pinned := strings.Join(r.samples, ",")
	return func(context.Context) ([]byte, error) { return []byte(pinned), nil }, nil
}

func (r *rig) openPinned() {
	r.machine = apply.New(apply.Options{Appender: r, Cutter: r, Pinner: r})
	if err := r.machine.Restore(0, r.cut); err != nil {
		r.t.Fatalf("restore: %v", err)
	}
}

func (r *rig) wantDigest(mark, index uint64, digest string) {
	r.t.Helper()
	got, err := r.machine.DigestAt(context.Background(), 0, mark)
	if err != nil || got.Index != index || string(got.Digest) != digest {
		r.t.Fatalf("digest %q at %d, %v; want %q at %d", got.Digest, got.Index, err, digest, index)
	}
}

func (r *rig) wantMarkUnknown(ctx context.Context, mark uint64) {
	r.t.Helper()
	if got, err := r.machine.DigestAt(ctx, 0, mark); fault.From(err) == nil || fault.From(err).Code() != "mark_unknown" {
		r.t.Fatalf("digest %q, %v; want mark_unknown", got.Digest, err)
	}
}

func TestMarkHoldsTheContentOfItsPlace(t *testing.T) {
	r := newRig(t, apply.Limits{})
	r.openPinned()
	s := r.register()
	before := r.state()
	// Within one entry, what follows the mark is not in it.
	r.apply(write(at(s, 1, 1), none, 1, "a"), command.EncodeMark(7), write(at(s, 2, 1), none, 2, "b"))
	r.apply(write(at(s, 3, 1), none, 3, "c"))
	r.wantDigest(7, 2, "a 7 1")
	r.wantMarkUnknown(t.Context(), 7) // taken
	r.apply(command.EncodeMark(8))
	r.wantDigest(8, 4, "a 7 1,b 7 2,c 7 3")
	if after := r.state(); after.Index != before.Index+3 {
		t.Fatalf("at index %d, want %d", after.Index, before.Index+3)
	}
}

func TestMarksAreNoState(t *testing.T) {
	r, plain := newRig(t, apply.Limits{}), newRig(t, apply.Limits{})
	r.openPinned()
	for _, rig := range []*rig{r, plain} {
		rig.verdict(command.EncodeMark(1), command.Applied)
	}
	if a, b := r.state(), plain.state(); string(a.Machine) != string(b.Machine) {
		t.Fatal("a mark left a trace in the replicated state")
	}
}

func TestOnlyNewMarksAreKept(t *testing.T) {
	r := newRig(t, apply.Limits{})
	r.openPinned()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.apply(command.EncodeMark(1), command.EncodeMark(2), command.EncodeMark(3))
	r.wantMarkUnknown(ended, 1) // newer ones came
	r.wantDigest(2, 1, "")
	r.now = 2 * time.Minute
	r.apply(command.EncodeMark(4))
	r.wantMarkUnknown(ended, 3) // nobody asked in time
	r.wantDigest(4, 2, "")
}

func TestWhoAsksEarlyWaitsForTheMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, apply.Limits{})
		r.openPinned()
		got := make(chan error, 1)
		go func() {
			d, err := r.machine.DigestAt(t.Context(), 0, 9)
			if err == nil && d.Index != 2 {
				err = fmt.Errorf("digest at %d, want 2", d.Index)
			}
			got <- err
		}()
		synctest.Wait()
		r.apply(command.EncodeMark(8))
		r.apply(command.EncodeMark(9))
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.wantMarkUnknown(ctx, 10)
	})
}

func TestNoDigest(t *testing.T) {
	r := newRig(t, apply.Limits{})
	r.openPinned()
	if _, err := r.machine.DigestAt(t.Context(), 5, 1); fault.From(err).Code() != "no_replica" {
		t.Errorf("a shard that is not here: %v", err)
	}
	r.broken = errors.New("disk on fire")
	r.apply(command.EncodeMark(1))
	if _, err := r.machine.DigestAt(t.Context(), 0, 1); !errors.Is(err, r.broken) {
		t.Errorf("err=%v, want %v", err, r.broken)
	}
	if raw, err := r.machine.Apply(t.Context(), 0, []inbound.Entry{{Index: 2, Commands: [][]byte{{1, 5, 0, 0, 0, 1}}}}); err != nil || raw[0][1] != byte(command.Malformed) {
		t.Errorf("a short mark: %v, %v", raw, err)
	}
}
