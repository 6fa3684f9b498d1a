package ingest

import (
	"context"
	"testing"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

type constant struct{}

func (constant) Uint64() uint64 { return 1 }

// TestEndTakesBackWhatWasHandedOver ends a write just after another write's event has handed it a
// proposal that it has not begun: that is not in doubt.
func TestEndTakesBackWhatWasHandedOver(t *testing.T) {
	name, err := metric.NewName("m")
	if err != nil {
		t.Fatal(err)
	}
	series, err := metric.NewSeries(name, metric.Tags{})
	if err != nil {
		t.Fatal(err)
	}
	observation, err := metric.NewObservation(series, 1)
	if err != nil {
		t.Fatal(err)
	}
	shards, err := shard.NewMap(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := New(Options{Shards: shards, Entropy: constant{}})
	begin := func() *call {
		c := newCall(r)
		c.write.reset(inbound.RecordRequest{Observations: []metric.Observation{observation}}, 1)
		c.step(Event{Kind: Submitted, Write: c.write})
		ev, ok := c.act(t.Context())
		if !ok || ev.Kind != Prepared {
			t.Fatalf("event %+v, %v", ev, ok)
		}
		c.step(ev)
		return c
	}
	first, second := begin(), begin() // the first registers a session, the second waits for it
	registered := command.AppendOutcome(nil, command.Outcome{Verdict: command.Registered, Session: 1})
	first.step(Event{Kind: Proposed, Task: &first.write.stores[0], Outcome: registered})
	if len(second.inbox) != 1 {
		t.Fatalf("%d effects handed over, want 1", len(second.inbox))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	second.ended = true
	second.end(ctx)
	_, err = second.write.Result()
	if !second.write.done || fault.KindOf(err) != fault.Canceled || len(fault.From(err).Details()) != 0 {
		t.Fatalf("done %v, %v, want canceled with nothing in doubt", second.write.done, err)
	}
}
