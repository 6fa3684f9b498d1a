package samplejson

import "github.com/raftmetrics/raftmetrics/adapters/httpapi/decimal"

// number passes over a number in JSON's grammar and returns its nearest float64; finite is false when
// that is out of range.
func (s *scanner) number() (value float64, finite bool, err error) {
	value, end, outcome := decimal.Scan(s.data, s.pos)
	s.pos = end
	if outcome == decimal.Malformed {
		return 0, false, s.syntax("expected a number such as -12.5 or 3e8")
	}
	return value, outcome == decimal.Finite, nil
}
