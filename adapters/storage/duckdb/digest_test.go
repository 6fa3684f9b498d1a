package duckdb_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memory"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var digestSeed = flag.Uint64("digest-seed", uint64(time.Now().UnixNano()), "seed of the digest tests")

// pair is one shard's content in both adapters.
type pair struct {
	t      *testing.T
	duck   *duckdb.Store
	memory *memory.Store
	index  uint64
}

func newPair(t *testing.T) *pair {
	t.Helper()
	return newPairOf(t, duckdb.Options{})
}

func newPairOf(t *testing.T, o duckdb.Options) *pair {
	t.Helper()
	o.Directory, o.Cluster = t.TempDir(), "test"
	store, err := duckdb.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &pair{t: t, duck: store, memory: memory.New(memory.Options{})}
	for _, opener := range []outbound.ShardOpener{p.duck, p.memory} {
		if _, err := opener.Open(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *pair) append(c outbound.Columns) {
	p.t.Helper()
	for _, appender := range []outbound.SampleAppender{p.duck, p.memory} {
		if err := appender.Append(p.t.Context(), 0, c); err != nil {
			p.t.Fatal(err)
		}
	}
}

// flush moves what DuckDB's adapter has in memory to its file; the other keeps its own ways.
func (p *pair) flush() {
	p.t.Helper()
	p.index++
	p.duck.Cut(0, outbound.AppliedState{Index: p.index, Term: 1})
	if _, err := p.duck.Flush(p.t.Context(), 0); err != nil {
		p.t.Fatal(err)
	}
}

type pinner interface{ outbound.ContentPinner }

func (p *pair) pin(at pinner) func() []byte {
	p.t.Helper()
	digest, err := at.PinContent(0)
	if err != nil {
		p.t.Fatal(err)
	}
	return func() []byte {
		p.t.Helper()
		sum, err := digest(p.t.Context())
		if err != nil {
			p.t.Fatal(err)
		}
		return sum
	}
}

// randomColumns draws count samples with few timestamps, so that many fall together, in any order.
func randomColumns(r *rand.Rand, count int) outbound.Columns {
	var c outbound.Columns
	for i := range 20 {
		c.Keys = append(c.Keys, fmt.Sprintf(`m%d{host="%d"}`, i%3, (7*i)%20))
	}
	for range count {
		c.Series = append(c.Series, uint32(r.IntN(len(c.Keys))))
		c.Timestamps = append(c.Timestamps, int64(r.IntN(50))-25)
		c.Values = append(c.Values, float64(r.IntN(5)))
	}
	return c
}

func TestDigestsAreEqualHoweverContentIsStored(t *testing.T) {
	t.Logf("-digest-seed=%d", *digestSeed)
	r := rand.New(rand.NewPCG(*digestSeed, 0))
	p := newPair(t)
	var held []func() []byte // digests of the past, of the one adapter and the other
	for range 40 {
		p.append(randomColumns(r, 1+r.IntN(200)))
		if r.IntN(4) == 0 {
			p.flush()
		}
		duck, mem := p.pin(p.duck), p.pin(p.memory)
		if r.IntN(3) == 0 {
			held = append(held, duck, mem)
			continue
		}
		if a, b := duck(), mem(); !bytes.Equal(a, b) {
			t.Fatalf("digest %x, in memory %x", a, b)
		}
	}
	p.flush()
	seen := map[string]bool{}
	for i := 0; i < len(held); i += 2 {
		a, b := held[i](), held[i+1]()
		if !bytes.Equal(a, b) {
			t.Fatalf("digest of the past %x, in memory %x", a, b)
		}
		if seen[string(a)] {
			t.Fatalf("digest %x stands for two contents", a)
		}
		seen[string(a)] = true
	}
}

func TestDigestOfALongSeriesIsReadInParts(t *testing.T) {
	p := newPair(t)
	const count, batch = 600_000, 50_000
	for from := 0; from < count; from += batch {
		c := outbound.Columns{Keys: []string{"long"}, Series: make([]uint32, batch)}
		for i := range batch {
			c.Timestamps = append(c.Timestamps, int64(from+i)/3*1_000_000)
			c.Values = append(c.Values, float64(i))
		}
		p.append(c)
	}
	p.flush()
	p.append(outbound.Columns{Keys: []string{"long", "short"}, Series: []uint32{0, 1, 0}, Timestamps: []int64{0, 5, 9e15}, Values: []float64{1, 2, 3}})
	if a, b := p.pin(p.duck)(), p.pin(p.memory)(); !bytes.Equal(a, b) {
		t.Fatalf("digest %x, in memory %x", a, b)
	}
}

func TestDigestEndsWithItsContext(t *testing.T) {
	p := newPair(t)
	p.append(outbound.Columns{Keys: []string{"m"}, Series: []uint32{0}, Timestamps: []int64{1}, Values: []float64{1}})
	p.flush()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	digest, err := p.duck.PinContent(0)
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := digest(ctx); err == nil {
		t.Fatalf("digest %x after the end", sum)
	}
	if _, err := p.duck.PinContent(9); err == nil {
		t.Fatal("the content of a shard that is not open")
	}
}

func BenchmarkDigest(b *testing.B) {
	store, err := duckdb.New(duckdb.Options{Directory: b.TempDir(), Cluster: "test"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if _, err := store.Open(b.Context(), 0); err != nil {
		b.Fatal(err)
	}
	const series, samples = 1000, 1000
	for at := range int64(samples) {
		var c outbound.Columns
		for i := range series {
			c.Keys = append(c.Keys, fmt.Sprintf(`m{host="%d"}`, i))
			c.Series = append(c.Series, uint32(i))
			c.Timestamps = append(c.Timestamps, at*10_000_000)
			c.Values = append(c.Values, float64(at))
		}
		if err := store.Append(b.Context(), 0, c); err != nil {
			b.Fatal(err)
		}
	}
	store.Cut(0, outbound.AppliedState{Index: 1, Term: 1})
	if _, err := store.Flush(b.Context(), 0); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		digest, err := store.PinContent(0)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := digest(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/series/samples, "ns/sample")
}
