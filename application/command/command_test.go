package command_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func columns() outbound.Columns {
	return outbound.Columns{
		Keys:       []string{"cpu", `cpu{host="a"}`},
		Series:     []uint32{0, 1, 1, 0},
		Timestamps: []int64{1_700_000_000_000_000, 1_700_000_000_000_000, 1_700_000_010_000_000, -5_000_000},
		Values:     []float64{1, -2.5, 1e300, 0},
	}
}

func TestWriteRoundTrip(t *testing.T) {
	var f command.Frame
	var d command.Decoder
	for _, identity := range []command.Identity{{}, {Home: 0, Number: 1}, {Home: 4095, Number: 1 << 60}} {
		want := command.Header{Version: command.Version, Kind: command.Write, Session: 7, Sequence: 300, Lowest: 290}
		f.EncodeWrite(identity, columns())
		h, body, err := command.DecodeHeader(f.Seal(want))
		if err != nil || h != want {
			t.Fatalf("header=%+v, %v, want %+v", h, err, want)
		}
		got, c, err := d.Write(h, body)
		if err != nil || got != identity {
			t.Fatalf("identity=%+v, %v, want %+v", got, err, identity)
		}
		if diff := cmp.Diff(columns(), c); diff != "" {
			t.Fatalf("columns differ (-want +got):\n%s", diff)
		}
	}
}
