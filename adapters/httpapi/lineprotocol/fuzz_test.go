package lineprotocol

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/adapters/httpapi/seriescache"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

const received = metric.Timestamp(1_722_513_600_000_000)

func newDecoder(tb testing.TB) *Decoder {
	tb.Helper()
	cache, err := NewCache(seriescache.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	return NewDecoder(cache)
}

// fatalf is what both testing.T and rapid.T have.
type fatalf interface {
	Fatalf(format string, args ...any)
}

// agree decodes body and compares with the reference.
func agree(t fatalf, d *Decoder, body string, o Options) {
	var ref reference
	wantErr := ref.read(body, o)
	d.Reset()
	observations, skipped, err := d.Decode(iotest.HalfReader(strings.NewReader(body)), o)
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("%q: error %v, the reference says %v (line %d)", body, err, wantErr, ref.line)
	}
	if err != nil {
		details := fault.From(err).Details()
		if line, ok := details[0].Value.(int); !ok || details[0].Name != "line" || line != ref.line {
			t.Fatalf("%q: %v (%v), the reference fails in line %d", body, err, details, ref.line)
		}
		return
	}
	if len(observations) != len(ref.samples) || skipped.Fields != ref.skipped {
		t.Fatalf("%q: %d samples and %d strings, want %d and %d", body, len(observations), skipped.Fields, len(ref.samples), ref.skipped)
	}
	for i, want := range ref.samples {
		if !want.timed {
			want.at = received
		}
		s := observations[i].At(received)
		if s.Series().Key() != want.series || math.Float64bits(s.Value()) != math.Float64bits(want.value) || s.Timestamp() != want.at {
			t.Fatalf("%q: sample %d is %s %v at %v, want %+v", body, i, s.Series().Key(), s.Value(), s.Timestamp(), want)
		}
	}
}

// agreeInAllWays reads body with an empty cache, a filled one, and in small chunks.
func agreeInAllWays(tb testing.TB, t fatalf, body string, o Options) {
	tb.Helper()
	d := newDecoder(tb)
	agree(t, d, body, o)
	agree(t, d, body, o)
	other := NewDecoder(d.cache)
	for _, chunk := range []int{1, 7, 64} {
		other.chunk = make([]byte, chunk)
		agree(t, other, body, o)
	}
}

var corpus = []string{
	oneLine, "", "\n\r\n \t\n# a=1 \"\n", "m a=1\r\nm b=2i 5\r\n", "m a=1 5 \t\n", " m  a=1  5", "m,t=v a=1", "m\\ x,t\\==\\,v\\ a\\,\\==1",
	"m,t=a\\\\ a=1", `m s="x, y=1 \" \\",a=2`, "m s=\"a\nb\nc\"\nm x", "m s=\"", `m s="\`, "m s=\"a\"b", "m s=\"a\"5", "m s=\"\n\"A", "m s=\"\n\" 5\nm a=x", "m a=t,b=F,c=True,d=false",
	"m a=1u,b=-1i,c=-0i,d=-0,e=+1,f=.5,g=1.,h=1e3,i=007,j=00i", "m a=1e999", "m a=NaN", "m a=inf", "m a=0x1p-2", "m a=1_0", "m a=9223372036854775807i",
	"m a=9223372036854775808i", "m a=18446744073709551615u", "m a=-1u", "m a=1 9223372036854775807", "m a=1 -9223372036854775808", "m a=1 99999999999999999999999999",
	"m a=1 0000000000000000000000000001", "m a=1 -1", "m a=1 1.5", "m a=1 1,2", "m a=1 1 1", "m,t= a=1", "m,t a=1", "m,=v a=1", "m,t=v=w a=1", "m,t=1,t=2 a=1", ",t=v a=1",
	"m a=1,a=2", "m value=1,value\\ =2", "m =1", "m a=", "m a", "m a=1,", "m a=1, b=2", "m", "m\na=1 b=2", "m\\=x a=1", "m a=1 5\nbad\nm a=2\n", "m a=\"\",b=1",
	strings.Repeat("m,t=v a=1,b=2\n", 3000), "m " + strings.Repeat("abcdefgh", 100) + "=1", "x" + strings.Repeat("y", 2*prefixWindowBytes) + " a=1", strings.Repeat("z", 2*prefixWindowBytes),
}

const oneLine = `cpu,host=h1,region=r usage_user=12.34,usage_system=3i 1700000000000000000`

func TestCorpusAgrees(t *testing.T) {
	for _, body := range corpus {
		for p := Nanoseconds; p <= Hours; p++ {
			agreeInAllWays(t, t, body, Options{Precision: p, RefuseStrings: p == Hours})
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, body := range corpus {
		f.Add([]byte(body), uint8(0))
	}
	f.Fuzz(func(t *testing.T, body []byte, how uint8) {
		if bytes.ContainsAny(body, escapedSigns) {
			t.Skip("the reference uses these characters")
		}
		agreeInAllWays(t, t, string(body), Options{Precision: Precision(how % 6), RefuseStrings: how >= 128})
	})
}

// TestSoupAgrees joins what lines consist of at random, which comes upon more of the grammar than bytes do.
func TestSoupAgrees(t *testing.T) {
	pieces := []string{
		"m", "cpu", ",", " ", "=", "\n", "\r\n", "\\", `"`, "t", "1", "-", ".5", "i", "u", "e3", "12.34", "value", "a=1", ",t=v", ` s="x"`, "#", "1700000000000000000", "\t", "é", "\x00",
	}
	rapid.Check(t, func(rt *rapid.T) {
		body := strings.Join(rapid.SliceOf(rapid.SampledFrom(pieces)).Draw(rt, "pieces"), "")
		agreeInAllWays(t, rt, body, Options{Precision: Precision(rapid.IntRange(0, 5).Draw(rt, "precision"))})
	})
}

// TestLinesAgree makes lines that are mostly right, of few series, in changing order.
func TestLinesAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		heads := rapid.SampledFrom([]string{"m", "m,t=v", "m,t=v,u=w", `m\ n,t\==v\,w`})
		fields := rapid.SampledFrom([]string{"a=1", "b=-2.5", "c=3i", `d="x"`, "value=1e3", "e=t", `f\,g=7`, "a=0.1"})
		times := rapid.SampledFrom([]string{"", " 5", " -7", " 1700000000000000001"})
		var b strings.Builder
		for range rapid.IntRange(0, 12).Draw(rt, "lines") {
			b.WriteString(heads.Draw(rt, "head") + " ")
			b.WriteString(strings.Join(rapid.SliceOfN(fields, 1, 6).Draw(rt, "fields"), ",") + times.Draw(rt, "time") + "\n")
		}
		agreeInAllWays(t, rt, b.String(), Options{})
	})
}
