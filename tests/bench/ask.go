package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/bench/workload"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

const (
	// A round takes about roundSpan, but for askedMin and askedMax requests.
	roundSpan = 300 * time.Millisecond
	askedMin  = 4
	askedMax  = 300
	warmUps   = 16 // each variant twice
	// Slow questions are warmed by warmUpsMin requests: each field that is asked for once.
	warmUpsMin = 4
	warmUpSpan = 5 * time.Second
)

// asked is what a question took of one system.
type asked struct {
	refused  string          // why it has no figures
	wrong    error           // a wrong answer, which makes the figures worthless
	rounds   []time.Duration // the median of each round
	cpu      time.Duration   // of the server, over all rounds
	requests int
}

// String returns the figures, or why there are none.
func (a *asked) String() string {
	switch {
	case a.wrong != nil:
		return "wrong: " + a.wrong.Error()
	case a.refused != "":
		return "refused: " + a.refused
	}
	return fmt.Sprintf("%v, CPU %v", a.median().Round(time.Microsecond), a.cpuEach().Round(time.Microsecond))
}

// median returns the median of the rounds' medians.
func (a *asked) median() time.Duration { return middle(a.rounds) }

func (a *asked) cpuEach() time.Duration { return a.cpu / time.Duration(max(1, a.requests)) }

func middle(of []time.Duration) time.Duration {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// askAll asks all systems every question, round by round in alternation, and returns what each took, by
// question and system.
func askAll(ctx context.Context, systems []*system, questions []workload.Question, rounds int) ([][]asked, error) {
	results := make([][]asked, len(questions))
	for q, question := range questions {
		results[q] = make([]asked, len(systems))
		counts := make([]int, len(systems))
		for i, s := range systems {
			latency, err := results[q][i].warmUp(ctx, s, question)
			if err != nil {
				return nil, fmt.Errorf("%s of %s: %w", question.Name, s.name, err)
			}
			counts[i] = max(askedMin, min(askedMax, int(roundSpan/max(1, latency))))
		}
		for range rounds {
			for i, s := range systems {
				if !results[q][i].valid() {
					continue
				}
				judge, err := results[q][i].round(ctx, s, question, counts[i])
				if err != nil {
					return nil, fmt.Errorf("%s of %s: %w", question.Name, s.name, err)
				}
				judge()
			}
		}
		for i, s := range systems {
			progress("%s of %s: %v", question.Name, s.name, &results[q][i])
		}
	}
	return results, nil
}

// asks returns the question's form for the system.
func (s *system) asks(q workload.Question) []workload.Ask {
	if s.peer {
		return q.Theirs
	}
	return q.Ours
}

// warmUp asks every variant and checks the answers, through each node: which nodes read for a question, and
// keep what they read, depends on the one that is asked.
func (a *asked) warmUp(ctx context.Context, s *system, q workload.Question) (latency time.Duration, err error) {
	for _, url := range s.urls {
		if latency, err = a.warmUpAt(ctx, url, s.asks(q)); err != nil || !a.valid() {
			break
		}
	}
	return latency, err
}

func (a *asked) warmUpAt(ctx context.Context, url string, variants []workload.Ask) (latency time.Duration, err error) {
	client := node.NewClient(url, 1)
	defer client.Close()
	began := time.Now()
	for i := 0; i < warmUps && a.valid() && (i < warmUpsMin || time.Since(began) < warmUpSpan); i++ {
		ask := variants[i%len(variants)]
		sent := time.Now()
		answer, err := client.Do(ctx, http.MethodGet, ask.Path, "")
		latency = time.Since(sent)
		if err != nil {
			return 0, err
		}
		a.judge(ask, answer)
	}
	return latency, nil
}

// judge keeps what is not as it should be.
func (a *asked) judge(ask workload.Ask, answer node.Answer) {
	if answer.Status != http.StatusOK {
		a.refused = fmt.Sprintf("%s answered %d: %.300s", ask.Path, answer.Status, answer.Body)
	} else if err := ask.Check(answer.Body); err != nil {
		a.wrong = fmt.Errorf("%s: %w", ask.Path, err)
	}
}

// valid tells whether the figures count.
func (a *asked) valid() bool { return a.refused == "" && a.wrong == nil }

// round asks a number of times on one connection and returns what checks all answers.
func (a *asked) round(ctx context.Context, s *system, q workload.Question, count int) (judge func(), err error) {
	client := node.NewClient(s.urls[len(a.rounds)%len(s.urls)], 1)
	defer client.Close()
	variants := s.asks(q)
	if _, err := client.Do(ctx, http.MethodGet, variants[0].Path, ""); err != nil { // opens the connection
		return nil, err
	}
	latencies, answers := make([]time.Duration, count), make([]node.Answer, count)
	cpu := s.cpu()
	for i := range count {
		sent := time.Now()
		answer, err := client.Do(ctx, http.MethodGet, variants[i%len(variants)].Path, "")
		latencies[i], answers[i] = time.Since(sent), answer
		if err != nil {
			return nil, err
		}
	}
	a.cpu += s.cpu() - cpu
	a.requests += count
	a.rounds = append(a.rounds, middle(latencies))
	return func() {
		for i, answer := range answers {
			a.judge(variants[i%len(variants)], answer)
		}
	}, nil
}

// profileQuestions asks each question for a while under the profiler.
func profileQuestions(ctx context.Context, o options, systems []*system, questions []workload.Question) error {
	for _, q := range questions {
		for _, s := range systems {
			var a asked
			latency, err := a.warmUp(ctx, s, q)
			judge := func() {}
			if err == nil {
				err = o.profiled(s.name+"."+q.Name, func() (err error) {
					judge, err = a.round(ctx, s, q, int(profileSpan/max(1, latency))+1)
					return err
				})
			}
			if judge(); err != nil {
				return fmt.Errorf("%s of %s: %w", q.Name, s.name, err)
			}
			progress("%s of %s, with the client's part: %v", q.Name, s.name, &a)
		}
	}
	return nil
}
