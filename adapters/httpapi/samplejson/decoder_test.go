package samplejson

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/raftmetrics/raftmetrics/adapters/httpapi/seriescache"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

func newDecoder(tb testing.TB) *Decoder {
	tb.Helper()
	cache, err := seriescache.New(seriescache.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	return NewDecoder(cache)
}

// received is the time that samples without a timestamp get in these tests.
const received = metric.Timestamp(1_722_513_600_000_000) // 2024-08-01T12:00:00Z

func text(o metric.Observation) string {
	s := o.At(received)
	return s.Series().Key() + " " + s.Timestamp().String() + " " + string(appendFloat(s.Value()))
}

func TestDecodeAccepts(t *testing.T) {
	d := newDecoder(t)
	f := func(body string, many bool, want ...string) {
		t.Helper()
		for range 2 { // the second time, series come from the cache
			d.Reset()
			got, gotMany, err := d.Decode([]byte(body))
			if err != nil || gotMany != many || len(got) != len(want) {
				t.Fatalf("Decode(%s) = %d samples, many %v, %v; want %d, %v", body, len(got), gotMany, err, len(want), many)
			}
			for i := range got {
				if text(got[i]) != want[i] {
					t.Fatalf("Decode(%s)[%d] = %s, want %s", body, i, text(got[i]), want[i])
				}
			}
		}
	}
	const at = " 2024-08-01T12:00:00Z "
	// The text of the documentation, with its comma behind the last member.
	f("{\n  \"metric_name\": \"cpu_usage\",\n  \"value\": 75.5,\n  \"timestamp\": \"2024-08-01T12:00:00Z\",\n}\n", false, "cpu_usage"+at+"75.5")
	f(`{"metric_name":"a","value":1}`, false, "a"+at+"1")
	f(`{"value":-0.0,"metric_name":"a"}`, false, "a"+at+"-0")
	f(`{"metric_name":"a","value":1,"timestamp":null,"tags":null}`, false, "a"+at+"1")
	f(`{"metric_name":"a","value":1,"tags":{}}`, false, "a"+at+"1")
	f(`{"metric_name":"a","value":1,"tags":{"b":"x","a":"}{\"\\"}}`, false, `a{a="}{\"\\",b="x"}`+at+"1")
	f(`{"metric\u005fname":"\u00e9\ud83d\ude00\/","value":1e3}`, false, "é😀/"+at+"1000")
	f(`{"metric_name":"a","value":1,"timestamp":"2024-08-01T14:00:00.25+02:00"}`, false, "a 2024-08-01T12:00:00.25Z 1")
	f(`{"metric_name":"a","value":1,"timestamp":"2024-08-01T12:00:00.000001\u005a"}`, false, "a 2024-08-01T12:00:00.000001Z 1")
	f(` [ {"metric_name":"a","value":1} , {"metric_name":"b","value":2,} ] `, true, "a"+at+"1", "b"+at+"2")
}

func TestDecodeRefuses(t *testing.T) {
	d := newDecoder(t)
	f := func(body, code, message string) {
		t.Helper()
		d.Reset()
		_, _, err := d.Decode([]byte(body))
		e := fault.From(err)
		if e == nil || e.Code() != code || !strings.Contains(e.Message(), message) {
			t.Fatalf("Decode(%s): %v; want %s: …%s…", body, err, code, message)
		}
	}
	const bad, syntax = "invalid_argument", "invalid_json"
	f(``, syntax, "the text ends")
	f(`"a"`, syntax, "line 1, byte 1: expected a sample")
	f("{\"metric_name\":\"a\",\n \"value\":1 2}", syntax, "line 2, byte 12: expected ',' or '}'")
	f(`{"metric_name":"a","value":1}{`, syntax, "something follows")
	f(`{"metric_name":"a","value":1,,}`, syntax, "byte 30")
	f(`{,}`, syntax, "expected a member's name")
	f(`{"metric_name":"a","value":1`, syntax, "the text ends")
	f(`{"metric_name":"a`, syntax, "no end")
	f("{\"metric_name\":\"a\tb\",\"value\":1}", syntax, "control character")
	f(`{"metric_name":"a","value":01}`, syntax, "expected a number")
	f(`{"metric_name":"a","value":1.}`, syntax, "expected a number")
	f(`{"metric_name":"a","value":.5}`, syntax, "expected a value")
	f(`{"metric_name":"a","value":NaN}`, syntax, "expected a value")
	f(`{"metric_name":"a","value":1e}`, syntax, "expected a number")
	f(`{"metric_name":"a","value":1,"tags":{"a":"b",}}`, syntax, "tag's key")
	f(`{"metric_name":"a","value":1,"tags":{"a" "b"}}`, syntax, "':'")
	f(`[{"metric_name":"a","value":1},]`, syntax, "expected a value")
	f(`{"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`, syntax, "too deep")
	f(`{"value":1}`, bad, "metric_name: is missing")
	f(`{"metric_name":"a"}`, bad, "value: is missing")
	f(`{}`, bad, "metric_name: is missing")
	f(`{"metric_name":"","value":1}`, bad, "metric_name: is empty")
	f(`{"metric_name":null,"value":1}`, bad, "metric_name: is null")
	f(`{"metric_name":"a","value":"1"}`, bad, "value: is a string")
	f(`{"metric_name":"a","value":null}`, bad, "value: is null")
	f(`{"metric_name":"a","value":1e999}`, bad, "value: is out of range")
	f(`{"metric_name":"a","value":1,"value":2}`, bad, "value: is given twice")
	f(`{"metric_name":"a","value":1,"valeu":{"x":[1,true,null]}}`, bad, "valeu: is an unknown member")
	f(`{"metric_name":"a","value":1,"Value":2}`, bad, "Value: is an unknown member")
	f(`{"metric_name":"a\ud800","value":1}`, bad, "metric_name: holds a bad escape")
	f(`{"metric_name":"a\x","value":1}`, bad, "metric_name: holds a bad escape")
	f("{\"metric_name\":\"a\xff\",\"value\":1}", bad, "invalid UTF-8")
	f(`{"metric_name":"a\u0000","value":1}`, bad, "control characters")
	f(`{"metric_name":"a","value":1,"timestamp":"yesterday"}`, bad, "timestamp: is \"yesterday\"")
	f(`{"metric_name":"a","value":1,"timestamp":"2024-02-30T00:00:00Z"}`, bad, "timestamp")
	f(`{"metric_name":"a","value":1,"timestamp":"2024-08-01T12:00:00.0000001Z"}`, bad, "timestamp")
	f(`{"metric_name":"a","value":1,"timestamp":17}`, bad, "timestamp: is a number")
	f(`{"metric_name":"a","value":1,"tags":["a"]}`, bad, "tags: is an array")
	f(`{"metric_name":"a","value":1,"tags":{"a":1}}`, bad, "tags.a: is a number")
	f(`{"metric_name":"a","tags":{"a":{"b":"c"}},"value":1}`, bad, "tags: holds an object")
	f(`{"metric_name":"a","value":1,"tags":{"a":"b","a":"c"}}`, bad, "tags.a: is given twice")
	f(`{"metric_name":"a","value":1,"tags":{"a":""}}`, bad, "tags.a: is empty")
	f(`[]`, "empty_batch", "holds no samples")
}

func TestDecodeBatchReportsEachBadSample(t *testing.T) {
	d := newDecoder(t)
	body := `[{"metric_name":"a","value":1},{"metric_name":"a"},7,` +
		strings.Repeat(`{"metric_name":"a","value":"x"},`, 20) + `{"metric_name":"b","value":2}]`
	_, many, err := d.Decode([]byte(body))
	e := fault.From(err)
	if !many || e == nil || e.Code() != "invalid_batch" || !strings.Contains(e.Message(), "22 of 24") {
		t.Fatalf("Decode: %v; want invalid_batch about 22 of 24", err)
	}
	reported, ok := e.Details()[1].Value.([]SampleFault)
	if !ok || len(reported) != ReportedMax {
		t.Fatalf("reported %v, want %d", e.Details()[1], ReportedMax)
	}
	want := []SampleFault{
		{Index: 1, Field: "value", Reason: "value: is missing; expected a finite number"},
		{Index: 2, Reason: "is not an object; expected a sample"},
		{Index: 3, Field: "value", Reason: "value: is a string; expected a finite number"},
	}
	for i, w := range want {
		if reported[i] != w {
			t.Fatalf("reported[%d] = %+v, want %+v", i, reported[i], w)
		}
	}
}

func TestDecodeLimitsSamples(t *testing.T) {
	const sample = `{"metric_name":"a","value":1}`
	full := strings.Repeat(sample+",", metric.BatchSamplesMax-1) + sample
	d := newDecoder(t)
	if got, _, err := d.Decode([]byte("[" + full + "]")); err != nil || len(got) != metric.BatchSamplesMax {
		t.Fatalf("Decode of a full batch: %d, %v", len(got), err)
	}
	d.Reset()
	if _, _, err := d.Decode([]byte("[" + full + "," + sample + "]")); fault.KindOf(err) != fault.TooLarge {
		t.Fatalf("Decode of one more: %v, want TooLarge", err)
	}
	d.Reset()
	lines := strings.Repeat(sample+"\n", metric.BatchSamplesMax+1)
	if _, err := d.DecodeLines(strings.NewReader(lines)); fault.KindOf(err) != fault.TooLarge {
		t.Fatalf("DecodeLines of one more: %v, want TooLarge", err)
	}
}

func TestDecodeLines(t *testing.T) {
	d := newDecoder(t)
	long := strings.Repeat(" ", 3*chunkBytes)
	body := "{\"metric_name\":\"a\",\"value\":1}\n\n  \r\n" + long + "{\"metric_name\":\"b\",\"value\":2,}\r\n{\"metric_name\":\"c\",\"value\":3}"
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(body), "halves": iotest.HalfReader(strings.NewReader(body)),
		"data with EOF": iotest.DataErrReader(strings.NewReader(body)),
	} {
		d.Reset()
		got, err := d.DecodeLines(r)
		if err != nil || len(got) != 3 || got[1].Series().Key() != "b" {
			t.Fatalf("%s: %v, %v; want a, b, c", name, got, err)
		}
	}
	d.Reset()
	_, err := d.DecodeLines(strings.NewReader("{\"metric_name\":\"a\",\"value\":1}\n\n{\"metric_name\":\n\"b\",\"value\":2}\n"))
	if e := fault.From(err); e == nil || e.Code() != "invalid_batch" || !strings.Contains(e.Message(), "2 of 3") || !strings.Contains(e.Message(), "line 3") {
		t.Fatalf("a sample over two lines: %v; want 2 of 3 bad, from line 3", err)
	}
	d.Reset()
	broken := errors.New("broken")
	if _, err := d.DecodeLines(io.MultiReader(strings.NewReader("{"), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Fatalf("a failing reader: %v, want %v", err, broken)
	}
	d.Reset()
	if _, err := d.DecodeLines(bytes.NewReader(nil)); fault.From(err).Code() != "empty_batch" {
		t.Fatalf("no lines: %v, want empty_batch", err)
	}
}
