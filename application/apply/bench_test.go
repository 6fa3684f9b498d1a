package apply_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/raftmetrics/raftmetrics/application/apply"
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// nowhere is storage that keeps nothing.
type nowhere struct{}

func (nowhere) Append(context.Context, shard.ID, outbound.Columns) error { return nil }
func (nowhere) WantsCut(shard.ID) bool                                   { return false }
func (nowhere) Cut(shard.ID, outbound.AppliedState)                      {}

// BenchmarkApply applies entries of as many commands as sub-benchmarks say, of 1250 or 1 samples.
func BenchmarkApply(b *testing.B) {
	for _, shape := range []struct{ commands, samples int }{{1, 1250}, {64, 1}, {1, 1}} {
		b.Run(fmt.Sprintf("commands=%d/samples=%d", shape.commands, shape.samples), func(b *testing.B) {
			m := apply.New(apply.Options{Appender: nowhere{}, Cutter: nowhere{}})
			if err := m.Restore(0, outbound.AppliedState{}); err != nil {
				b.Fatal(err)
			}
			register := []inbound.Entry{{Index: 1, Commands: [][]byte{command.EncodeRegister()}}}
			if _, err := m.Apply(b.Context(), 0, register); err != nil {
				b.Fatal(err)
			}
			frames := make([]command.Frame, shape.commands)
			for i := range frames {
				frames[i].EncodeWrite(command.Identity{}, series(shape.samples))
			}
			entries := []inbound.Entry{{Index: 1, Commands: make([][]byte, shape.commands)}}
			sequence := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				entries[0].Index++
				for i := range frames {
					sequence++
					entries[0].Commands[i] = frames[i].Seal(at(1, sequence, sequence))
				}
				outcomes, err := m.Apply(b.Context(), 0, entries)
				if err != nil || outcomes[0][1] != byte(command.Applied) {
					b.Fatal(outcomes, err)
				}
			}
			samples := float64(b.N) * float64(shape.commands*shape.samples)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/samples, "ns/sample")
		})
	}
}

func series(samples int) outbound.Columns {
	var c outbound.Columns
	for i := range samples {
		c.Keys = append(c.Keys, fmt.Sprintf(`cpu_usage{host="host_%d"}`, i))
		c.Series = append(c.Series, uint32(i))
		c.Timestamps = append(c.Timestamps, 1_700_000_000_000_000)
		c.Values = append(c.Values, float64(i)/100)
	}
	return c
}

// BenchmarkState encodes the state of a shard whose keys and identities are at their caps: what a
// cut does while the shard waits.
func BenchmarkState(b *testing.B) {
	m := apply.New(apply.Options{Appender: nowhere{}, Cutter: nowhere{}})
	if err := m.Restore(0, outbound.AppliedState{}); err != nil {
		b.Fatal(err)
	}
	entry := inbound.Entry{Index: 1, Commands: [][]byte{command.EncodeRegister()}}
	sequence := uint64(0)
	next := func() command.Header { sequence++; return at(1, sequence, sequence) }
	for i := range apply.KeysMaxDefault {
		entry.Commands = append(entry.Commands, begin(next(), fmt.Sprint("key ", i), 1))
	}
	for i := range apply.IdentitiesMaxDefault {
		entry.Commands = append(entry.Commands, write(next(), command.Identity{Home: 1, Number: uint64(i + 1)}, 1, "m"))
	}
	if _, err := m.Apply(b.Context(), 0, []inbound.Entry{entry}); err != nil {
		b.Fatal(err)
	}
	size := 0
	for b.Loop() {
		state, err := m.State(0)
		if err != nil {
			b.Fatal(err)
		}
		size = len(state.Machine)
	}
	b.ReportMetric(float64(size)/(1<<20), "MiB")
}
