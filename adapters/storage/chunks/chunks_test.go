package chunks

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestCopiesStay adds items and runs, and looks at all there were, in copies of long ago as well.
func TestCopiesStay(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		type run struct {
			first uint32
			items []int
		}
		type copied struct {
			list List[int]
			runs int
		}
		var list List[int]
		var runs []run
		var copies []copied
		next := 0
		for range rapid.IntRange(1, 20).Draw(r, "runs") {
			items := make([]int, rapid.SampledFrom([]int{1, 2, 33, 100, pieceLen - 1, RunMax}).Draw(r, "length"))
			for i := range items {
				next++
				items[i] = next
			}
			before := list.Len()
			if len(items) == 1 {
				runs = append(runs, run{uint32(before), items})
				list.Add(items[0])
			} else {
				runs = append(runs, run{list.AddRun(items), items})
			}
			if list.Len() < before+len(items) {
				r.Fatalf("%d items after %d and %d", list.Len(), before, len(items))
			}
			copies = append(copies, copied{list, len(runs)})
		}
		for _, c := range copies {
			for _, x := range runs[:c.runs] {
				if got := c.list.Run(x.first, len(x.items)); !slices.Equal(got, x.items) {
					r.Fatalf("the run at %d of %d is %d, want %d", x.first, c.list.Len(), got, x.items)
				}
				if got := *c.list.At(x.first); got != x.items[0] {
					r.Fatalf("At(%d)=%d, want %d", x.first, got, x.items[0])
				}
			}
			n, last := 0, 0
			c.list.All(func(item *int) { n, last = n+1, *item })
			if want := runs[c.runs-1].items; n != c.list.Len() || last != want[len(want)-1] {
				r.Fatalf("All saw %d items, the last %d, want %d and %d", n, last, c.list.Len(), want[len(want)-1])
			}
		}
	})
}
