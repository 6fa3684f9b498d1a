package contract

import (
	"slices"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// testNumbers tells series by their numbers, which outlast restarts.
func testNumbers(t env) {
	s := start(t, Options{}, 1)
	a, b, c := seriesOf(t, `m{h="a"}`), seriesOf(t, `m{h="b"}`), seriesOf(t, `m{h="c"}`)
	stored := []sample{{a, 1, 1}, {b, 1, 2}}
	s.append(0, stored...)
	keys := []string{c.Key(), b.Key(), a.Key()}
	want := []uint32{0, 2, 1}
	check := func() uint32 {
		t.Helper()
		numbers := []uint32{7, 7, 7}
		era := s.store.NumberSeries(0, keys, numbers)
		if !slices.Equal(numbers, want) || era == 0 || era != s.store.SeriesEra(0) {
			t.Fatalf("numbers %d of era %d (now %d), want %d", numbers, era, s.store.SeriesEra(0), want)
		}
		return era
	}
	era := check()
	byNumber := outbound.Columns{
		Keys: []string{"", c.Key(), ""}, Numbers: []uint32{2, 0, 1},
		Series: []uint32{0, 0, 1, 2}, Timestamps: []int64{5, 6, 5, 5}, Values: []float64{1, 2, 3, 4},
	}
	if err := s.store.Append(s.ctx, 0, byNumber); err != nil {
		t.Fatal(err)
	}
	stored = append(stored, sample{b, 5, 1}, sample{b, 6, 2}, sample{c, 5, 3}, sample{a, 5, 4})
	s.check(rampSpec(t), stored, 0)
	want = []uint32{3, 2, 1}
	if again := check(); again != era {
		t.Fatalf("era %d after %d", again, era)
	}
	s.cut(0, 1)
	s.flush(0, 1)
	s.crash()
	s.begin(1)
	if again := check(); again == era {
		t.Fatal("an era outlived its shard")
	}
	numbers := []uint32{7}
	if era := s.store.NumberSeries(1, keys[:1], numbers); era != 0 || numbers[0] != 0 || s.store.SeriesEra(1) != 0 {
		t.Fatalf("a shard that is not open gave the number %d in era %d", numbers[0], era)
	}
	s.check(rampSpec(t), stored, 0)
	byNumber.Numbers[0] = 4
	if err := s.store.Append(s.ctx, 0, byNumber); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("Append of a number that was never given: %v, want corrupt", err)
	}
	s.check(rampSpec(t), stored, 0)
}
