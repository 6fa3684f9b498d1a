package ingest

import (
	"context"

	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// call drives one write. What concerns a single shard it does itself, in its caller's goroutine;
// proposals to several shards, and pauses beside them, get a goroutine each, which it waits for.
type call struct {
	recorder *Recorder
	write    *Write
	running  int  // goroutines under way
	ended    bool // the context has ended
	// inbox holds the ends of goroutines, and effects that other calls' events had for this write.
	// A task has at most one of either, so a sender never waits.
	inbox   chan message
	effects []Effect // to be done
}

type message struct {
	effect Effect // when not ended
	ended  bool   // a goroutine has, with event
	event  Event
}

func newCall(r *Recorder) *call {
	c := &call{recorder: r, write: &Write{}, inbox: make(chan message, 2)}
	c.write.Owner = c
	return c
}

// run takes the write through the gateway.
func (c *call) run(ctx context.Context) (inbound.RecordReply, error) {
	c.effects = c.effects[:0]
	c.step(Event{Kind: Submitted, Write: c.write})
	for !c.write.done {
		ev, ok := c.act(ctx)
		if !ok {
			ev, ok = c.receive(ctx)
		}
		if ok {
			c.step(ev)
		} else if c.ended && c.running == 0 {
			c.end(ctx)
		}
	}
	return c.write.Result()
}

// step feeds the gateway and hands its effects to the calls that they belong to. Handing them over
// under the lock is what lets end be exact.
func (c *call) step(ev Event) {
	g := &c.recorder.mu
	g.Lock()
	defer g.Unlock()
	c.stepLocked(ev)
}

func (c *call) stepLocked(ev Event) {
	g := &c.recorder.mu
	g.effects = g.gateway.Step(ev, g.effects[:0])
	for i, e := range g.effects {
		if e.Write == c.write {
			c.effects = append(c.effects, e)
		} else if owner, ok := e.Write.Owner.(*call); ok && e.Kind != Done {
			owner.inbox <- message{effect: e}
		}
		g.effects[i] = Effect{}
	}
}

// act does what the effects say. When that is a single thing and nothing else is under way it does
// it here and returns the event; otherwise goroutines will report.
func (c *call) act(ctx context.Context) (Event, bool) {
	for len(c.effects) > 0 {
		e := c.effects[0]
		alone := len(c.effects) == 1 && c.running == 0 && len(c.inbox) == 0
		c.effects = c.effects[:copy(c.effects, c.effects[1:])]
		switch {
		case e.Kind == Done:
		case e.Kind == Prepare:
			c.write.Prepare(c.recorder.options.Shards, c.recorder.options.Series)
			c.grow(len(c.write.stores) + 1)
			return Event{Kind: Prepared, Write: c.write}, true
		case c.ended && e.Kind == Propose:
			return Event{Kind: Proposed, Task: e.Task, Err: outbound.ErrNotProposed}, true
		case c.ended:
		case alone:
			ev, ok := c.do(ctx, e)
			if ok {
				return ev, true
			}
			c.ended = true
		default:
			c.running++
			go func(inbox chan<- message) {
				ev, _ := c.do(ctx, e)
				inbox <- message{ended: true, event: ev}
			}(c.inbox)
		}
	}
	return Event{}, false
}

// grow makes room in the inbox before several tasks start; none is under way then.
func (c *call) grow(room int) {
	if cap(c.inbox) < room {
		c.inbox = make(chan message, room)
	}
}

// do proposes or pauses, and returns the event that tells the end of it. A pause that the context's
// end cut short is none.
func (c *call) do(ctx context.Context, e Effect) (Event, bool) {
	if e.Kind == Propose {
		outcome, err := c.recorder.options.Proposer.Propose(ctx, e.Task.shard, e.Command)
		return Event{Kind: Proposed, Task: e.Task, Outcome: outcome, Err: err}, true
	}
	select {
	case <-c.recorder.options.Timer.After(e.Wait):
		return Event{Kind: TimerFired, Task: e.Task}, true
	case <-ctx.Done():
		return Event{}, false
	}
}

// receive waits for a goroutine's end, for an effect that another call yielded, or for the context's
// end, after which only goroutines are waited for.
func (c *call) receive(ctx context.Context) (Event, bool) {
	if c.ended && c.running == 0 {
		return Event{}, false
	}
	end := ctx.Done()
	if c.ended {
		end = nil
	}
	select {
	case m := <-c.inbox:
		return c.take(m)
	case <-end:
		c.ended = true
		return Event{}, false
	}
}

func (c *call) take(m message) (Event, bool) {
	if !m.ended {
		c.effects = append(c.effects, m.effect)
		return Event{}, false
	}
	c.running--
	return m.event, m.event.Kind != 0
}

// end gives the write up. What was handed over but not begun is taken back first, so that it is not
// counted as in doubt.
func (c *call) end(ctx context.Context) {
	g := &c.recorder.mu
	g.Lock()
	defer g.Unlock()
	for len(c.inbox) > 0 {
		if m := <-c.inbox; m.effect.Kind == Propose {
			c.stepLocked(Event{Kind: Proposed, Task: m.effect.Task, Err: outbound.ErrNotProposed})
		}
	}
	c.stepLocked(Event{Kind: Ended, Write: c.write, Err: ctx.Err()})
}
