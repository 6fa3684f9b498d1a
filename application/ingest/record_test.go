package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/application/ingest"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
	"github.com/raftmetrics/raftmetrics/tests/mocks/outboundmock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRecordStoresEverySampleOnce(t *testing.T) {
	n := newNode(t, 8)
	for _, count := range []int{1, 1000, 20} { // a later write reuses the memory of an earlier one
		batch := observations(t, count)
		n.mu.counts = map[string]int{}
		reply, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch})
		if err != nil || reply.Stored != count || reply.Received != n.received() {
			t.Fatalf("Record=%+v, %v", reply, err)
		}
		n.wantSamples(t, batch, 1)
	}
}

func TestEqualSeriesFromDifferentHandlesAreOne(t *testing.T) {
	n := newNode(t, 1)
	n.mu.appends = func(_ shard.ID, keys []string) error {
		if len(keys) != 1 {
			t.Errorf("keys %q, want one", keys)
		}
		return nil
	}
	batch := append(observations(t, 1), observations(t, 1)...)
	if _, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch}); err != nil {
		t.Fatal(err)
	}
	n.wantSamples(t, batch, 1)
}

// catalogue knows series by number, as storage does.
type catalogue struct {
	mu      sync.Mutex
	era     uint32
	numbers map[string]uint32
	asked   int
}

func (c *catalogue) SeriesEra(shard.ID) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.era
}

func (c *catalogue) NumberSeries(_ shard.ID, keys []string, numbers []uint32) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, key := range keys {
		c.asked++
		numbers[i] = c.numbers[key]
	}
	return c.era
}

// TestSeriesAreToldByNumber: what a node has applied is told by number, which is looked up once a handle
// and era; samples of a series stand together in the order in which they came, whatever their handles.
func TestSeriesAreToldByNumber(t *testing.T) {
	n := newNode(t, 1)
	known := &catalogue{era: 1, numbers: map[string]uint32{}}
	options := n.options()
	options.Series = known
	recorder := ingest.New(options)
	var got outbound.Columns
	n.mu.columns = func(c outbound.Columns) {
		got = c
		got.Keys, got.Numbers = slices.Clone(c.Keys), slices.Clone(c.Numbers)
		got.Series, got.Values = slices.Clone(c.Series), slices.Clone(c.Values)
	}
	handles, twins := observations(t, 3), observations(t, 3)
	batch := []metric.Observation{handles[0], handles[1], twins[0], handles[2], twins[1], handles[0]}
	record := func(keys []string, numbers []uint32, asked int) {
		t.Helper()
		known.asked = 0
		if _, err := recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Keys, keys) || !slices.Equal(got.Numbers, numbers) || known.asked != asked {
			t.Fatalf("keys %q, numbers %d, %d asked for; want %q %d %d", got.Keys, got.Numbers, known.asked, keys, numbers, asked)
		}
		if !slices.Equal(got.Series, []uint32{0, 0, 0, 1, 1, 2}) || !slices.Equal(got.Values, []float64{0, 0, 0, 1, 1, 2}) {
			t.Fatalf("series %d values %v", got.Series, got.Values)
		}
	}
	keys := make([]string, 3)
	for i := range keys {
		keys[i] = handles[i].Series().Key()
	}
	record(keys, nil, 5)
	known.numbers[keys[0]], known.numbers[keys[2]] = 7, 9
	record([]string{"", keys[1], ""}, []uint32{7, 0, 9}, 5)
	record([]string{"", keys[1], ""}, []uint32{7, 0, 9}, 2)
	known.era, known.numbers = 2, map[string]uint32{keys[1]: 1}
	record([]string{keys[0], "", keys[2]}, []uint32{0, 1, 0}, 5)
	known.era = 0
	record(keys, nil, 0)
}

// TestASeriesThatGetsItsNumberMeanwhileStaysOne: the batch's other handle finds a number that the first
// did not.
func TestASeriesThatGetsItsNumberMeanwhileStaysOne(t *testing.T) {
	n := newNode(t, 1)
	options := n.options()
	first := true
	options.Series = numbererFunc(func() uint32 {
		if first {
			first = false
			return 0
		}
		return 5
	})
	var keys []string
	n.mu.columns = func(c outbound.Columns) { keys = slices.Clone(c.Keys) }
	batch := []metric.Observation{observations(t, 1)[0], observations(t, 1)[0]}
	if _, err := ingest.New(options).Record(t.Context(), inbound.RecordRequest{Observations: batch}); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 1 || keys[0] != batch[0].Series().Key() {
		t.Errorf("keys %q, want the one", keys)
	}
}

type numbererFunc func() uint32

