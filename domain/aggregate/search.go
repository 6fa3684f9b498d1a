package aggregate

import "github.com/raftmetrics/raftmetrics/domain/fault"

// Question is all that a client asks: a query, and what to make of its partials.
type Question struct {
	Query       Query
	Functions   []Function // not empty, each once
	Fill        Fill
	Approximate bool     // quantiles may be off by a relative error that the answer tells
	Ranking     *Ranking // nil: groups in the order of their tags
	Limit       int      // groups of the answer; 0: as many as there are
}

// Search leads a question to its answer in rounds: each asks for the table of a query, over the same
// samples and those written meanwhile. Most questions take one; exact quantiles usually two or three
// more. It is pure and not safe for concurrent use.
//
//	for s := NewSearch(question); ; {
//		q, more, err := s.Next()
//		…if !more { return s.Answer() }
//		…err = s.Take(table of q)
//	}
type Search struct {
	question Question
	stage    stage
	all      Table // of the first round
	kept     []Group
	exact    *quantiles // in the stage of ranking or of quantiles
	base     Query      // whose cells exact is about
}

// stage says what the next table is for.
type stage uint8

const (
	stageFirst   stage = iota // everything but exact quantiles
	stageWhole                // groups without windows, to rank them by a quantile
	stageRank                 // the quantile that ranks, narrowed down
	stageNarrow               // the answer's quantiles, narrowed down
	stageSettled              // nothing more is needed
)

// NewSearch begins to answer question.
func NewSearch(question Question) *Search { return &Search{question: question} }

// Next returns the query whose table Take wants next; more is false when the answer can be given.
func (s *Search) Next() (q Query, more bool, err error) {
	for {
		switch s.stage {
		case stageFirst:
			return s.question.Query.asking(DetailOf(s.question.Functions, s.question.Approximate)), true, nil
		case stageWhole:
			return s.question.Query.Whole(0), true, nil
		case stageSettled:
			return Query{}, false, nil
		case stageRank, stageNarrow:
		}
		n, more, err := s.exact.next()
		if more || err != nil {
			return s.base.Narrowed(n), more, err
		}
		if s.stage == stageRank {
			s.rank(s.exactRanks())
		}
		if s.stage == stageRank && !s.question.Query.window.IsZero() {
			if err := s.narrow(); err != nil {
				return Query{}, false, err
			}
			continue
		}
		s.stage = stageSettled
	}
}

// Known reports, after the first Take, whether the metric has any series.
func (s *Search) Known() bool { return s.all.SeriesKnown }

// Take gives the table that Next asked for, which belongs to the search from now on.
func (s *Search) Take(t Table) (err error) {
	switch s.stage {
	case stageFirst:
		s.all, s.kept = t, t.Groups
		return s.choose()
	case stageWhole:
		s.stage, s.base = stageRank, s.question.Query.Whole(0)
		s.exact, err = newQuantiles(t, s.question.Functions[:1])
		return err
	case stageRank, stageNarrow:
		return s.exact.take(t)
	case stageSettled:
	}
	return errSearch
}

// choose decides, from the first table, which groups the answer has, or that this takes more rounds.
func (s *Search) choose() error {
	r := s.question.Ranking
	if r == nil {
		s.limit()
		return s.narrow()
	}
	first := s.question.Functions[0]
	if _, is := first.Quantile(); is && !s.question.Approximate {
		if !s.question.Query.window.IsZero() {
			s.stage = stageWhole
			return nil
		}
		if err := s.narrow(); err != nil {
			return err
		}
		s.stage = stageRank
		return nil
	}
	values, query := make([]Value, len(s.kept)), s.question.Query.Whole(0)
	for i, g := range s.kept {
		var err error
		if values[i], err = evaluate(&query, first, whole(g)); err != nil {
			return err
		}
	}
	s.rank(values)
	return s.narrow()
}

// exactRanks returns the quantile that ranks, for each group.
func (s *Search) exactRanks() []Value {
	values := make([]Value, len(s.kept))
	for i, g := range s.kept {
		values[i].Null = true
		start := g.Cells[0].Start
		if !s.question.Query.window.IsZero() {
			start = 0
		}
		if found := s.exact.values(groupKey(g.Tags), start); found != nil {
			values[i] = Value{Number: found[0].value, Null: found[0].null}
		}
	}
	return values
}

func (s *Search) rank(values []Value) {
	s.kept = s.question.Ranking.rank(s.kept, values)
	s.limit()
}

func (s *Search) limit() {
	if n := s.question.Limit; n > 0 && n < len(s.kept) {
		s.kept = s.kept[:n]
	}
}

// narrow begins to find the exact quantiles of the groups that are kept, if any are asked for.
func (s *Search) narrow() (err error) {
	var sought []Function
	for _, f := range s.question.Functions {
		if _, is := f.Quantile(); is && !s.question.Approximate {
			sought = append(sought, f)
		}
	}
	s.exact, s.stage = nil, stageSettled
	if sought != nil {
		s.stage, s.base = stageNarrow, s.question.Query
		s.exact, err = newQuantiles(Table{Groups: s.kept}, sought)
	}
	return err
}

var errSearch = fault.New(fault.Internal, "search_order", "a search was led in a wrong order; this is a defect, please report it")

// Answer returns the answer once Next says that nothing more is needed. It returns ErrOverflow for a sum or avg out
// of range and ErrTooManyWindows or ErrTooManyCells where filling would exceed the limits.
func (s *Search) Answer() (Answer, error) {
	if s.stage != stageSettled {
		return Answer{}, errSearch
	}
	f := newFinisher(s.question)
	f.exact = s.exact
	return f.finish(Table{SeriesKnown: s.all.SeriesKnown, Groups: s.kept}, s.all)
}
