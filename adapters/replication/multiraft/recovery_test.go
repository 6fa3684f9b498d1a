package multiraft

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

func TestRecoverState(t *testing.T) {
	founding, err := Membership(1)
	if err != nil {
		t.Fatal(err)
	}
	hard := func(term, commit uint64) *raftpb.HardState {
		return &raftpb.HardState{Term: new(term), Vote: new(uint64(1)), Commit: new(commit)}
	}
	type want struct {
		applied  uint64
		commit   uint64
		term     uint64
		vote     uint64
		reset    LogPoint
		snapshot bool
		kind     fault.Kind // Internal: no error
	}
	f := func(name string, stored LogState, applied AppliedPoint, termAtApplied uint64, want want) {
		t.Helper()
		if stored.Identity.ReplicaID == 0 && name != "no log" {
			stored.Identity = LogIdentity{ReplicaID: 1, Founding: founding}
		}
		r, err := recoverState(testGroup, stored, applied, termAtApplied)
		if err != nil || want.kind != fault.Internal {
			if err == nil || fault.KindOf(err) != want.kind {
				t.Fatalf("%s: err=%v, want kind %d", name, err, want.kind)
			}
			return
		}
		if r.NeedsSnapshot != want.snapshot || r.Applied.Index != want.applied {
			t.Fatalf("%s: snapshot=%v applied=%d, want %v %d", name, r.NeedsSnapshot, r.Applied.Index, want.snapshot, want.applied)
		}
		if want.snapshot {
			return
		}
		h := r.Stored.HardState
		if h.GetCommit() != want.commit || h.GetTerm() != want.term || h.GetVote() != want.vote {
			t.Fatalf("%s: hard state %v, want commit %d term %d vote %d", name, h, want.commit, want.term, want.vote)
		}
		var reset LogPoint
		if r.Write.Reset != nil {
			reset = *r.Write.Reset
			if r.Stored.Truncated != reset || r.Stored.Last != reset.Index {
				t.Fatalf("%s: stored %+v does not follow the reset", name, r.Stored)
			}
		}
		if reset != want.reset {
			t.Fatalf("%s: reset to %+v, want %+v", name, reset, want.reset)
		}
		if len(r.Applied.Membership) == 0 && r.Applied.Index > 0 {
			t.Fatalf("%s: no membership", name)
		}
	}
	at := func(index, term uint64) AppliedPoint {
		return AppliedPoint{LogPoint: LogPoint{Index: index, Term: term}}
	}
	founded := LogPoint{Index: 1, Term: 1}

	f("no log", LogState{}, at(3, 1), 0, want{kind: fault.Corrupt})
	f("just founded", LogState{Truncated: founded, Last: 1, HardState: hard(1, 1)}, at(0, 0), 0,
		want{applied: 1, commit: 1, term: 1, vote: 1})
	f("state ahead of the commit index", LogState{Truncated: founded, Last: 9, HardState: hard(2, 4)}, at(7, 2), 2,
		want{applied: 7, commit: 7, term: 2, vote: 1})
	f("state behind", LogState{Truncated: founded, Last: 9, HardState: hard(2, 8)}, at(5, 2), 2,
		want{applied: 5, commit: 8, term: 2, vote: 1})
	f("state lost, log whole", LogState{Truncated: founded, Last: 9, HardState: hard(2, 8)}, at(0, 0), 1,
		want{applied: 1, commit: 8, term: 2, vote: 1})
	f("log ends before the state", LogState{Truncated: founded, Last: 5, HardState: hard(2, 5)}, at(8, 3), 0,
		want{applied: 8, commit: 8, term: 3, vote: 0, reset: LogPoint{Index: 8, Term: 3}})
	f("log has another entry there", LogState{Truncated: founded, Last: 9, HardState: hard(4, 5)}, at(8, 3), 2,
		want{applied: 8, commit: 8, term: 4, vote: 1, reset: LogPoint{Index: 8, Term: 3}})
	f("log starts at the state", LogState{Truncated: LogPoint{8, 3}, Last: 8, HardState: hard(3, 8)}, at(8, 3), 3,
		want{applied: 8, commit: 8, term: 3, vote: 1})
	f("log starts after the state", LogState{Truncated: LogPoint{8, 3}, Last: 9, HardState: hard(3, 9)}, at(7, 3), 0,
		want{applied: 7, snapshot: true})
	f("log starts after a lost state", LogState{Truncated: LogPoint{8, 3}, Last: 9, HardState: hard(3, 9)}, at(0, 0), 0,
		want{applied: 1, snapshot: true})
	f("log cut below its commit index", LogState{Truncated: founded, Last: 5, HardState: hard(3, 6)}, at(4, 3), 3,
		want{kind: fault.Corrupt})
	joined := LogIdentity{ReplicaID: 4}
	f("just joined", LogState{Identity: joined}, at(0, 0), 0, want{})
	f("joined, membership lost", LogState{Identity: joined, Truncated: LogPoint{8, 3}, Last: 8, HardState: hard(3, 8)}, at(8, 3), 3,
		want{kind: fault.Corrupt})
}
