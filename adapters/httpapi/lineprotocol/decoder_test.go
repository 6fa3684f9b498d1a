package lineprotocol

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shownSamples decodes body and writes each sample as key value time.
func shownSamples(t *testing.T, d *Decoder, body string, o Options) []string {
	t.Helper()
	d.Reset()
	observations, _, err := d.Decode(strings.NewReader(body), o)
	if err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	var got []string
	for _, observation := range observations {
		s := observation.At(received)
		got = append(got, fmt.Sprint(s.Series().Key(), " ", s.Value(), " ", int64(s.Timestamp()-received)))
	}
	return got
}

func TestLinesBecomeSamples(t *testing.T) {
	d := newDecoder(t)
	f := func(body string, want ...string) {
		t.Helper()
		if got := shownSamples(t, d, body, Options{}); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, want %q", body, got, want)
		}
	}
	f("cpu,host=h1,az=b usage_user=12.34,value=3i 1722513600000001999", `cpu_usage_user{az="b",host="h1"} 12.34 1`, `cpu{az="b",host="h1"} 3 1`)
	f("cpu a=1\n\n# a comment\r\ncpu a=2\r\n", `cpu_a 1 0`, `cpu_a 2 0`)
	f("up ok=t,bad=F,n=18446744073709551615u", `up_ok 1 0`, `up_bad 0 0`, `up_n 1.8446744073709552e+19 0`)
	f(`disk\ io,path=C:\Users\,x,a\=b=\\c read\ bytes=5`, `disk io_read bytes{a\=b="\\\\c",path="C:\\Users,x"} 5 0`)
	f(`m text="a,b=1 \"\n`+"\n"+`",n=1`, `m_n 1 0`)
	f("m a=1 1722513599999999999", `m_a 1 -1`)
	f("m a=1,a=2", `m_a 1 0`, `m_a 2 0`)
	f("")
}

