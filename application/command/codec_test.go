package command_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// vectors are commands and outcomes whose bytes must never change.
func vectors() (names []string, data [][]byte) {
	add := func(name string, b []byte) {
		names, data = append(names, name), append(data, bytes.Clone(b))
	}
	h := command.Header{Session: 300, Sequence: 1000, Lowest: 990}
	var f command.Frame
	add("register", command.EncodeRegister())
	f.EncodeWrite(command.Identity{}, columns())
	add("write", f.Seal(h))
	f.EncodeWrite(command.Identity{Home: 5, Number: 77}, outbound.Columns{
		Keys: []string{"m"}, Series: []uint32{0, 0}, Timestamps: []int64{1, 1001}, Values: []float64{0.5, -0.5},
	})
	add("write keyed micros", f.Seal(h))
	f.EncodeWrite(command.Identity{}, outbound.Columns{
		Keys: []string{"m"}, Series: []uint32{0}, Timestamps: []int64{1_700_000_000_001_000}, Values: []float64{1},
	})
	add("write millis", f.Seal(h))
	key := command.KeyOf("order-1")
	f.EncodeBegin(command.BeginBody{Key: key, Digest: [32]byte{1, 2, 3}, Received: 1_700_000_000_000_001})
	add("begin", f.Seal(h))
	f.EncodeFinish(command.FinishBody{Key: key, Number: 77, Stored: 12})
	add("finish", f.Seal(h))
	add("mark", command.EncodeMark(0x0123456789abcdef))
	c := columns()
	c.Replace = true
	f.EncodeWrite(command.Identity{}, c)
	add("write replace", f.Seal(h))
	f.EncodeWrite(command.Identity{}, grouped())
	add("write grouped", f.Seal(h))
	f.EncodeDelete(deletion())
	add("delete", f.Seal(h))
	add("retain", command.EncodeRetain(cutoffs()))
	for _, o := range outcomes() {
		add(fmt.Sprint("outcome ", o.Verdict, o.Key.Finished), command.AppendOutcome(nil, o))
	}
	return names, data
}

// grouped is what gateways send: samples by series, most of which are known.
func grouped() outbound.Columns {
	c := outbound.Columns{Keys: []string{"", "", "new", ""}, Numbers: []uint32{1001, 1002, 0, 7}}
	for series := range uint32(4) {
		for i := range int64(3) {
			c.Series = append(c.Series, series)
			c.Timestamps = append(c.Timestamps, 1_700_000_000_000_000+i*10_000_000+int64(series/2)*1000*i*i)
			c.Values = append(c.Values, float64(4200+10*i-int64(series))/100)
		}
	}
	return c
}

func deletion() outbound.Deletion {
	name, _ := metric.NewName("cpu")
	from, to := metric.Timestamp(-1), metric.Timestamp(1_700_000_000_000_000)
	span, _ := aggregate.NewRange(&from, &to)
	return outbound.Deletion{Metric: name, Range: span}
}

func cutoffs() metric.Cutoffs {
	return metric.Cutoffs{Default: metric.TimestampMin, Rules: []metric.CutoffRule{
		{Pattern: "debug_*", Before: 1_700_000_000_000_000}, {Pattern: "?", Before: metric.TimestampMin},
	}}
}

func outcomes() []command.Outcome {
	record := command.KeyRecord{Number: 77, Received: -5}
	finished := command.KeyRecord{Number: 77, Received: 5, Finished: true, Stored: 12}
	return []command.Outcome{
		{Verdict: command.Applied},
		{Verdict: command.Registered, Session: 300},
		{Verdict: command.KeyKnown, Key: record},
		{Verdict: command.KeyKnown, Key: finished},
		{Verdict: command.KeyExpired},
		{Verdict: command.Absent},
	}
}

func TestGolden(t *testing.T) {
	names, data := vectors()
	var b strings.Builder
	for i := range names {
		fmt.Fprintf(&b, "%s: %s\n", names[i], hex.EncodeToString(data[i]))
	}
	path := filepath.Join("testdata", "v2.txt")
	if *rewrite {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Fatalf("the format changed (-want +got):\n%s", diff)
	}
}

