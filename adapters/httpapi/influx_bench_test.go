package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkPostLines is a batch of 10,000 samples, ten on a line, over a loopback connection, all that HTTP
// costs included, the client's part too.
func BenchmarkPostLines(b *testing.B) {
	const lines, fields = 1000, 10
	var text bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&text, "cpu,host=host_%d,region=eu-west-1 ", i%100)
		for f := range fields {
			fmt.Fprintf(&text, "usage_%d=%d.%02d%c", f, i%100, (i+f)%97, ",,,,,,,,, "[f])
		}
		fmt.Fprintf(&text, "17225136%02d000000000\n", i%60)
	}
	for name, body := range map[string]string{"plain": text.String(), "gzip": zipped(b, text.String())} {
		b.Run(name, func(b *testing.B) {
			rg := newRig(b, nil)
			rg.Server.ports.Recorder = recorderFunc(reply)
			server := httptest.NewServer(rg)
			defer server.Close()
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL+"/write", bytes.NewReader([]byte(body)))
				if err != nil {
					b.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+token)
				if name == "gzip" {
					r.Header.Set("Content-Encoding", name)
				}
				resp, err := server.Client().Do(r)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					b.Fatal(err)
				}
				closeNow(b, resp.Body)
				if resp.StatusCode != http.StatusNoContent {
					b.Fatal(resp.Status)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(lines*fields), "ns/sample")
		})
	}
}
