package multiraft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/confchange"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var (
	errChangePending = fault.New(fault.Conflict, "membership_change_pending",
		"another membership change of the group is under way; try again when it is done")
	errChangeInvalid = fault.New(fault.Invalid, "membership_change_invalid",
		"the membership change does not fit the group's present members")
)

// change is the membership change that this leader proposed and that is not answered yet.
type change struct {
	active  bool
	logged  bool // seen in the log
	ticket  Ticket
	context []byte // by which its entry is known again
}

// is tells whether an entry holds this change.
func (c *change) is(e *raftpb.Entry) bool {
	var cc raftpb.ConfChangeV2
	return c.active && proto.Unmarshal(e.GetData(), &cc) == nil && bytes.Equal(cc.GetContext(), c.context)
}

// appliedChange is a membership change among the entries of an Apply.
type appliedChange struct {
	own bool // it is the change that this leader proposed
	err error
}

// Membership returns the configuration of a group founded with these voters, marshalled.
func Membership(voters ...uint64) ([]byte, error) {
	return marshalConfState(&raftpb.ConfState{Voters: voters})
}

func (r *Replica) changeMembership(e ChangeMembership, out *Effects) {
	refuse := func(err error) { out.Done = append(out.Done, ProposalDone{Ticket: e.Ticket, Err: err}) }
	if !r.settled {
		refuse(outbound.ErrNotProposed)
		return
	}
	if r.change.active || len(r.confState.GetVotersOutgoing()) > 0 {
		refuse(errChangePending)
		return
	}
	context := binary.LittleEndian.AppendUint64(make([]byte, 0, 24), r.id)
	context = binary.LittleEndian.AppendUint64(context, r.term)
	context = binary.LittleEndian.AppendUint64(context, uint64(e.Ticket))
	cc := &raftpb.ConfChangeV2{Changes: e.Changes, Context: context}
	if err := checkChange(r.confState, cc); err != nil || len(e.Changes) == 0 {
		refuse(errChangeInvalid.WithCause(err))
		return
	}
	if err := r.node.ProposeConfChange(cc); err != nil {
		refuse(outbound.ErrNotProposed)
		return
	}
	r.change = change{active: true, ticket: e.Ticket, context: context}
}

// checkChange tells whether raft could apply the change to the configuration: where it could not, it
// panics.
func checkChange(now *raftpb.ConfState, cc *raftpb.ConfChangeV2) error {
	changer := confchange.Changer{Tracker: tracker.MakeProgressTracker(1, 0)}
	config, progress, err := confchange.Restore(changer, now)
	if err != nil {
		return fmt.Errorf("restore configuration: %w", err)
	}
	changer.Tracker.Config, changer.Tracker.Progress = config, progress
	if cc.LeaveJoint() {
		_, _, err = changer.LeaveJoint()
	} else if autoLeave, joint := cc.EnterJoint(); joint {
		_, _, err = changer.EnterJoint(autoLeave, cc.GetChanges()...)
	} else {
		_, _, err = changer.Simple(cc.GetChanges()...)
	}
	if err != nil {
		return fmt.Errorf("change configuration: %w", err)
	}
	return nil
}

// applyMembership takes a committed membership change. One that does not fit the configuration it meets
// changes nothing, on every replica alike: what was checked when it was proposed may have changed.
func (r *Replica) applyMembership(e *raftpb.Entry, entry *inbound.Entry, a *Apply, out *Effects) error {
	var cc raftpb.ConfChangeV2
	if e.GetType() == raftpb.EntryConfChange {
		return errEnvelope // never proposed
	}
	if err := proto.Unmarshal(e.GetData(), &cc); err != nil {
		return errEnvelope.WithCause(err)
	}
	done := appliedChange{own: r.change.logged && r.change.is(e)}
	if err := checkChange(r.confState, &cc); err != nil {
		done.err = errChangeInvalid.WithCause(err)
	} else {
		r.confState, r.confIndex = r.node.ApplyConfChange(&cc), e.GetIndex()
		out.MembershipChanged = true
		if entry.Membership, err = marshalConfState(r.confState); err != nil {
			return err
		}
	}
	a.changes = append(a.changes, done)
	return nil
}

// announceMembership lets the followers learn at once that a membership is committed. Raft uses one only
// when it is applied, so as long as only the leader knows, the others would elect under the one before:
// and its replicas may be gone for good by the time the leader is lost. The empty entry is there so that
// somebody tells them; a dropped one leaves that to the next.
func (r *Replica) announceMembership() {
	if r.role != raft.StateLeader {
		return
	}
	r.confKnown = LogPoint{Index: r.view.last + 1, Term: r.term}
	if err := r.node.Propose(nil); err != nil && !errors.Is(err, raft.ErrProposalDropped) {
		panic(fmt.Sprintf("raft of %s refuses an empty entry: %v", r.group, err))
	}
}

// membershipKnown tells whether a majority of the voters, and every replica that is active, know that
// the present membership is committed.
func (r *Replica) membershipKnown() bool {
	voters, known, silent := 0, 0, false
	r.node.WithProgress(func(id uint64, kind raft.ProgressType, p tracker.Progress) {
		has := id == r.id || p.Match >= r.confKnown.Index
		silent = silent || !has && r.active(id)
		if kind == raft.ProgressTypePeer {
			voters++
			if has {
				known++
			}
		}
	})
	return !silent && 2*known > voters && r.confKnown.Term == r.term
}

func (r *Replica) answerChange(c appliedChange, out *Effects) {
	if c.own && r.change.active {
		r.finishChange(c.err, out)
	}
}

func (r *Replica) finishChange(err error, out *Effects) {
	out.Done = append(out.Done, ProposalDone{Ticket: r.change.ticket, Err: err})
	r.change = change{}
}
