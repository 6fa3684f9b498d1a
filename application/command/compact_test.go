package command_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftmetrics/raftmetrics/application/command"
)

func TestCompactTellsKnownSeriesByNumber(t *testing.T) {
	var f command.Frame
	var c command.Compactor
	h := command.Header{Session: 7, Sequence: 300, Lowest: 290}
	known := map[string]uint32{"cpu": 9, "mem": 1_000_000}
	number := func(keys []string, numbers []uint32) {
		for i, key := range keys {
			numbers[i] = known[key]
		}
	}
	columns := grouped()
	columns.Keys = []string{"mem", "", "new", "cpu"}
	columns.Numbers = []uint32{0, 5, 0, 0}
	columns.Replace = true
	f.EncodeWrite(command.Identity{Home: 3, Number: 4}, columns)
	before := bytes.Clone(f.Seal(h))
	for range 2 {
		data := c.Compact(f.Seal(h), number)
		if len(data) >= len(before) || !bytes.Equal(f.Seal(h), before) {
			t.Fatalf("%d bytes of %d, or the original was changed", len(data), len(before))
		}
		got, body, err := command.DecodeHeader(data)
		h.Version, h.Kind = command.Version, command.Write
		if err != nil || got != h {
			t.Fatalf("header %+v, %v, want %+v", got, err, h)
		}
		identity, decoded, err := new(command.Decoder).Write(got, body)
		want := columns
		want.Keys, want.Numbers = []string{"", "", "new", ""}, []uint32{1_000_000, 5, 0, 9}
		if diff := cmp.Diff(want, decoded); diff != "" || err != nil || identity != (command.Identity{Home: 3, Number: 4}) {
			t.Fatalf("%v %v (-want +got):\n%s", identity, err, diff)
		}
		if again := c.Compact(data, number); &again[0] != &data[0] {
			t.Fatal("what tells all that can be told by number was written anew")
		}
	}
}

func TestCompactLeavesTheRest(t *testing.T) {
	var f command.Frame
	var c command.Compactor
	everything := func(_ []string, numbers []uint32) {
		for i := range numbers {
			numbers[i] = 1
		}
	}
	f.EncodeWrite(command.Identity{}, columns())
	whole := bytes.Clone(f.Seal(command.Header{Session: 1, Sequence: 1, Lowest: 1}))
	first := append([]byte{1}, whole[1:]...)
	f.EncodeDelete(deletion())
	for what, data := range map[string][]byte{
		"a deletion": f.Seal(command.Header{Session: 1, Sequence: 1, Lowest: 1}), "a registration": command.EncodeRegister(),
		"nothing": nil, "version 1": first, "half of its table": whole[:9],
	} {
		if got := c.Compact(data, everything); !bytes.Equal(got, data) {
			t.Errorf("%s became %x from %x", what, got, data)
		}
	}
	nothing := func(_ []string, numbers []uint32) { clear(numbers) }
	if got := c.Compact(whole, nothing); &got[0] != &whole[0] {
		t.Error("a write of unknown series was written anew")
	}
}
