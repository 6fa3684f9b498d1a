package samplejson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
)

const benchSamples = 10_000

// benchBody is a batch of samples of 1,000 series, two decimals, as agents send them.
func benchBody(lines bool) []byte {
	var b bytes.Buffer
	for i := range benchSamples {
		switch {
		case lines && i > 0:
			b.WriteByte('\n')
		case !lines && i > 0:
			b.WriteByte(',')
		case !lines:
			b.WriteByte('[')
		}
		fmt.Fprintf(&b, `{"metric_name":"cpu_usage_%d","value":%d.%02d,"timestamp":"2024-08-01T12:%02d:%02dZ","tags":{"host":"host-%d","region":"eu-west-1"}}`,
			i%10, i%100, i%97, i/60%60, i%60, i/10%100)
	}
	if !lines {
		b.WriteByte(']')
	}
	return b.Bytes()
}

func reportPerSample(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchSamples, "ns/sample")
}

func BenchmarkDecodeArray(b *testing.B) {
	body, d := benchBody(false), newDecoder(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		d.Reset()
		if _, _, err := d.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
	reportPerSample(b)
}

func BenchmarkDecodeLines(b *testing.B) {
	body, d := benchBody(true), newDecoder(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		d.Reset()
		if _, err := d.DecodeLines(bytes.NewReader(body)); err != nil {
			b.Fatal(err)
		}
	}
	reportPerSample(b)
}

func BenchmarkEncodingJSONArray(b *testing.B) {
	body := benchBody(false)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var samples []plainSample
		if err := json.Unmarshal(body, &samples); err != nil {
			b.Fatal(err)
		}
	}
	reportPerSample(b)
}