func TestPrecisions(t *testing.T) {
	d := newDecoder(t)
	for text, units := range map[string]string{
		"": "1722513600000000000", "n": "1722513600000000999", "ns": "1722513600000000000", "u": "1722513600000000", "us": "1722513600000000",
		"ms": "1722513600000", "s": "1722513600", "m": "28708560", "h": "478476",
	} {
		p, err := ParsePrecision(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := shownSamples(t, d, "m value=1 "+units, Options{Precision: p}), []string{"m 1 0"}; !reflect.DeepEqual(got, want) {
			t.Errorf("precision %q: %q", text, got)
		}
		if again, err := ParsePrecision(p.String()); err != nil || again != p {
			t.Errorf("%s is read as %s, %v", p, again, err)
		}
	}
	if _, err := ParsePrecision("d"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("precision d: %v", err)
	}
}

func TestBadLinesAreNamed(t *testing.T) {
	d := newDecoder(t)
	f := func(body string, line int, parts ...string) {
		t.Helper()
		d.Reset()
		_, _, err := d.Decode(strings.NewReader(body), Options{})
		e := fault.From(err)
		if err == nil || e.Kind() != fault.Invalid || e.Code() != "invalid_lines" || e.Details()[0].Value != line {
			t.Errorf("%q: %v, want line %d", body, err, line)
			return
		}
		for _, part := range append(parts, fmt.Sprintf("line %d: ", line), "expected", "nothing was stored") {
			if !strings.Contains(e.Message(), part) {
				t.Errorf("%q: %q lacks %q", body, e.Message(), part)
			}
		}
	}
	f("m a=1\nm a=NaN\nm a=2", 2, "NaN", "(1 of 3 lines")
	f("m s=\"1\n2\n3\"\nm a=-Inf", 4, "-Inf")
	f("m,t=1,t=2 a=1", 1, "tags.t", "twice")
	f("m,t= a=1", 1, "tags.t", "empty")
	f("m,t a=1", 1, `tag "t"`)
	f("m a=1 noon", 1, "timestamp", "(ns)")
	f("m a=1 5 6", 1, "goes on")
	f("m a=\"x", 1, "without end")
	f(strings.Repeat("n", metric.NameBytesMax)+" a=1", 1, "metric_name", "257 bytes")
	f("m a\u0001=1", 1, "control characters")
	f("m "+strings.Repeat("k", 1000)+"=x", 1, `"x"`)
	f("m a=1\nbad", 2, "holds no fields")
}

func TestOnlyTheFirstBadLinesAreReported(t *testing.T) {
	d := newDecoder(t)
	_, _, err := d.Decode(strings.NewReader(strings.Repeat("m a=1\nm a=x\n", 3*ReportedMax)), Options{})
	for _, detail := range fault.From(err).Details() {
		switch value := detail.Value.(type) {
		case []LineFault:
			if len(value) != ReportedMax || value[9].Line != 20 || value[9].Field == "" || value[9].Reason == "" {
				t.Errorf("errors: %+v", value)
			}
		case int:
			if detail.Name == "bad" && value != 3*ReportedMax {
				t.Errorf("bad: %d", value)
			}
		}
	}
}

func TestStringsAreSkippedOrRefused(t *testing.T) {
	d := newDecoder(t)
	var b strings.Builder
	for i := range 2 * SkippedNamesMax {
		fmt.Fprintf(&b, "m,host=h s%d=\"x\",n=1,value=\"y\"\n", i)
	}
	observations, skipped, err := d.Decode(strings.NewReader(b.String()), Options{})
	if err != nil || len(observations) != 2*SkippedNamesMax || skipped.Fields != 4*SkippedNamesMax ||
		len(skipped.Names) != SkippedNamesMax || skipped.Names[0] != "m_s0" || skipped.Names[1] != "m" {
		t.Errorf("%d samples, skipped %+v, %v", len(observations), skipped, err)
	}
	d.Reset()
	if _, _, err := d.Decode(strings.NewReader("m a=1\n"+b.String()), Options{RefuseStrings: true}); err == nil || !strings.Contains(err.Error(), `line 2: field "s0": is a string`) {
		t.Errorf("strings=error: %v", err)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	d := newDecoder(t)
	line := "m a=1,b=2\n"
	if observations, _, err := d.Decode(strings.NewReader(strings.Repeat(line, metric.BatchSamplesMax/2)), Options{}); err != nil || len(observations) != metric.BatchSamplesMax {
		t.Errorf("as many as may be: %d, %v", len(observations), err)
	}
	d.Reset()
	_, _, err := d.Decode(strings.NewReader(strings.Repeat(line, metric.BatchSamplesMax/2)+"m a=1"), Options{})
	if e := fault.From(err); err == nil || e.Kind() != fault.TooLarge || e.Code() != "too_many_samples" || e.Details()[0].Value != metric.BatchSamplesMax {
		t.Errorf("one more: %v", err)
	}
	d.Reset()
	if cap(d.observations) > observationsKeptMax {
		t.Errorf("room for %d samples is kept", cap(d.observations))
	}
}

func TestErrorsOfTheReaderComeBack(t *testing.T) {
	d, broken := newDecoder(t), errors.New("broken")
	if _, _, err := d.Decode(iotest.ErrReader(broken), Options{}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestKnownSeriesCostNoAllocations(t *testing.T) {
	d, body := newDecoder(t), benchBody(len(benchFields))
	var reader bytes.Reader
	decode := func() {
		d.Reset()
		reader.Reset(body)
		if _, _, err := d.Decode(&reader, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(5, decode); n > 1 {
		t.Errorf("%v allocations a batch of %d samples", n, benchSamples)
	}
}

// TestDecodersShareSeries fills one group from several decoders at once, in lines of different fields.
func TestDecodersShareSeries(t *testing.T) {
	first := newDecoder(t)
	const fields = groupFieldsMax + 10
	fill := func(step int) {
		d := NewDecoder(first.cache)
		var b strings.Builder
		for i := range fields {
			fmt.Fprintf(&b, "m,host=a f%d=%d\n", (i*step)%fields, i)
		}
		if _, _, err := d.Decode(strings.NewReader(b.String()), Options{}); err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() { fill(2*n + 1) })
	}
	wg.Wait()
	fill(1) // of two that add a field at once, one may have lost it
	g, known := first.cache.Get([]byte("m,host=a"))
	if !known || len(g.fields) != groupFieldsMax || len(g.index) != groupFieldsMax {
		t.Fatalf("the group holds %d fields, %d in its index", len(g.fields), len(g.index))
	}
	for at, f := range g.fields {
		if got, ok := g.find([]byte(f.key), 0); !ok || got != at || f.series.Key() != "m_"+strings.TrimSuffix(f.key, "=")+`{host="a"}` {
			t.Errorf("field %d is %+v, found at %d", at, f, got)
		}
	}
	agree(t, first, "m,host=a f0=1,f1=2,f1033=3\nm,host=a f5=1", Options{})
}

// TestDecodersTakeOverWhatOthersMade reads a field that another decoder made since this one took the group.
func TestDecodersTakeOverWhatOthersMade(t *testing.T) {
	a := newDecoder(t)
	b := NewDecoder(a.cache)
	decode := func(d *Decoder, body string) metric.Series {
		d.Reset()
		observations, _, err := d.Decode(strings.NewReader(body), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return observations[len(observations)-1].Series()
	}
	decode(a, "m x=1")
	made := decode(b, "m x=1,y=1")
	if decode(a, "m x=1,y=2") != made {
		t.Error("the same field has two series")
	}
	if g, _ := a.cache.Get([]byte("m")); len(g.fields) != 2 {
		t.Errorf("the group holds %d fields", len(g.fields))
	}
}
