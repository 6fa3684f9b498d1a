package memtable_test

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
)

// event is one sample of a log.
type event struct {
	memtable.Point
	replace bool
}

// replay is the rule as the protocols state it: sample after sample.
func replay(log []event) (counted []memtable.Point) {
	for _, e := range log {
		last := -1
		for i, p := range counted {
			if p.At == e.At {
				last = i
			}
		}
		if e.replace && last >= 0 {
			if counted[last].Value == e.Value {
				continue
			}
			counted = slices.DeleteFunc(counted, func(p memtable.Point) bool { return p.At == e.At })
		}
		counted = append(counted, e.Point)
	}
	byTime(counted)
	return counted
}

func byTime(points []memtable.Point) {
	slices.SortStableFunc(points, func(a, b memtable.Point) int { return cmp.Compare(a.At, b.At) })
}

var anyEvents = rapid.SliceOfN(rapid.Custom(func(r *rapid.T) event {
	return event{
		Point:   memtable.Point{At: int64(rapid.IntRange(0, 3).Draw(r, "at")), Value: float64(rapid.IntRange(0, 2).Draw(r, "value"))},
		replace: rapid.Bool().Draw(r, "replace"),
	}
}), 0, 12)

// sorted returns events as Resolve takes them.
func sorted(log []event) (points []memtable.Point, effects []memtable.Effect) {
	log = slices.Clone(log)
	slices.SortStableFunc(log, func(a, b event) int { return cmp.Compare(a.At, b.At) })
	for _, e := range log {
		points = append(points, e.Point)
		effect := memtable.Adds
		if e.replace {
			effect = memtable.Replaces
		}
		effects = append(effects, effect)
	}
	return points, effects
}

func TestResolveEqualsReplay(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		log := anyEvents.Draw(r, "log")
		got, effects := memtable.Resolve(sorted(log))
		if want := replay(log); !slices.Equal(got, want) {
			r.Fatalf("Resolve(%v)=%v, want %v", log, got, want)
		}
		for i, e := range effects {
			if e != memtable.Adds && i > 0 && got[i-1].At == got[i].At {
				r.Fatalf("the effect of %v is not the first of its time: %v %v", got[i], got, effects)
			}
		}
	})
}

// TestResolveInParts cuts a log where a flush may: what is stored is overlaid with what is resolved later.
func TestResolveInParts(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		log := anyEvents.Draw(r, "log")
		stored := []memtable.Point{}
		for rest := log; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(r, "part")
			points, effects := memtable.Resolve(sorted(rest[:n]))
			if rapid.Bool().Draw(r, "twice") {
				points, effects = memtable.Resolve(points, effects)
			}
			stored = memtable.Overlay(nil, stored, points, effects)
			rest = rest[n:]
		}
		if want := replay(log); !slices.Equal(stored, want) {
			r.Fatalf("in parts %v of %v, want %v", stored, log, want)
		}
	})
}
