package workload

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// cell is a place in an answer: a group's name or "", a window's start or 0, and an aggregation.
type cell struct {
	group string
	start int64 // Unix seconds
	name  string
}

// answer is what was asked for, in the form that both systems' answers are brought to.
type answer map[cell]float64

// tolerance is how far an average may be off, relative to it or to 1.
const tolerance = 1e-9

// check compares an answer with the true one.
func (want answer) check(got answer) error {
	for place, w := range want {
		g, is := got[place]
		if !is {
			return fmt.Errorf("%+v is missing, want %v", place, w)
		}
		if math.Abs(g-w) > allowed(place.name)*max(1, math.Abs(w)) {
			return fmt.Errorf("%+v is %v, want %v", place, g, w)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d numbers in the answer, want %d", len(got), len(want))
	}
	return nil
}

// allowed is 0 for what is exact.
func allowed(name string) float64 {
	if name == "avg" {
		return tolerance
	}
	return 0
}

// aggregate is an answer of GET /aggregate.
type aggregate struct {
	Metric       string              `json:"metric"`
	Aggregations map[string]*float64 `json:"aggregations"`
	Windows      []struct {
		Start        time.Time           `json:"start"`
		Aggregations map[string]*float64 `json:"aggregations"`
	} `json:"windows"`
	Groups []struct {
		Tags map[string]string `json:"tags"`
		aggregate
	} `json:"groups"`
	Results []aggregate `json:"results"`
}

// fill adds what a holds to into. Results of several metrics become groups.
func (a aggregate) fill(into answer, group string) {
	add := func(start int64, values map[string]*float64) {
		for name, v := range values {
			if v != nil {
				into[cell{group, start, name}] = *v
			}
		}
	}
	add(0, a.Aggregations)
	for _, w := range a.Windows {
		add(w.Start.Unix(), w.Aggregations)
	}
	for _, g := range a.Groups {
		g.fill(into, g.Tags["host"])
	}
	for _, r := range a.Results {
		r.fill(into, r.Metric)
	}
}

func readAggregate(body string) (answer, error) {
	var a aggregate
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		return nil, fmt.Errorf("%w: %.200s", err, body)
	}
	into := answer{}
	a.fill(into, "")
	return into, nil
}

func readLatest(body string) (answer, error) {
	var a struct {
		Value     float64   `json:"value"`
		Timestamp time.Time `json:"timestamp"`
	}
	err := json.Unmarshal([]byte(body), &a)
	return answer{{start: a.Timestamp.Unix(), name: "last"}: a.Value}, err
}

// prometheus is an answer of the peer's query endpoints.
type prometheus struct {
	Data struct {
		Result []struct {
			Metric map[string]string `json:"metric"`
			Value  point             `json:"value"`
			Values []point           `json:"values"`
		} `json:"result"`
	} `json:"data"`
}

// point is a time in seconds and a value as text.
type point struct {
	at    float64
	value float64
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *point) UnmarshalJSON(text []byte) (err error) {
	at, value, is := strings.Cut(strings.Trim(string(text), "[]"), ",")
	if !is {
		return fmt.Errorf("a point is %s, want a time and a value", text)
	}
	if p.at, err = strconv.ParseFloat(at, 64); err != nil {
		return err
	}
	p.value, err = strconv.ParseFloat(strings.Trim(value, `"`), 64)
	return err
}

// reading says how a peer's answer is brought to the common form.
type reading struct {
	group string        // the label that groups
	names string        // the label that holds the aggregation's name, before _over_time
	name  string        // the aggregation's name where no label holds it
	step  time.Duration // of windows; 0 for an instant
}

func (r reading) read(body string) (answer, error) {
	var p prometheus
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		return nil, fmt.Errorf("%w: %.200s", err, body)
	}
	into := answer{}
	for _, series := range p.Data.Result {
		name := r.name
		if r.names != "" {
			name = strings.TrimSuffix(series.Metric[r.names], "_over_time")
		}
		if r.step == 0 {
			into[cell{series.Metric[r.group], 0, name}] = series.Value.value
		}
		for _, v := range series.Values {
			into[cell{series.Metric[r.group], int64(math.Round(v.at+windowEarly.Seconds())) - int64(r.step.Seconds()), name}] = v.value
		}
	}
	return into, nil
}
