package aggregate

// Detail says what partials carry besides count, sum, minimum and maximum. It is a set of bits, whose
// values travel between nodes.
type Detail uint8

// The details.
const (
	DetailEnds   Detail = 1 << iota // the first and the last sample
	DetailSpread                    // what Stddev needs
	DetailSteps                     // what Increase, Rate and Delta need
)

// DetailOf returns what functions need.
func DetailOf(functions []Function) (d Detail) {
	for _, f := range functions {
		switch f {
		case First, Last:
			d |= DetailEnds
		case Stddev:
			d |= DetailSpread
		case Increase, Rate, Delta:
			d |= DetailSteps
		default: // count, sum, minimum and maximum are always there
		}
	}
	return d
}

// ordered are the details for which a series' samples must be added in order.
const ordered = DetailEnds | DetailSteps
