package apply

import (
	"slices"

	"github.com/raftmetrics/raftmetrics/application/command"
)

// window is what a session has applied: which of its newest command.WindowMax sequences, and those
// verdicts that are not Applied. Below floor nothing is known and nothing is taken any more.
type window struct {
	floor  uint64                         // lowest sequence of the window, from 1
	taken  [command.WindowMax / 64]uint64 // bit sequence % WindowMax
	others []verdictAt                    // ascending by sequence
}

type verdictAt struct {
	sequence uint64
	verdict  command.Verdict
}

func newWindow() *window { return &window{floor: 1} }

// advance forgets what lies below lowest: its gateway waits for none of it.
func (w *window) advance(lowest uint64) {
	if lowest <= w.floor {
		return
	}
	if lowest-w.floor >= command.WindowMax {
		clear(w.taken[:])
	} else {
		for s := w.floor; s < lowest; s++ {
			w.taken[s%command.WindowMax/64] &^= 1 << (s % 64)
		}
	}
	w.floor = lowest
	keep := 0
	for keep < len(w.others) && w.others[keep].sequence < lowest {
		keep++
	}
	w.others = slices.Delete(w.others, 0, keep)
}

// check returns the verdict on a sequence that cannot apply any more or not yet, else 0.
func (w *window) check(sequence uint64) command.Verdict {
	switch {
	case sequence < w.floor:
		return command.SequenceResolved
	case sequence-w.floor >= command.WindowMax:
		return command.SequenceAhead
	case w.taken[sequence%command.WindowMax/64]&(1<<(sequence%64)) == 0:
		return 0
	}
	i, found := w.find(sequence)
	if !found {
		return command.Applied
	}
	return w.others[i].verdict
}

// record keeps the verdict on a sequence that check gave 0 for.
func (w *window) record(sequence uint64, v command.Verdict) {
	w.taken[sequence%command.WindowMax/64] |= 1 << (sequence % 64)
	if v == command.Applied {
		return
	}
	i, _ := w.find(sequence)
	w.others = slices.Insert(w.others, i, verdictAt{sequence: sequence, verdict: v})
}

func (w *window) find(sequence uint64) (int, bool) {
	return slices.BinarySearchFunc(w.others, sequence, func(v verdictAt, s uint64) int {
		switch {
		case v.sequence < s:
			return -1
		case v.sequence > s:
			return 1
		}
		return 0
	})
}