func (f numbererFunc) SeriesEra(shard.ID) uint32 { return 1 }
func (f numbererFunc) NumberSeries(_ shard.ID, _ []string, numbers []uint32) uint32 {
	numbers[0] = f()
	return 1
}

func TestConcurrentWrites(t *testing.T) {
	n := newNode(t, 4)
	batch := observations(t, 100)
	var writers sync.WaitGroup
	const each, count = 20, 16
	for range count {
		writers.Go(func() {
			for range each {
				if _, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	n.wantSamples(t, batch, each*count)
}

// wantFault checks an error's kind, code and details.
func wantFault(t *testing.T, err error, kind fault.Kind, code string, details ...fault.Detail) {
	t.Helper()
	got := fault.From(err)
	if err == nil || got.Kind() != kind || got.Code() != code {
		t.Fatalf("error %v (%d %s), want %d %s", err, fault.KindOf(err), got.Code(), kind, code)
	}
	for _, want := range details {
		found := false
		for _, d := range got.Details() {
			found = found || fmt.Sprint(d) == fmt.Sprint(want)
		}
		if !found {
			t.Fatalf("details %v, want %v", got.Details(), want)
		}
	}
	if len(details) == 0 && len(got.Details()) != 0 && kind != fault.Invalid {
		t.Fatalf("details %v, want none", got.Details())
	}
}

func TestRequestsAreChecked(t *testing.T) {
	ctrl := gomock.NewController(t)
	shards, err := shard.NewMap(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := ingest.New(ingest.Options{Shards: shards, Proposer: outboundmock.NewMockProposer(ctrl)}) // is not asked
	f := func(req inbound.RecordRequest, kind fault.Kind, code string, details ...fault.Detail) {
		t.Helper()
		_, err := r.Record(t.Context(), req)
		wantFault(t, err, kind, code, details...)
	}
	one := observations(t, 1)
	f(inbound.RecordRequest{}, fault.Invalid, "invalid_argument")
	f(inbound.RecordRequest{Observations: make([]metric.Observation, metric.BatchSamplesMax+1)}, fault.TooLarge, "too_many_samples",
		fault.Detail{Name: "limit", Value: metric.BatchSamplesMax})
	f(inbound.RecordRequest{Observations: one, Idempotency: &inbound.Idempotency{}}, fault.Invalid, "invalid_argument")
	long := strings.Repeat("k", inbound.IdempotencyKeyBytesMax+1)
	f(inbound.RecordRequest{Observations: one, Idempotency: &inbound.Idempotency{Key: long}}, fault.Invalid, "invalid_argument")
}

func TestGateRefuses(t *testing.T) {
	ctrl := gomock.NewController(t)
	n := newNode(t, 1)
	full := fault.New(fault.DiskFull, "disk_full", "the disk is full")
	gate := outboundmock.NewMockWriteGate(ctrl)
	var bytes int
	gate.EXPECT().Admit(gomock.Any(), gomock.Any()).DoAndReturn(func(ctx context.Context, b int) error {
		if at, ok := ctx.Deadline(); !ok || time.Until(at) > ingest.TimeoutDefault {
			t.Errorf("deadline %v, %v", at, ok)
		}
		bytes = b
		return full
	})
	o := n.options()
	o.WriteGate, o.Proposer = gate, outboundmock.NewMockProposer(ctrl) // is not asked
	_, err := ingest.New(o).Record(t.Context(), inbound.RecordRequest{Observations: observations(t, 10)})
	wantFault(t, err, fault.DiskFull, "disk_full")
	if bytes < 160 || bytes > 1600 {
		t.Fatalf("asked for %d bytes for 10 samples", bytes)
	}
}

func TestClockBeyondAllYears(t *testing.T) {
	ctrl := gomock.NewController(t)
	n := newNode(t, 1)
	clock := outboundmock.NewMockClock(ctrl)
	clock.EXPECT().Now().Return(time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC))
	o := n.options()
	o.Clock, o.Proposer = clock, outboundmock.NewMockProposer(ctrl)
	if _, err := ingest.New(o).Record(t.Context(), inbound.RecordRequest{Observations: observations(t, 1)}); err == nil {
		t.Fatal("a timestamp beyond all years was taken")
	}
}

func TestKeysBeyondACommand(t *testing.T) {
	n := newNode(t, 1)
	name, err := metric.NewName("m")
	if err != nil {
		t.Fatal(err)
	}
	var batch []metric.Observation
	for i := range 2200 {
		tags, err := metric.NewTags([]metric.Tag{{Key: "k", Value: fmt.Sprintf("%08d%s", i, strings.Repeat("v", 8000))}})
		if err != nil {
			t.Fatal(err)
		}
		series, err := metric.NewSeries(name, tags)
		if err != nil {
			t.Fatal(err)
		}
		o, err := metric.NewObservation(series, 1)
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, o)
	}
	_, err = n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch})
	wantFault(t, err, fault.TooLarge, "batch_too_large")
	n.wantSamples(t, nil, 0)
}

func TestKeyedWriteIsStoredOnce(t *testing.T) {
	n := newNode(t, 4)
	batch := observations(t, 50)
	req := inbound.RecordRequest{Observations: batch, Idempotency: &inbound.Idempotency{Key: "k", Digest: [32]byte{1}}}
	first, err := n.recorder.Record(t.Context(), req)
	if err != nil || first.Stored != 50 || first.Received != n.received() {
		t.Fatalf("Record=%+v, %v", first, err)
	}
	proposals := 0
	n.onPropose(func(_ context.Context, _ shard.ID, _ []byte, applied bool) error {
		if !applied {
			proposals++
		}
		return nil
	})
	n.advanceClock(time.Minute)
	again, err := n.recorder.Record(t.Context(), req)
	if err != nil || again != first {
		t.Fatalf("Record=%+v, %v, want %+v", again, err, first)
	}
	if proposals != 1 {
		t.Fatalf("%d proposals for a finished key, want the home shard's alone", proposals)
	}
	req.Idempotency = &inbound.Idempotency{Key: "k", Digest: [32]byte{2}}
	_, err = n.recorder.Record(t.Context(), req)
	wantFault(t, err, fault.Unprocessable, "idempotency_key_reused")
	n.advanceClock(-time.Minute)
	n.wantSamples(t, batch, 1)
}

func TestRetryCompletesAKeyedWrite(t *testing.T) {
	n := newNode(t, 4)
	batch := observations(t, 50)
	home := n.shards.Of(batch[0].Series())
	full := errSeriesLimit
	n.mu.appends = func(id shard.ID, _ []string) error {
		if id == home {
			return full
		}
		return nil
	}
	req := inbound.RecordRequest{Observations: batch, Idempotency: &inbound.Idempotency{Key: "k"}}
	_, err := n.recorder.Record(t.Context(), req)
	stored, notStored, unknown := details(err)
	wantFault(t, err, fault.Unprocessable, "series_limit", fault.Detail{Name: "unknown", Value: 0})
	if stored == 0 || notStored == 0 || stored+notStored != 50 || unknown != 0 {
		t.Fatalf("stored %d, not %d, unknown %d", stored, notStored, unknown)
	}
	if !strings.Contains(err.Error(), "same Idempotency-Key") {
		t.Fatalf("the message does not say how to complete the write: %v", err)
	}
	n.mu.appends = nil
	n.advanceClock(time.Second) // default timestamps stay those of the first attempt
	if reply, err := n.recorder.Record(t.Context(), req); err != nil || reply.Stored != 50 {
		t.Fatalf("Record=%+v, %v", reply, err)
	}
	n.advanceClock(-time.Second)
	n.wantSamples(t, batch, 1)
}

func TestPartialWriteWithoutKey(t *testing.T) {
	n := newNode(t, 4)
	batch := observations(t, 50)
	sick := n.shards.Of(batch[0].Series())
	n.mu.appends = func(id shard.ID, _ []string) error {
		if id == sick {
			return errSeriesLimit
		}
		return nil
	}
	_, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch})
	wantFault(t, err, fault.Unprocessable, "series_limit", fault.Detail{Name: "unknown", Value: 0})
	if !strings.Contains(err.Error(), "may count samples twice") {
		t.Fatalf("the message does not warn of a retry: %v", err)
	}
	// A write of which nothing was stored is refused without such details.
	_, err = n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch[:1]})
	wantFault(t, err, fault.Unprocessable, "series_limit")
}

func TestDefiniteRefusalOfAProposal(t *testing.T) {
	n := newNode(t, 1)
	refusal := fault.New(fault.TooLarge, "command_too_large", "too large")
	n.onPropose(func(context.Context, shard.ID, []byte, bool) error { return refusal })
	_, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: observations(t, 3)})
	if !errors.Is(err, refusal) {
		t.Fatalf("Record=%v, want %v", err, refusal)
	}
	wantFault(t, err, fault.TooLarge, "command_too_large")
}

func TestIdleSessionIsOpenedAnew(t *testing.T) {
	n := newNode(t, 2)
	batch := observations(t, 20)
	for range 3 {
		if _, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch}); err != nil {
			t.Fatal(err)
		}
		n.mu.logTime += 3 * time.Hour
	}
	n.wantSamples(t, batch, 3)
}
