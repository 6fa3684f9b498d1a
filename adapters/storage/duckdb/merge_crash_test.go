package duckdb_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Each index of writeAndMerge adds mergedPerFlush samples of the metric cpu, which all stay, and as many of
// the metric brief, of which it deletes those of the index before.
const mergedPerFlush = 20_000

// writeAndMerge merges into new files wherever that leaves any space free.
func writeAndMerge(directory string) error { return mergeForever(directory, 1) }

// writeAndTidy merges inside the file.
func writeAndTidy(directory string) error { return mergeForever(directory, math.MaxInt64) }

// mergeForever goes on from what is stored, flush after flush, with all merging after each, and tells each
// durable index.
func mergeForever(directory string, rewriteFrom int64) error {
	ctx := context.Background()
	s, err := duckdb.New(duckdb.Options{Directory: directory, Cluster: "test"}.WithRewriteFrom(rewriteFrom))
	if err != nil {
		return err
	}
	state, err := s.Open(ctx, 0)
	if err != nil {
		return err
	}
	fmt.Println(state.Index)
	name, err := metric.NewName("brief")
	if err != nil {
		return err
	}
	for index := state.Index + 1; ; index++ {
		if _, err := s.Delete(ctx, 0, outbound.Deletion{Metric: name, Range: aggregate.Everything()}); err != nil {
			return err
		}
		if err := s.Append(ctx, 0, mergedColumns(index)); err != nil {
			return err
		}
		s.Cut(0, outbound.AppliedState{Index: index, Term: 1, Machine: []byte(strconv.FormatUint(index, 10))})
		durable, err := s.Flush(ctx, 0)
		if err != nil {
			return err
		}
		fmt.Println(durable)
		// The file gets much longer than it needs to be, so that it is rewritten now and then.
		for more := true; more; {
			if more, err = s.Merge(ctx, 0, true); err != nil {
				return err
			}
		}
	}
}

func mergedColumns(index uint64) outbound.Columns {
	c := outbound.Columns{Keys: []string{`cpu{host="a"}`, `brief{host="a"}`}}
	r := rand.New(rand.NewPCG(index, 0))
	for i := range 2 * mergedPerFlush {
		c.Series = append(c.Series, uint32(i%2))
		c.Timestamps = append(c.Timestamps, int64(index)*1_000_000_000+int64(i)*1_000)
		value := float64(index)
		if i%2 == 1 {
			value = r.Float64() // compresses badly, so that deleting it leaves much behind
		}
		c.Values = append(c.Values, value)
	}
	return c
}

// TestKilledMerging ends a process that writes, deletes and merges at random moments, on one directory
// again and again: what it said to be durable is there, each sample once, with right rollups.
func TestKilledMerging(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rewritten := false
	random := rand.New(rand.NewPCG(seed, 0))
	n := newNode(t, duckdb.Options{})
	for range 12 {
		told := killed(t, []string{mergerDirectory, tidierDirectory}[random.IntN(2)], n.options.Directory, 1+random.IntN(5), time.Duration(random.IntN(150_000))*time.Microsecond)
		s := start(t, n)
		state := open(t, s, 0)
		if state.Index < told || string(state.Machine) != machineOf(state.Index) {
			t.Fatalf("state %d with %q, want at least %d", state.Index, state.Machine, told)
		}
		i := state.Index
		count, sum, err := totals(t, s, 0)
		if err != nil || count != i*mergedPerFlush || sum != float64(i*(i+1)/2*mergedPerFlush) {
			t.Fatalf("at %d: count=%d sum=%v, %v", i, count, sum, err)
		}
		if _, found, err := s.Latest(t.Context(), []shard.ID{0}, named(t, "brief").Metric(), metric.Matchers{}); err != nil || found != (i > 0) {
			t.Fatalf("at %d: latest of what is deleted again and again: %v, %v", i, found, err)
		}
		checkRollups(t, s, 0)
		stop(t, n)
		_, err = os.Stat(shardFile(n, 0, "1.duckdb"))
		rewritten = rewritten || os.IsNotExist(err)
	}
	if !rewritten {
		t.Error("the file was never rewritten")
	}
}
