package memory

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// goldenImage is version 2 of an image as running clusters send it, goldenImage1 what version 1 was.
const (
	goldenImage  = "02" + goldenState + goldenCutoffs + goldenContent
	goldenImage1 = "01" + goldenState + goldenContent

	goldenState = "0000000000000007" + "0000000000000002" + "0000000000000009" +
		"00000002" + "0a0b" + "00000001" + "0c"
	goldenCutoffs = "0000001c" + "01" + "00000001" + "ff23400100d44000" + "00000001" + "fffffffffffffff9" + "0001" + "62"
	goldenContent = "00000003" + "00000001" + "61" + "00000001" + "62" + "00000001" + "63" +
		"00000000" + "00000002" + "fffffffffffffffb" + "3ff0000000000000" + "0000000000000005" + "4000000000000000" +
		"00000002" + "00000001" + "0000000000000001" + "4008000000000000"
)

func smallImage(t *testing.T) image {
	t.Helper()
	table := memtable.New(0, 0)
	if err := table.Define([]string{"a", "b", "c"}); err != nil {
		t.Fatal(err)
	}
	table.Retain(metric.Cutoffs{Default: metric.TimestampMin, Rules: []metric.CutoffRule{{Pattern: "b", Before: -7}}})
	if err := table.Append(outbound.Columns{
		Keys: []string{"c", "a"}, Series: []uint32{1, 0, 1}, Timestamps: []int64{5, 1, -5}, Values: []float64{2, 3, 1},
	}); err != nil {
		t.Fatal(err)
	}
	table.Freeze()
	return image{
		state:       outbound.AppliedState{Index: 7, Term: 2, LogTime: 9, Membership: []byte{10, 11}, Machine: []byte{12}},
		series:      table.Series(),
		retention:   table.Retention(),
		generations: table.Frozen(),
	}
}

func TestImageGolden(t *testing.T) {
	want, err := hex.DecodeString(goldenImage)
	if err != nil {
		t.Fatal(err)
	}
	r := newImageReader(smallImage(t))
	if err := iotest.TestReader(r, want); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	decoded, err := decodeImage(want, 0)
	if err != nil {
		t.Fatal(err)
	}
	again := newImageReader(decoded)
	got, err := io.ReadAll(again)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("decoded and encoded again: %x, %v, want %x", got, err, want)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestImageOfVersion1(t *testing.T) {
	data, err := hex.DecodeString(goldenImage1)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := decodeImage(data, 0)
	if err != nil || !decoded.retention.IsZero() {
		t.Fatalf("version 1 has cut-offs %v: %v", decoded.retention, err)
	}
	decoded.retention = smallImage(t).retention
	r := newImageReader(decoded)
	if got, err := io.ReadAll(r); err != nil || hex.EncodeToString(got) != goldenImage {
		t.Fatalf("version 1 with cut-offs is %x, %v, want %s", got, err, goldenImage)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestImageReaderIsAbandoned closes a reader early: nothing of it stays.
func TestImageReaderIsAbandoned(t *testing.T) {
	r := newImageReader(smallImage(t))
	if _, err := io.ReadFull(r, make([]byte, 30)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 1<<10)); err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("Read after Close=%d, %v", n, err)
	}
}

// TestImageRefused decodes every beginning of an image, and images that contradict themselves. What ends
// between two series is whole as far as the decoder can tell; the manifest knows better.
func TestImageRefused(t *testing.T) {
	whole, err := hex.DecodeString(goldenImage)
	if err != nil {
		t.Fatal(err)
	}
	const head, first = 87, 87 + 8 + 2*16
	for n := range whole {
		_, err := decodeImage(whole[:n], 0)
		if good := n == head || n == first; (err == nil) != good {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for name, at := range map[string]int{"version": 0, "cut-offs": 44, "series": 71, "id": head, "samples": head + 4} {
		damaged := bytes.Clone(whole)
		damaged[at] = 0x7f
		if _, err := decodeImage(damaged, 0); err == nil || fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: %v, want Corrupt", name, err)
		}
	}
}
