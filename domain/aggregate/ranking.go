package aggregate

import (
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