// TestVersion1 reads what version 1 wrote: the golden file is all that is left of its writer.
func TestVersion1(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "v1.txt"))
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		name, encoded, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if data[name], err = hex.DecodeString(encoded); err != nil {
			t.Fatal(err)
		}
	}
	in := command.Header{Version: 1, Session: 300, Sequence: 1000, Lowest: 990}
	key := command.KeyOf("order-1")
	wantWrite := func(name string, identity command.Identity, columns outbound.Columns) {
		t.Helper()
		h, body, err := command.DecodeHeader(data[name])
		in.Kind = command.Write
		if err != nil || h != in {
			t.Errorf("%s: header %+v, %v, want %+v", name, h, err, in)
		}
		gotIdentity, got, err := new(command.Decoder).Write(h, body)
		if err != nil || gotIdentity != identity || !cmp.Equal(got, columns) {
			t.Errorf("%s: %+v %+v, %v, want %+v %+v", name, gotIdentity, got, err, identity, columns)
		}
	}
	wantWrite("write", command.Identity{}, columns())
	wantWrite("write keyed micros", command.Identity{Home: 5, Number: 77}, outbound.Columns{
		Keys: []string{"m"}, Series: []uint32{0, 0}, Timestamps: []int64{1, 1001}, Values: []float64{0.5, -0.5},
	})
	wantWrite("write millis", command.Identity{}, outbound.Columns{
		Keys: []string{"m"}, Series: []uint32{0}, Timestamps: []int64{1_700_000_000_001_000}, Values: []float64{1},
	})
	body := func(name string, kind command.Kind) []byte {
		t.Helper()
		h, body, err := command.DecodeHeader(data[name])
		if err != nil || h.Kind != kind || h.Version != 1 {
			t.Errorf("%s: header %+v, %v", name, h, err)
		}
		return body
	}
	body("register", command.Register)
	if mark := command.DecodeMark(body("mark", command.Mark)); mark != 0x0123456789abcdef {
		t.Errorf("mark %x", mark)
	}
	begin := command.BeginBody{Key: key, Digest: [32]byte{1, 2, 3}, Received: 1_700_000_000_000_001}
	if got, err := command.DecodeBegin(body("begin", command.Begin)); err != nil || got != begin {
		t.Errorf("begin %+v, %v, want %+v", got, err, begin)
	}
	finish := command.FinishBody{Key: key, Number: 77, Stored: 12}
	if got, err := command.DecodeFinish(body("finish", command.Finish)); err != nil || got != finish {
		t.Errorf("finish %+v, %v, want %+v", got, err, finish)
	}
}

// bitwise tells -0 from 0.
var bitwise = cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })

func TestBodiesRoundTrip(t *testing.T) {
	h := command.Header{Session: 1, Sequence: 1, Lowest: 1}
	var f command.Frame
	begin := command.BeginBody{Key: command.KeyOf("k"), Digest: [32]byte{9}, Received: metric.TimestampMin}
	f.EncodeBegin(begin)
	got, body, err := command.DecodeHeader(f.Seal(h))
	if err != nil || got.Kind != command.Begin || f.Kind() != command.Begin {
		t.Fatalf("header %+v, %v", got, err)
	}
	if b, err := command.DecodeBegin(body); err != nil || b != begin {
		t.Fatalf("begin=%+v, %v, want %+v", b, err, begin)
	}
	finish := command.FinishBody{Key: command.KeyOf("k"), Number: 1, Stored: math.MaxUint64}
	f.EncodeFinish(finish)
	if _, body, err = command.DecodeHeader(f.Seal(h)); err != nil {
		t.Fatal(err)
	}
	if b, err := command.DecodeFinish(body); err != nil || b != finish {
		t.Fatalf("finish=%+v, %v, want %+v", b, err, finish)
	}
	f.EncodeDelete(deletion())
	if _, body, err = command.DecodeHeader(f.Seal(h)); err != nil {
		t.Fatal(err)
	}
	if d, err := command.DecodeDelete(body); err != nil || d != deletion() {
		t.Fatalf("delete=%+v, %v, want %+v", d, err, deletion())
	}
	if _, body, err = command.DecodeHeader(command.EncodeRetain(cutoffs())); err != nil {
		t.Fatal(err)
	}
	if c, err := command.DecodeRetain(body); err != nil || !cmp.Equal(c, cutoffs()) {
		t.Fatalf("retain=%+v, %v, want %+v", c, err, cutoffs())
	}
	for _, o := range outcomes() {
		if got, err := command.DecodeOutcome(command.AppendOutcome(nil, o)); err != nil || got != o {
			t.Fatalf("outcome=%+v, %v, want %+v", got, err, o)
		}
	}
	if a, b := command.KeyOf("a"), command.KeyOf("b"); a == b || a.Hash() == b.Hash() {
		t.Fatal("different keys have equal ids")
	}
}

