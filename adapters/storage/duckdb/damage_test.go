package duckdb_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// fill appends samples of one metric, in hosts series, with values that tell them apart, and makes
// them durable as index.
func fill(t *testing.T, s *duckdb.Store, id shard.ID, hosts, samples int, index uint64) {
	t.Helper()
	if err := s.Append(t.Context(), id, columns(hosts, samples, index)); err != nil {
		t.Fatal(err)
	}
	s.Cut(id, outbound.AppliedState{Index: index, Term: 1, LogTime: time.Second, Machine: []byte("machine")})
	if durable, err := s.Flush(t.Context(), id); err != nil || durable != index {
		t.Fatalf("Flush=%d, %v, want %d", durable, err, index)
	}
}

// columns makes samples of hosts series of the metric cpu, with the value index.
func columns(hosts, samples int, index uint64) outbound.Columns {
	var c outbound.Columns
	for h := range hosts {
		c.Keys = append(c.Keys, fmt.Sprintf(`cpu{host="h%05d"}`, h))
	}
	for i := range samples {
		c.Series = append(c.Series, uint32(i%hosts))
		c.Timestamps = append(c.Timestamps, int64(index)*1_000_000_000+int64(i)*1_000)
		c.Values = append(c.Values, float64(index))
	}
	return c
}

func everything(t *testing.T) aggregate.Query {
	t.Helper()
	return windowed(t, "")
}

