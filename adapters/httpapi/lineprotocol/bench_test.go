package lineprotocol

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/httpapi/seriescache"
)

const benchSamples = 10_000

var benchFields = [...]string{
	"usage_user", "usage_system", "usage_idle", "usage_nice", "usage_iowait",
	"usage_irq", "usage_softirq", "usage_steal", "usage_guest", "usage_guest_nice",
}

// benchBody is a batch of samples of 1,000 series, two decimals, with so many fields a line.
func benchBody(fields int) []byte {
	var b bytes.Buffer
	for line := range benchSamples / fields {
		fmt.Fprintf(&b, "cpu,host=host_%d,region=eu-west-1", line%100)
		for f := range fields {
			separator := byte(',')
			if f == 0 {
				separator = ' '
			}
			fmt.Fprintf(&b, "%c%s=%d.%02d", separator, benchFields[(line/100+f)%len(benchFields)], line%100, (line+f)%97)
		}
		fmt.Fprintf(&b, " 17225136%02d000000000\n", line%60)
	}
	return b.Bytes()
}

// cpu is what the process has used so far: on a busy machine the clock tells little.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkDecode(b *testing.B) {
	for _, fields := range []int{1, 10} {
		b.Run(fmt.Sprintf("fields=%d", fields), func(b *testing.B) {
			cache, err := NewCache(seriescache.Config{})
			if err != nil {
				b.Fatal(err)
			}
			body, d := benchBody(fields), NewDecoder(cache)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			var reader bytes.Reader
			before := cpu(b)
			for b.Loop() {
				d.Reset()
				reader.Reset(body)
				if _, _, err := d.Decode(&reader, Options{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N)/benchSamples, "cpu-ns/sample")
		})
	}
}

// BenchmarkDecodeUnknown decodes series that no decoder has seen.
func BenchmarkDecodeUnknown(b *testing.B) {
	var body bytes.Buffer
	for line := range benchSamples / len(benchFields) {
		fmt.Fprintf(&body, "cpu,host=host_%d,region=eu-west-1", line)
		for f, name := range benchFields {
			fmt.Fprintf(&body, "%c%s=%d.%02d", " ,,,,,,,,,"[f], name, line%100, (line+f)%97)
		}
		fmt.Fprintf(&body, " 17225136%02d000000000\n", line%60)
	}
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if _, _, err := newDecoder(b).Decode(bytes.NewReader(body.Bytes()), Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N)/benchSamples, "cpu-ns/sample")
}