// TestAnyColumnsRoundTrip draws columns of every shape and seals them more than once.
func TestAnyColumnsRoundTrip(t *testing.T) {
	var f command.Frame
	var d command.Decoder
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.StringN(1, 20, 80), 1, 20, rapid.ID).Draw(t, "keys")
		var numbers []uint32
		if rapid.Bool().Draw(t, "numbered") {
			numbers = numbered(t, keys)
		}
		n := rapid.IntRange(1, 60).Draw(t, "samples")
		unit := rapid.SampledFrom([]int64{1, 1000, 1_000_000}).Draw(t, "unit")
		want := outbound.Columns{Keys: keys, Numbers: numbers, Replace: rapid.Bool().Draw(t, "replace")}
		for len(want.Series) < n {
			series := uint32(rapid.IntRange(0, len(keys)-1).Draw(t, "series"))
			at := rapid.Int64Range(int64(metric.TimestampMin), int64(metric.TimestampMax)).Draw(t, "at") / unit * unit
			step := rapid.SampledFrom([]int64{0, 1, 1000, 10_000_000, -5}).Draw(t, "step")
			for range rapid.IntRange(1, 6).Draw(t, "run") {
				want.Series = append(want.Series, series)
				want.Timestamps = append(want.Timestamps, at)
				want.Values = append(want.Values, anyValue().Draw(t, "value"))
				at = max(min(at+step, int64(metric.TimestampMax)), int64(metric.TimestampMin))
			}
		}
		var identity command.Identity
		if rapid.Bool().Draw(t, "keyed") {
			identity.Home = shard.ID(rapid.IntRange(0, shard.CountMax-1).Draw(t, "home"))
			identity.Number = rapid.Uint64Min(1).Draw(t, "number")
		}
		f.EncodeWrite(identity, want)
		h := command.Header{Version: command.Version, Kind: command.Write, Session: rapid.Uint64Min(1).Draw(t, "session")}
		h.Sequence = rapid.Uint64Min(1).Draw(t, "sequence")
		h.Lowest = rapid.Uint64Range(1, h.Sequence).Draw(t, "lowest")
		f.Seal(command.Header{Session: math.MaxUint64, Sequence: math.MaxUint64, Lowest: 1})
		data := f.Seal(h)
		if len(data) > f.Len() {
			t.Fatalf("%d bytes, more than Len says: %d", len(data), f.Len())
		}
		gotHeader, body, err := command.DecodeHeader(data)
		if err != nil || gotHeader != h {
			t.Fatalf("header=%+v, %v, want %+v", gotHeader, err, h)
		}
		gotIdentity, got, err := d.Write(gotHeader, body)
		if err != nil || gotIdentity != identity {
			t.Fatalf("identity=%+v, %v, want %+v", gotIdentity, err, identity)
		}
		if diff := cmp.Diff(want, got, bitwise); diff != "" {
			t.Fatalf("columns differ (-want +got):\n%s", diff)
		}
	})
}

