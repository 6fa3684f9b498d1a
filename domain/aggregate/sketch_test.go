package aggregate_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

func TestSketchesKeepTheErrorTheyTell(t *testing.T) {
	for _, d := range distributions {
		t.Run(d.name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				all := tracesOf(r, rapid.IntRange(1, 8_000).Draw(r, "n"), d.draw)
				question := aggregate.Question{Query: mustQuery(r, aggregate.QuerySpec{}), Functions: quantileFunctions, Approximate: true}
				answer, rounds, err := ask(r, question, &all, func() {})
				if err != nil {
					r.Fatal(err)
				}
				if off := answer.RelativeError; rounds != 1 || off < 0.01 || off > 0.34 || d.rounds < 8 && off != 0.01 {
					r.Fatalf("took %d rounds and tells an error of %v", rounds, off)
				}
				var values []float64
				for _, one := range all {
					values = append(values, one.values...)
				}
				want := quantilesOf(values, quantileFunctions)
				for i, v := range answer.Groups[0].Values {
					if math.Abs(v.Number-want[i]) > answer.RelativeError*math.Abs(want[i]) {
						r.Fatalf("%v=%v, want %v within %v", v.Function, v.Number, want[i], answer.RelativeError)
					}
				}
			})
		})
	}
}

// TestSketchesInAnySplit checks that order and merging leave no trace.
func TestSketchesInAnySplit(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d := rapid.SampledFrom(distributions).Draw(r, "distribution")
		rnd := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(r, "seed")))
		var whole aggregate.Sketch
		parts := make([]aggregate.Sketch, rapid.IntRange(1, 4).Draw(r, "parts"))
		for range rapid.IntRange(0, 8_000).Draw(r, "n") {
			v := d.draw(rnd)
			whole.Add(v)
			parts[rnd.IntN(len(parts))].Add(v)
		}
		var merged aggregate.Sketch
		for _, i := range rnd.Perm(len(parts)) {
			sent, err := aggregate.RestoreSketch(parts[i].Parts())
			if err != nil {
				r.Fatal(err)
			}
			merged.Merge(sent)
		}
		if diff := cmp.Diff(whole.Parts(), merged.Parts()); diff != "" {
			r.Fatalf("merged (+) differs from one sketch (-):\n%s", diff)
		}
		if whole.Count() != merged.Count() {
			r.Fatalf("count %d, want %d", merged.Count(), whole.Count())
		}
	})
}

func TestRestoreSketch(t *testing.T) {
	bucket := func(b uint32, n uint64) []aggregate.SketchBucket {
		return []aggregate.SketchBucket{{Bucket: b, Count: n}}
	}
	tooMany := make([]aggregate.SketchBucket, 5000)
	for i := range tooMany {
		tooMany[i] = aggregate.SketchBucket{Bucket: uint32(i), Count: 1}
	}
	for name, bad := range map[string]aggregate.SketchParts{
		"level":      {Level: 7},
		"empty":      {Positive: bucket(1, 0)},
		"infinite":   {Positive: bucket(0x7ff<<6, 1)},
		"unordered":  {Negative: slices.Concat(bucket(2, 1), bucket(1, 1))},
		"overflow":   {Zero: math.MaxUint64, Positive: bucket(1, 1)},
		"too many":   {Positive: tooMany},
		"high level": {Level: 6, Negative: bucket(0x7ff, 1)},
	} {
		if _, err := aggregate.RestoreSketch(bad); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: %v, want Corrupt", name, err)
		}
	}
	largest := aggregate.SketchParts{Positive: bucket(0x7ff<<6-1, 1)}
	if s, err := aggregate.RestoreSketch(largest); err != nil || s.Count() != 1 {
		t.Errorf("the largest bucket: %v", err)
	}
}
