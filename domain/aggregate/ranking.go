package aggregate

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Ranking keeps the Count groups with the greatest or, if Least, the least first aggregation, in that
// order; of equal ones those with the lesser tags. Groups without that aggregation come last. With
// windows the aggregation over the whole range ranks.
type Ranking struct {
	Count int
	Least bool
}

// NewRanking checks count; field names it in the error.
func NewRanking(field string, count int, least bool) (Ranking, error) {
	if count < 1 || count > GroupsMax {
		return Ranking{}, fault.Field(field, "is "+strconv.Itoa(count), "1 to "+strconv.Itoa(GroupsMax))
	}
	return Ranking{Count: count, Least: least}, nil
}

// rank returns those of groups that the ranking keeps, in its order, by values, one for each group.
func (r Ranking) rank(groups []Group, values []Value) []Group {
	order := make([]int, len(groups))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := values[i], values[j]
		if a.Null != b.Null {
			if b.Null {
				return -1
			}
			return 1
		}
		byValue := cmp.Compare(b.Number, a.Number)
		if r.Least {
			byValue = -byValue
		}
		if a.Null {
			byValue = 0
		}
		return cmp.Or(byValue, slices.Compare(groups[i].Tags, groups[j].Tags))
	})
	kept := make([]Group, 0, min(r.Count, len(groups)))
	for _, i := range order[:min(r.Count, len(order))] {
		kept = append(kept, groups[i])
	}
	return kept
}

// whole returns one cell for all of a group's windows: mergeable functions of it are those of the range.
func whole(g Group) Partial {
	if len(g.Cells) == 1 {
		return g.Cells[0].Partial
	}
	var p Partial
	for _, c := range g.Cells {
		p.Merge(c.Partial)
	}
	return p
}