// numbered tells some of keys, which it clears, by numbers; one at least when it tells any.
func numbered(t *rapid.T, keys []string) []uint32 {
	numbers := make([]uint32, len(keys))
	numbers[0], keys[0] = rapid.Uint32Min(1).Draw(t, "number"), ""
	for i := range keys {
		if rapid.Bool().Draw(t, "told") {
			numbers[i], keys[i] = rapid.Uint32Min(1).Draw(t, "number"), ""
		}
	}
	return numbers
}

// anyValue draws what people measure and what they do not.
func anyValue() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Map(rapid.IntRange(-100_000, 100_000), func(n int) float64 { return float64(n) / 100 }),
		rapid.Map(rapid.IntRange(-100, 100), func(n int) float64 { return float64(n) }),
		rapid.Map(rapid.Int64(), func(n int64) float64 { return float64(n) / 10_000 }),
		rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1 << 52, 1<<52 - 0.5, -1 << 52, 1 << 53, 0.1 + 0.2, math.SmallestNonzeroFloat64}),
	)
}

// TestEveryCutIsRefused cuts each golden vector short at every byte, and lengthens it by one.
func TestEveryCutIsRefused(t *testing.T) {
	names, data := vectors()
	for i, whole := range data {
		for n := range len(whole) {
			if err := decodeAny(names[i], whole[:n:n]); !errors.Is(err, command.ErrMalformed) {
				t.Errorf("%s cut to %d of %d bytes: %v, want malformed", names[i], n, len(whole), err)
			}
		}
		if err := decodeAny(names[i], append(bytes.Clone(whole), 0)); !errors.Is(err, command.ErrMalformed) {
			t.Errorf("%s with a byte more: %v, want malformed", names[i], err)
		}
		if err := decodeAny(names[i], whole); err != nil {
			t.Errorf("%s: %v", names[i], err)
		}
	}
}

func decodeAny(name string, data []byte) error {
	if strings.HasPrefix(name, "outcome") {
		_, err := command.DecodeOutcome(data)
		return err
	}
	h, body, err := command.DecodeHeader(data)
	if err != nil {
		return err
	}
	switch h.Kind {
	case command.Begin:
		_, err = command.DecodeBegin(body)
	case command.Finish:
		_, err = command.DecodeFinish(body)
	case command.Write:
		_, _, err = new(command.Decoder).Write(h, body)
	case command.Delete:
		_, err = command.DecodeDelete(body)
	case command.Retain:
		_, err = command.DecodeRetain(body)
	case command.Register, command.Mark:
	}
	return err
}