// windowed asks for everything in windows, "" for one.
func windowed(t *testing.T, window string) aggregate.Query {
	t.Helper()
	name, err := metric.NewName("cpu")
	if err != nil {
		t.Fatal(err)
	}
	spec := aggregate.QuerySpec{Metric: name}
	if window != "" {
		if spec.Window, err = aggregate.ParseWindow(window); err != nil {
			t.Fatal(err)
		}
	}
	q, err := aggregate.NewQuery(spec)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// totals returns count and sum of all samples of a shard.
func totals(t *testing.T, s *duckdb.Store, id shard.ID) (count uint64, sum float64, err error) {
	t.Helper()
	table, err := s.Partials(t.Context(), []shard.ID{id}, everything(t))
	if err != nil || len(table.Groups) == 0 {
		return 0, 0, err
	}
	p := table.Groups[0].Cells[0].Partial
	sum, err = p.Sum()
	return p.Count(), sum, err
}

func start(t *testing.T, n *node) *duckdb.Store {
	t.Helper()
	if _, err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return n.store
}

func stop(t *testing.T, n *node) {
	t.Helper()
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, s *duckdb.Store, id shard.ID) outbound.AppliedState {
	t.Helper()
	state, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func shardFile(n *node, id shard.ID, name string) string {
	return filepath.Join(n.options.Directory, "shards", id.String(), name)
}

func TestDamagedPointer(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	for id := range shard.ID(2) {
		open(t, s, id)
		fill(t, s, id, 3, 10, 5)
	}
	stop(t, n)
	if err := os.WriteFile(shardFile(n, 0, "CURRENT"), []byte("raftmetrics shard pointer v1 generation 2 0000000000000000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = start(t, n)
	if _, err := s.Open(t.Context(), 0); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("Open(0): %v, want Corrupt", err)
	}
	if state := open(t, s, 1); state.Index != 5 {
		t.Fatalf("shard 1 at %d, want 5", state.Index)
	}
	stop(t, n)
	// Lost altogether, it is found again.
	if err := os.Remove(shardFile(n, 0, "CURRENT")); err != nil {
		t.Fatal(err)
	}
	s = start(t, n)
	if state := open(t, s, 0); state.Index != 5 {
		t.Fatalf("shard 0 at %d, want 5", state.Index)
	}
}

func TestMissingFile(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	stop(t, n)
	if err := os.Remove(shardFile(n, 0, "1.duckdb")); err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, n).Open(t.Context(), 0); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("Open: %v, want Corrupt", err)
	}
}

func TestForeignFile(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	open(t, s, 1)
	stop(t, n)
	if err := os.Rename(shardFile(n, 1, "1.duckdb"), shardFile(n, 0, "1.duckdb")); err != nil {
		t.Fatal(err)
	}
	s = start(t, n)
	if _, err := s.Open(t.Context(), 0); fault.From(err).Code() != "foreign_data" {
		t.Fatalf("Open of another shard's file: %v", err)
	}
	stop(t, n)
	if err := os.Rename(shardFile(n, 0, "1.duckdb"), shardFile(n, 1, "1.duckdb")); err != nil {
		t.Fatal(err)
	}
	n.options.Cluster = "another"
	if _, err := start(t, n).Open(t.Context(), 1); fault.From(err).Code() != "foreign_data" {
		t.Fatalf("Open of another cluster's file: %v", err)
	}
}

// TestDamagedWAL leaves garbage where DuckDB keeps its own log: the last flush counts.
func TestDamagedWAL(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	fill(t, s, 0, 3, 10, 5)
	stop(t, n)
	if err := os.WriteFile(shardFile(n, 0, "1.duckdb.wal"), []byte("garbage of a log"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = start(t, n)
	if state := open(t, s, 0); state.Index != 5 {
		t.Fatalf("at %d, want 5", state.Index)
	}
	if count, _, err := totals(t, s, 0); count != 10 || err != nil {
		t.Fatalf("count=%d, %v, want 10", count, err)
	}
	fill(t, s, 0, 3, 10, 6)
}

// TestOpeningsThatDoNotReturn counts starts that ended while a file was opened.
func TestOpeningsThatDoNotReturn(t *testing.T) {
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	stop(t, n)
	for openings, want := range map[string]fault.Kind{"4": fault.Internal, "5": fault.Corrupt} {
		if err := os.WriteFile(shardFile(n, 0, "opening"), []byte(openings), 0o600); err != nil {
			t.Fatal(err)
		}
		s = start(t, n)
		_, err := s.Open(t.Context(), 0)
		if (err == nil) != (want == fault.Internal) || (err != nil && fault.KindOf(err) != want) {
			t.Fatalf("Open after %s openings: %v", openings, err)
		}
		stop(t, n)
	}
}

// TestDamagedFile flips single bits of a file: it is either refused as Corrupt, when opened or when
// read, or harmless. The other shard is never touched, nor is the instance lost.
func TestDamagedFile(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	n := newNode(t, duckdb.Options{})
	s := start(t, n)
	open(t, s, 0)
	open(t, s, 1)
	fill(t, s, 0, 3, 1000, 5)
	fill(t, s, 1, 3, 1000, 5)
	stop(t, n)
	path := shardFile(n, 0, "1.duckdb")
	intact, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{}
	for range 60 {
		bit := random.IntN(8 * len(intact))
		intact[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, intact, 0o600); err != nil {
			t.Fatal(err)
		}
		intact[bit/8] ^= 1 << (bit % 8)
		s := start(t, n)
		outcome, err := probe(t, s)
		if err != nil {
			t.Fatalf("bit %d of %d: %v", bit, 8*len(intact), err)
		}
		outcomes[outcome]++
		open(t, s, 1)
		if count, sum, err := totals(t, s, 1); count != 1000 || sum != 5000 || err != nil {
			t.Fatalf("bit %d: other shard: count=%d sum=%v, %v", bit, count, sum, err)
		}
		stop(t, n)
	}
	t.Logf("outcomes: %v", outcomes)
	if outcomes["refused"] == 0 {
		t.Error("no damage was noticed")
	}
}

// probe opens shard 0 and reads all of it; what fails must be Corrupt.
func probe(t *testing.T, s *duckdb.Store) (string, error) {
	t.Helper()
	state, err := s.Open(t.Context(), 0)
	if err == nil && state.Index != 5 {
		return "", fmt.Errorf("opened at %d, want 5", state.Index)
	}
	if err == nil {
		var count uint64
		var sum float64
		if count, sum, err = totals(t, s, 0); err == nil && (count != 1000 || sum != 5000) {
			return "", fmt.Errorf("count=%d sum=%v, want 1000 and 5000", count, sum)
		}
	}
	switch {
	case err == nil:
		return "harmless", nil
	case fault.KindOf(err) == fault.Corrupt:
		return "refused", nil
	}
	return "", errors.Join(errors.New("not Corrupt"), err)
}

// named asks for one metric by the tag of the same name, filtered by it too.
func named(t *testing.T, text string) aggregate.Query {
	t.Helper()
	name, err := metric.NewName(text)
	if err != nil {
		t.Fatal(err)
	}
	matchers, err := metric.NewMatchers([]metric.Tag{{Key: text, Value: text}})
	if err != nil {
		t.Fatal(err)
	}
	q, err := aggregate.NewQuery(aggregate.QuerySpec{Metric: name, Matchers: matchers, GroupBy: []string{text}})
	if err != nil {
		t.Fatal(err)
	}
	return q
}
