package duckdb_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/engine"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// mergeFully merges until there is nothing left to do, and returns the steps.
func mergeFully(t *testing.T, s *duckdb.Store, all bool) (steps int) {
	t.Helper()
	for more := true; more; steps++ {
		var err error
		if more, err = s.Merge(t.Context(), 0, all); err != nil {
			t.Fatal(err)
		}
		if steps > 1000 {
			t.Fatal("merging does not come to an end")
		}
	}
	return steps
}

// runsOf returns how many runs and how many samples the file of shard 0 has.
func runsOf(t *testing.T, s *duckdb.Store) (runs, rows int64) {
	t.Helper()
	err := s.Ask(t.Context(), 0, "SELECT count(*), coalesce(sum(rows), 0)::BIGINT FROM file.runs", func(c engine.Chunk) error {
		runs, rows = c.Int64s(0)[0], c.Int64s(1)[0]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return runs, rows
}

// TestMergeKeepsContent flushes, replaces, deletes and merges at random and compares digests with the
// adapter that keeps everything in memory, and rollups with the samples: merged inside the file, and into new
// ones.
func TestMergeKeepsContent(t *testing.T) {
	t.Run("inside", func(t *testing.T) { mergeKeepsContent(t, duckdb.Options{}.WithRewriteFrom(math.MaxInt64)) })
	t.Run("anew", func(t *testing.T) { mergeKeepsContent(t, duckdb.Options{}.WithRewriteFrom(1)) })
}

func mergeKeepsContent(t *testing.T, o duckdb.Options) {
	t.Helper()
	t.Logf("-digest-seed=%d", *digestSeed)
	r := rand.New(rand.NewPCG(*digestSeed, 1))
	p := newPairOf(t, o)
	for range 60 {
		c := randomColumns(r, 1+r.IntN(300))
		spread := []int64{1, 60_000_000, hour, 30 * hour}[r.IntN(4)]
		for i := range c.Timestamps {
			c.Timestamps[i] *= spread
		}
		c.Replace = r.IntN(3) == 0
		p.append(c)
		switch r.IntN(8) {
		case 0, 1, 2:
			p.flush()
		case 3:
			p.delete(t, r)
		case 4:
			mergeFully(t, p.duck, true)
		case 5:
			mergeFully(t, p.duck, false)
		}
		if a, b := p.pin(p.duck)(), p.pin(p.memory)(); !bytes.Equal(a, b) {
			t.Fatalf("digest %x, in memory %x", a, b)
		}
		checkRollups(t, p.duck, 0)
	}
	p.flush()
	mergeFully(t, p.duck, true)
	if a, b := p.pin(p.duck)(), p.pin(p.memory)(); !bytes.Equal(a, b) {
		t.Fatalf("digest %x, in memory %x", a, b)
	}
	checkRollups(t, p.duck, 0)
}

// delete forgets a random range of one metric.
func (p *pair) delete(t *testing.T, r *rand.Rand) {
	t.Helper()
	name, err := metric.NewName(fmt.Sprintf("m%d", r.IntN(3)))
	if err != nil {
		t.Fatal(err)
	}
	scale := []int64{1, 60_000_000, hour}[r.IntN(3)]
	from := metric.Timestamp((r.Int64N(50) - 25) * scale)
	to := from + metric.Timestamp(r.Int64N(20)*scale)
	span, err := aggregate.NewRange(&from, &to)
	if err != nil {
		t.Fatal(err)
	}
	d := outbound.Deletion{Metric: name, Range: span}
	a, err := p.duck.Delete(t.Context(), 0, d)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.memory.Delete(t.Context(), 0, d)
	if err != nil || a != b {
		t.Fatalf("existed: %v, in memory %v, %v", a, b, err)
	}
}

// TestMergesIntoNewFiles merges most of a file again and again, which is done while it is rewritten, beside
// queries: each sees all that was flushed before it began, once, and nothing that came after it ended.
func TestMergesIntoNewFiles(t *testing.T) {
	n := newNode(t, duckdb.Options{}.WithRewriteFrom(1))
	s := start(t, n)
	open(t, s, 0)
	const flushes, samples = 12, 20_000
	var begun, ended atomic.Uint64 // flushes
	stopped, asked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(asked)
		for {
			least := ended.Load()
			count, _, err := totals(t, s, 0)
			if most := begun.Load(); err != nil || count < least*samples || count > most*samples || count%samples != 0 {
				t.Errorf("%d samples, %v, between flushes %d and %d", count, err, least, most)
			}
			select {
			case <-stopped:
				return
			default:
			}
		}
	}()
	for index := uint64(1); index <= flushes; index++ {
		begun.Store(index)
		fill(t, s, 0, 5, samples, index)
		ended.Store(index)
		mergeFully(t, s, true)
	}
	close(stopped)
	<-asked
	if runs, rows := runsOf(t, s); runs != 1 || rows != flushes*samples {
		t.Errorf("%d runs with %d samples", runs, rows)
	}
	if done := s.Tidied(); done.Rewrites < flushes/2 || done.Merges != flushes-1 {
		t.Errorf("%+v: want a merge for each flush but the first, most of them into new files", done)
	}
	checkRollups(t, s, 0)
	stop(t, n)
	s = start(t, n)
	open(t, s, 0)
	if count, sum, err := totals(t, s, 0); err != nil || count != flushes*samples || sum != samples*flushes*(flushes+1)/2 {
		t.Errorf("after a restart: count=%d sum=%v, %v", count, sum, err)
	}
}

// TestMergesAreTiered flushes many runs of one size: each row is merged a few times, and few runs are left.
func TestMergesAreTiered(t *testing.T) {
	s := start(t, newNode(t, duckdb.Options{}))
	open(t, s, 0)
	const flushes, samples = 40, 500
	merges := 0
	for index := uint64(1); index <= flushes; index++ {
		fill(t, s, 0, 5, samples, index)
		for s.WantsMerge(0) {
			if _, err := s.Merge(t.Context(), 0, false); err != nil {
				t.Fatal(err)
			}
			merges++
		}
		if runs, rows := runsOf(t, s); runs > 10 || rows != int64(index*samples) {
			t.Fatalf("after flush %d: %d runs with %d samples", index, runs, rows)
		}
	}
	if merges < 3 || merges > flushes/2 {
		t.Errorf("%d merges of %d flushes", merges, flushes)
	}
	mergeFully(t, s, true)
	if runs, rows := runsOf(t, s); runs != 1 || rows != flushes*samples {
		t.Errorf("after merging all: %d runs with %d samples", runs, rows)
	}
	checkRollups(t, s, 0)
}

// TestRetentionDropsWindows moves cut-offs: rows of whole windows go, of those metrics alone.
func TestRetentionDropsWindows(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	var c outbound.Columns
	c.Keys = []string{"kept", "dropped"}
	for i := range 10 * 24 {
		for series := range uint32(2) {
			c.Series, c.Timestamps, c.Values = append(c.Series, series), append(c.Timestamps, int64(i)*hour), append(c.Values, 1)
		}
	}
	if err := s.Append(t.Context(), 0, c); err != nil {
		t.Fatal(err)
	}
	s.Cut(0, outbound.AppliedState{Index: 1, Term: 1})
	if _, err := s.Flush(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	index := uint64(1)
	for _, step := range []struct{ days, rows int64 }{{4, 240 + 6*24}, {2, 240 + 6*24}, {20, 240}} {
		if err := s.Retain(t.Context(), 0, metric.Cutoffs{Default: metric.TimestampMin, Rules: []metric.CutoffRule{
			{Pattern: "drop*", Before: metric.Timestamp(step.days*day + hour)},
		}}); err != nil {
			t.Fatal(err)
		}
		if mergeFully(t, s, false); step.days == 4 {
			if _, rows := runsOf(t, s); rows != 480 {
				t.Errorf("%d rows are left, though the cut-off is not durable", rows)
			}
		}
		index++
		s.Cut(0, outbound.AppliedState{Index: index, Term: 1})
		if _, err := s.Flush(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		mergeFully(t, s, false)
		if _, rows := runsOf(t, s); rows != step.rows {
			t.Errorf("behind day %d: %d rows, want %d", step.days, rows, step.rows)
		}
		checkRollups(t, s, 0)
	}
	stop(t, n)
	s = start(t, n)
	open(t, s, 0)
	name, err := metric.NewName("dropped")
	if err != nil {
		t.Fatal(err)
	}
	if _, found, err := s.Latest(t.Context(), []shard.ID{0}, name, metric.Matchers{}); found || err != nil {
		t.Errorf("what was dropped came back: %v", err)
	}
}

// TestSpaceIsGivenBack deletes most of a file and merges: it becomes small, beside queries that go on; what
// is left is read after a restart.
func TestSpaceIsGivenBack(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	r := rand.New(rand.NewPCG(3, 4))
	for index := range uint64(2) {
		c := outbound.Columns{Keys: []string{"cpu", "gone"}}
		for i := range 1_500_000 {
			c.Series = append(c.Series, uint32(i%2))
			c.Timestamps = append(c.Timestamps, int64(index)*day+int64(i/2)*50_000)
			c.Values = append(c.Values, r.Float64())
		}
		for i := range c.Series {
			if c.Series[i] == 0 && i%20 != 0 {
				c.Series[i] = 1
			}
		}
		if err := s.Append(t.Context(), 0, c); err != nil {
			t.Fatal(err)
		}
		s.Cut(0, outbound.AppliedState{Index: index + 1, Term: 1})
		if _, err := s.Flush(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	before := sizeOfFiles(t, n)
	name, err := metric.NewName("gone")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Delete(t.Context(), 0, outbound.Deletion{Metric: name, Range: aggregate.Everything()}); err != nil {
		t.Fatal(err)
	}
	s.Cut(0, outbound.AppliedState{Index: 3, Term: 1})
	if _, err := s.Flush(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	wantCount, wantSum, err := totals(t, s, 0)
	if err != nil || wantCount != 150_000 {
		t.Fatalf("count=%d, %v", wantCount, err)
	}
	ended := make(chan struct{})
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for {
			if count, _, err := totals(t, s, 0); err != nil || count != wantCount {
				t.Errorf("meanwhile count=%d, %v", count, err)
			}
			select {
			case <-ended:
				return
			default:
			}
		}
	}()
	mergeFully(t, s, false)
	close(ended)
	<-asked
	if after := sizeOfFiles(t, n); after > before/4 || s.Tidied().Rewrites != 1 || s.Tidied().BytesFreed == 0 {
		t.Errorf("%d bytes before, %d after, %+v", before, after, s.Tidied())
	}
	checkRollups(t, s, 0)
	checkNoneHeld(t, n)
	fill(t, s, 0, 3, 1000, 9)
	for range 2 {
		if count, sum, err := totals(t, s, 0); err != nil || count != wantCount+1000 || math.Abs(sum-wantSum-9000) > 1e-6 {
			t.Fatalf("count=%d sum=%v, %v", count, sum, err)
		}
		stop(t, n)
		s = start(t, n)
		open(t, s, 0)
	}
}

// sizeOfFiles returns how large the files of shard 0 are.
func sizeOfFiles(t *testing.T, n *node) (bytes int64) {
	t.Helper()
	files, err := filepath.Glob(shardFile(n, 0, "*.duckdb*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	return bytes
}

// TestNewFilesKeepTheOrder merges a window of many runs into a new file beside another window, which is copied
// and whose rows must stay in their order: the place of a sample tells which of those of one time is the newest.
func TestNewFilesKeepTheOrder(t *testing.T) {
	s := start(t, newNode(t, duckdb.Options{}.WithRewriteFrom(1)))
	open(t, s, 0)
	const large, small, flushes = 700_000, 60_000, 14
	write := func(index uint64, begin int64, samples int) {
		c := columns(2, samples, index)
		for i := range c.Timestamps {
			c.Timestamps[i] = begin + int64(i/4)*1_000 // each time twice
			c.Values[i] = float64(index)*large + float64(i)
		}
		if err := s.Append(t.Context(), 0, c); err != nil {
			t.Fatal(err)
		}
		s.Cut(0, outbound.AppliedState{Index: index, Term: 1})
		if _, err := s.Flush(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	write(1, 0, large)
	for index := uint64(2); index < 2+flushes; index++ {
		write(index, day+int64(index)*hour, small)
	}
	if mergeFully(t, s, true); s.Tidied().Rewrites == 0 {
		t.Fatal("nothing was merged into a new file")
	}
	text := "SELECT count(*) FROM (SELECT value, lag(value) OVER (PARTITION BY series_id, since, gen ORDER BY place) AS before FROM file.samples()) WHERE value < before"
	err := s.Ask(t.Context(), 0, text, func(c engine.Chunk) error {
		if wrong := c.Int64s(0)[0]; wrong != 0 {
			t.Errorf("%d samples come before one that was written before them", wrong)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if runs, rows := runsOf(t, s); runs != 2 || rows != large+flushes*small {
		t.Errorf("%d runs with %d samples", runs, rows)
	}
}