// TestHostileCommandsAreRefused are commands that are whole but say what cannot be.
func TestHostileCommandsAreRefused(t *testing.T) {
	f := func(what string, data ...byte) {
		t.Helper()
		if err := decodeAny("command", data); !errors.Is(err, command.ErrMalformed) {
			t.Errorf("%s: %v, want malformed", what, err)
		}
	}
	f("version 0", 0, 1, 0, 0, 0)
	f("a later version", 3, 1, 0, 0, 0)
	f("a deletion of version 1", 1, 6, 1, 1, 0, 1, 'm', 0, 0)
	f("a deletion of no metric", 2, 6, 1, 1, 0, 0, 0, 0)
	f("a deletion of a bad name", 2, 6, 1, 1, 0, 1, 7, 0, 0)
	f("a deletion that ends before it begins", 2, 6, 1, 1, 0, 1, 'm', 4, 2)
	f("a deletion without session", 2, 6, 0, 0, 0, 1, 'm', 0, 0)
	f("cut-offs in a session", 2, 7, 1, 1, 0, 0, 0)
	f("cut-offs of version 1", 1, 7, 0, 0, 0, 0, 0)
	f("too many rules", 2, 7, 0, 0, 0, 0, 101)
	f("a rule without pattern", 2, 7, 0, 0, 0, 0, 1, 0, 0)
	f("more rules than bytes", 2, 7, 0, 0, 0, 0, 9)
	f("an unknown kind", 1, 9, 1, 1, 0)
	f("a registration in a session", 1, 1, 5, 0, 0)
	f("no session", 1, 2, 0, 1, 0)
	f("sequence 0", 1, 2, 1, 0, 0)
	f("a lowest of 0", 1, 2, 1, 1, 1)
	f("finish of number 0", append([]byte{1, 4, 1, 1, 0}, make([]byte, 18)...)...)
	write := func(body ...byte) []byte { return append([]byte{1, 2, 1, 1, 0}, body...) }
	eight := make([]byte, 8)
	f("identity number 0", write(1, 0, 1, 1, 'm', 1, 0, 0)...)
	f("a home beyond all shards", append(write(0x81, 0x20, 1, 1, 1, 'm', 1, 0, 0), eight...)...)
	f("no keys", append(write(0, 0, 1, 0, 0), eight...)...)
	f("an empty key", append(write(0, 1, 0, 1, 0, 0), eight...)...)
	f("more keys than bytes", write(0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1)...)
	f("longer keys than bytes", write(0, 1, 0x7f, 'm')...)
	f("a key too long", write(0, 1, 0x81, 0x40, 'm')...)
	f("no samples", write(0, 1, 1, 'm', 0, 0)...)
	f("more samples than bytes", write(0, 1, 1, 'm', 0xff, 0xff, 0xff, 0xff, 0x0f, 0)...)
	f("an unknown unit", append(write(0, 1, 1, 'm', 1, 3, 0), eight...)...)
	f("a series beyond the keys", append(write(0, 2, 1, 1, 'm', 'n', 1, 0, 4, 0), eight...)...)
	f("a series below zero", append(write(0, 2, 1, 1, 'm', 'n', 1, 0, 1, 0), eight...)...)
	f("a time out of range", append(write(0, 1, 1, 'm', 1, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), eight...)...)
	f("an infinite value", write(0, 1, 1, 'm', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f)...)
	if err := decodeAny("command", write(append([]byte{0, 1, 1, 'm', 1, 0, 0}, eight...)...)); err != nil {
		t.Errorf("the form that these break: %v", err)
	}
}

// TestHostileWritesAreRefused are what version 2 does not allow.
func TestHostileWritesAreRefused(t *testing.T) {
	f := func(what string, body ...byte) {
		t.Helper()
		if err := decodeAny("command", append([]byte{2, 2, 1, 1, 0}, body...)); !errors.Is(err, command.ErrMalformed) {
			t.Errorf("%s: %v, want malformed", what, err)
		}
	}
	const head = 1 << 3 // the next series
	f("unknown flags", 4, 1, 0, 1, 'm', 1, head, 1, 6, 0, 0)
	f("identity number 0", 1, 0, 0, 1, 0, 1, 'm', 1, head, 1, 6, 0, 0)
	f("a home beyond all shards", 1, 0x80, 0x20, 1, 1, 0, 1, 'm', 1, head, 1, 6, 0, 0)
	f("no series", 0, 0, 1, head, 1, 6, 0, 0)
	f("more series than bytes", 0, 0x7f, 0, 1, 'm', 1, head, 1, 6, 0, 0)
	f("a number below zero", 0, 1, 2, 1, head, 1, 6, 0, 0)
	f("a number too large", 0, 1, 0xff, 0xff, 0xff, 0xff, 0x1f, 1, head, 1, 6, 0, 0)
	f("an empty key", 0, 1, 0, 0, 1, head, 1, 6, 0, 0)
	f("a key too long", 0, 1, 0, 0x81, 0x40, 'm')
	f("longer keys than bytes", 0, 1, 0, 0x7f, 'm')
	f("no samples", 0, 1, 0, 1, 'm', 0)
	f("more samples than bytes", 0, 1, 0, 1, 'm', 0x7f, head, 1, 6, 0, 0)
	f("more samples in a run than in all", 0, 1, 0, 1, 'm', 1, head, 2, 6, 0, 0, 0, 0)
	f("fewer samples in the runs than told", 0, 1, 0, 1, 'm', 2, head, 1, 6, 0, 0)
	f("a run without samples", 0, 1, 0, 1, 'm', 1, head, 0, 6, 0, 0)
	f("a run as long as none", 0, 1, 0, 1, 'm', 1, head|1<<4, 6, 0, 0)
	f("an unknown head", 0, 1, 0, 1, 'm', 1, head|1<<6, 1, 6, 0, 0)
	f("a series beyond all", 0, 1, 0, 1, 'm', 1, 0, 1, 1, 6, 0, 0)
	f("the times of no run", 0, 1, 0, 1, 'm', 1, head|1<<5, 1, 0)
	f("the times of a shorter run", 0, 1, 0, 1, 'm', 3, head, 1, 6, 0, 0, 1<<5, 0, 2, 0, 0)
	f("unknown times", 0, 1, 0, 1, 'm', 1, head, 1, 8, 0, 0)
	f("an unknown unit", 0, 1, 0, 1, 'm', 1, head, 1, 3, 0, 0)
	f("a time out of range", 0, 1, 0, 1, 'm', 1, head, 1, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0)
	f("a second time out of range", 0, 1, 0, 1, 'm', 2, head, 2, 6, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0)
	f("an unknown coding", 0, 1, 0, 1, 'm', 1, head|5, 1, 6, 0, 0)
	f("an infinite value", 0, 1, 0, 1, 'm', 1, head|7, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f)
	f("a whole number too long", 0, 1, 0, 1, 'm', 1, head, 1, 6, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02)
	if err := decodeAny("command", []byte{2, 2, 1, 1, 0, 0, 1, 0, 1, 'm', 1, head, 1, 6, 0, 0}); err != nil {
		t.Errorf("the form that these break: %v", err)
	}
}

