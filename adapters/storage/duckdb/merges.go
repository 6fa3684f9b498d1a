package duckdb

import (
	"cmp"
	"slices"
)

const (
	// mergeRunsMin is how many runs of similar size are worth a merge.
	mergeRunsMin = 4
	// mergeRowsMax bounds a merged run, and so how long its flush may have to wait for a merge.
	mergeRowsMax = 1 << 24
	// mergeSimilar is how many times as large as the largest of the later ones a run may be to be merged with
	// them. Merged runs are so merged again when there are as many of them: a row is copied a number of times
	// that grows with the logarithm (to mergeRunsMin) of the rows of its window.
	mergeSimilar = 1.5
	// stepRowsMax and stepWindowsMax bound one step; the rows those of one inside a file.
	stepRowsMax    = 1 << 22
	stepWindowsMax = 64
)

// chooseMerges returns which runs to merge next, each element at least two runs of one window, consecutive
// in the log, of at most stepWindowsMax windows. With all it is whatever can be merged.
func chooseMerges(runs []run, all bool) (merges [][]run) {
	sorted := slices.SortedFunc(slices.Values(runs), compareRuns)
	for len(sorted) > 0 && len(merges) < stepWindowsMax {
		n := 1
		for n < len(sorted) && sorted[n].day == sorted[0].day && sorted[n].days == sorted[0].days {
			n++
		}
		chosen := chooseRuns(withBarriers(sorted[:n], runs), all)
		sorted = sorted[n:]
		if len(chosen) > 0 {
			merges = append(merges, chosen)
		}
	}
	return merges
}

// oneStep returns the first of merges, up to the one with which they have stepRowsMax rows.
func oneStep(merges [][]run) [][]run {
	rows := int64(0)
	for i, runs := range merges {
		if rows += rowsOf(runs); rows >= stepRowsMax {
			return merges[:i+1]
		}
	}
	return merges
}

func rowsOf(runs []run) (rows int64) {
	for _, r := range runs {
		rows += r.rows
	}
	return rows
}

// withBarriers returns the runs of a window, ascending by generation, cut into parts where a run of another
// width lies between in the log and overlaps: merging around it would change the order of the log.
func withBarriers(window, all []run) (parts [][]run) {
	from, to := window[0].day, window[0].day+window[0].days
	var barriers []int64
	for _, r := range all {
		if r.days != window[0].days && r.day < to && r.day+r.days > from {
			barriers = append(barriers, r.gen)
		}
	}
	slices.Sort(barriers)
	for len(window) > 0 {
		n := len(window)
		if i, _ := slices.BinarySearch(barriers, window[0].gen+1); i < len(barriers) {
			n, _ = slices.BinarySearchFunc(window, barriers[i], func(r run, gen int64) int { return cmp.Compare(r.gen, gen) })
		}
		n = max(n, 1)
		parts = append(parts, window[:n])
		window = window[n:]
	}
	return parts
}

// chooseRuns returns the runs of a window to merge, nil for none.
func chooseRuns(parts [][]run, all bool) []run {
	for _, runs := range parts {
		choose := chooseSimilar
		if all {
			choose = chooseAll
		}
		if chosen := choose(runs); chosen != nil {
			return chosen
		}
	}
	return nil
}

// chooseAll returns the oldest runs that fit one merge.
func chooseAll(runs []run) []run {
	for first := range runs {
		rows, last := runs[first].rows, first+1
		for last < len(runs) && rows+runs[last].rows <= mergeRowsMax {
			rows += runs[last].rows
			last++
		}
		if last-first > 1 {
			return runs[first:last]
		}
	}
	return nil
}

// chooseSimilar returns the newest enough runs none of which is much larger than those after it.
func chooseSimilar(runs []run) []run {
	for last := len(runs); last >= mergeRunsMin; last-- {
		largest := runs[last-1].rows
		rows, first := largest, last-1
		for first > 0 && float64(runs[first-1].rows) <= mergeSimilar*float64(largest) && rows+runs[first-1].rows <= mergeRowsMax {
			first--
			rows, largest = rows+runs[first].rows, max(largest, runs[first].rows)
		}
		if last-first >= mergeRunsMin {
			return runs[first:last]
		}
	}
	return nil
}