func TestVerdictsHaveFaults(t *testing.T) {
	f := func(v command.Verdict, kind fault.Kind, code string) {
		t.Helper()
		err := v.Fault()
		if err == nil || err.Kind() != kind || err.Code() != code || err.Message() == "" {
			t.Errorf("verdict %d is %v, want kind %d code %s", v, err, kind, code)
		}
	}
	f(command.SeriesLimit, fault.Unprocessable, "series_limit")
	f(command.KeyReused, fault.Unprocessable, "idempotency_key_reused")
	f(command.KeysFull, fault.Exhausted, "idempotency_window_full")
	f(command.KeyExpired, fault.Conflict, "idempotency_key_expired")
	f(command.SessionUnknown, fault.Unavailable, "session_unknown")
	f(command.SessionsFull, fault.Exhausted, "session_window_full")
	f(command.Verdict(200), fault.Internal, "unknown_outcome")
	for _, v := range []command.Verdict{command.Applied, command.Duplicate, command.Registered, command.KeyKnown} {
		if err := v.Fault(); err != nil {
			t.Errorf("verdict %d is %v, want none", v, err)
		}
	}
}

// FuzzDecode feeds any bytes to every decoder: none panics, and what decodes encodes to the same
// content again.
func FuzzDecode(f *testing.F) {
	_, data := vectors()
	for _, d := range data {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if o, err := command.DecodeOutcome(data); err == nil {
			if again, err := command.DecodeOutcome(command.AppendOutcome(nil, o)); err != nil || again != o {
				t.Fatalf("outcome %+v came back as %+v, %v", o, again, err)
			}
		}
		h, body, err := command.DecodeHeader(data)
		if err != nil {
			return
		}
		_, _ = command.DecodeBegin(body)
		_, _ = command.DecodeFinish(body)
		_, _ = command.DecodeDelete(body)
		_, _ = command.DecodeRetain(body)
		identity, columns, err := new(command.Decoder).Write(h, body)
		if err != nil {
			return
		}
		var frame command.Frame
		frame.EncodeWrite(identity, columns)
		h, body, err = command.DecodeHeader(frame.Seal(command.Header{Session: 1, Sequence: max(h.Sequence, 1), Lowest: 1}))
		if err != nil {
			t.Fatal(err)
		}
		gotIdentity, got, err := new(command.Decoder).Write(h, body)
		if err != nil || gotIdentity != identity || !cmp.Equal(got, columns, bitwise) {
			t.Fatalf("%+v %+v came back as %+v %+v, %v", identity, columns, gotIdentity, got, err)
		}
	})
}
