package workload

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Ask is one request and what its answer must be.
type Ask struct {
	Path  string
	Check func(body string) error
}

// Question is asked in several variants, of other hosts, hours or fields, so that no system gets away with
// remembering one answer. Ours and Theirs, for RaftMetrics and VictoriaMetrics, ask the same, variant by
// variant.
type Question struct {
	Name string
	Says string
	// Goal is the greatest wanted ratio of our time to theirs.
	Goal         float64
	Ours, Theirs []Ask
}

const (
	variants      = 8
	fieldsAsked   = 4 // of questions about one field of all hosts
	fieldsAtOnce  = 5
	hostsAtOnce   = 8
	top           = 5
	bound         = 90
	percentileOne = 95
	percentileTwo = 99
	// windowEarly turns the peer's windows, which are open at the start and closed at the end, into ours.
	windowEarly = time.Millisecond
	// sketchError is what the peer's histograms, of 18 buckets a power of ten, may be off.
	sketchError = 0.14
)

// Questions returns the eight questions; the peer's may not come from its cache of answers.
func (s Shape) Questions() []Question {
	var truths [fieldsAsked]*truth
	for field := range truths {
		truths[field] = s.truth(field)
	}
	questions := []Question{
		{Name: "Q1", Says: "latest value of one series", Goal: 1},
		{Name: "Q2", Says: "avg, min, max, count of one series", Goal: 1},
		{Name: "Q3", Says: "one metric, all hosts, avg by 1 h", Goal: 0.25},
		{Name: "Q4", Says: "the same by host", Goal: 0.25},
		{Name: "Q5", Says: "max of 5 metrics, 8 hosts, by 1 min in 1 h", Goal: 1},
		{Name: "Q6", Says: "top 5 hosts by max", Goal: 0.25},
		{Name: "Q7", Says: "p95 and p99 of one metric, exact (peer: approximate)", Goal: 0.75},
		{Name: "Q8", Says: "count of one metric's values over 90", Goal: 1},
	}
	for v := range variants {
		field := v % fieldsAsked
		host := v * 7919 % s.Hosts
		t := truths[field]
		for i, ask := range []func() (Ask, Ask){
			func() (Ask, Ask) { return s.latest(t, field, host) },
			func() (Ask, Ask) { return s.whole(t, field, host) },
			func() (Ask, Ask) { return s.hourly(t, field) },
			func() (Ask, Ask) { return s.hourlyByHost(t, field) },
			func() (Ask, Ask) { return s.minutes(v) },
			func() (Ask, Ask) { return s.top(t, field) },
			func() (Ask, Ask) { return s.percentiles(t, field) },
			func() (Ask, Ask) { return s.over(t, field) },
		} {
			ours, theirs := ask()
			questions[i].Ours = append(questions[i].Ours, ours)
			questions[i].Theirs = append(questions[i].Theirs, theirs)
		}
	}
	return questions
}

// compare returns a check of an answer that read understands.
func compare(want answer, read func(string) (answer, error)) func(string) error {
	return func(body string) error {
		got, err := read(body)
		if err != nil {
			return err
		}
		return want.check(got)
	}
}

// aggregatePath returns a question to us, of name, value pairs.
func aggregatePath(pairs ...string) string {
	var b strings.Builder
	separator := "/aggregate?"
	for i := 0; i+1 < len(pairs); i += 2 {
		b.WriteString(separator + url.QueryEscape(pairs[i]) + "=" + url.QueryEscape(pairs[i+1]))
		separator = "&"
	}
	return b.String()
}

// instant returns a question to the peer as of the last sample: $all in the expression stands for a span
// that holds all samples, for a span of theirs leaves out its first instant.
func (s Shape) instant(expression string) string {
	span := fmt.Sprintf("%ds", s.Times*int(Interval.Seconds()))
	return fmt.Sprintf("/api/v1/query?query=%s&time=%d&nocache=1", url.QueryEscape(strings.ReplaceAll(expression, "$all", span)), s.End().Unix())
}

// ranged returns a question to the peer by windows from first on, the last of which holds the sample at last.
func ranged(expression string, first, last time.Time, step time.Duration) string {
	end := last.Truncate(step).Add(step)
	return fmt.Sprintf("/api/v1/query_range?query=%s&start=%.3f&end=%.3f&step=%d&nocache=1", url.QueryEscape(expression),
		seconds(first.Add(step-windowEarly)), seconds(end.Add(-windowEarly)), int(step.Seconds()))
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

func (s Shape) latest(t *truth, field, host int) (ours, theirs Ask) {
	value := number(t.hosts[host].last)
	ours = Ask{
		fmt.Sprintf("/metrics/%s?tag.host=%s", MetricName(field), HostName(host)),
		compare(answer{{start: s.End().Unix(), name: "last"}: value}, readLatest),
	}
	theirs = Ask{
		s.instant(fmt.Sprintf(`%s{host=%q}`, MetricName(field), HostName(host))),
		compare(answer{{name: "last"}: value}, reading{name: "last"}.read),
	}
	return ours, theirs
}

func (s Shape) whole(t *truth, field, host int) (ours, theirs Ask) {
	d := t.hosts[host]
	want := answer{
		{name: "avg"}: d.average(), {name: "min"}: number(d.least), {name: "max"}: number(d.greatest), {name: "count"}: float64(d.count),
	}
	ours = Ask{aggregatePath("metric", MetricName(field), "tag.host", HostName(host)), compare(want, readAggregate)}
	theirs = Ask{
		s.instant(fmt.Sprintf(`aggr_over_time(("avg_over_time","min_over_time","max_over_time","count_over_time"),%s{host=%q}[$all])`, MetricName(field), HostName(host))),
		compare(want, reading{names: "rollup"}.read),
	}
	return ours, theirs
}

// hourly asks the peer for the average of the hosts' averages, the cheapest form: it is the average of all
// samples, because every host has as many in every hour.
func (s Shape) hourly(t *truth, field int) (ours, theirs Ask) {
	want := answer{}
	for i := range t.hours[0] {
		want[cell{start: Begin.Add(time.Duration(i) * time.Hour).Unix(), name: "avg"}] = t.hour(i).average()
	}
	ours = Ask{aggregatePath("metric", MetricName(field), "window", "1h", "agg", "avg"), compare(want, readAggregate)}
	theirs = Ask{
		ranged(fmt.Sprintf(`avg(avg_over_time(%s[1h]))`, MetricName(field)), Begin, s.End(), time.Hour),
		compare(want, reading{name: "avg", step: time.Hour}.read),
	}
	return ours, theirs
}

func (s Shape) hourlyByHost(t *truth, field int) (ours, theirs Ask) {
	want := answer{}
	for host, hours := range t.hours {
		for i, d := range hours {
			want[cell{HostName(host), Begin.Add(time.Duration(i) * time.Hour).Unix(), "avg"}] = d.average()
		}
	}
	ours = Ask{aggregatePath("metric", MetricName(field), "window", "1h", "agg", "avg", "group_by", "host"), compare(want, readAggregate)}
	theirs = Ask{
		ranged(fmt.Sprintf(`avg(avg_over_time(%s[1h])) by (host)`, MetricName(field)), Begin, s.End(), time.Hour),
		compare(want, reading{group: "host", name: "avg", step: time.Hour}.read),
	}
	return ours, theirs
}

// minutes asks for a whole hour, or for what there is of the first.
func (s Shape) minutes(variant int) (ours, theirs Ask) {
	hour := 0
	if hours := s.Times / samplesAnHour; hours > 0 {
		hour = variant * 5 % hours
	}
	first := hour * samplesAnHour
	after := min(first+samplesAnHour, s.Times)
	from, to := at(first), at(after-1)
	pairs, metrics, hosts := []string{}, []string{}, []string{}
	for h := range min(hostsAtOnce, s.Hosts) {
		hosts = append(hosts, HostName((variant*hostsAtOnce+h)%s.Hosts))
	}
	want := answer{}
	for field := range fieldsAtOnce {
		metrics = append(metrics, MetricName(field))
		pairs = append(pairs, "metric", MetricName(field))
		for h := range hosts {
			for k, v := range s.values((variant*hostsAtOnce+h)%s.Hosts, field)[first:after] {
				place := cell{MetricName(field), at(first + k).Truncate(time.Minute).Unix(), "max"}
				want[place] = math.Max(want[place], number(v))
			}
		}
	}
	for _, host := range hosts {
		pairs = append(pairs, "tag.host", host)
	}
	pairs = append(pairs, "window", "1m", "agg", "max", "from", from.Format(time.RFC3339), "to", to.Format(time.RFC3339))
	expression := fmt.Sprintf(`max(max_over_time({__name__=~%q,host=~%q}[1m])) by (__name__)`, strings.Join(metrics, "|"), strings.Join(hosts, "|"))
	return Ask{aggregatePath(pairs...), compare(want, readAggregate)},
		Ask{ranged(expression, from, to, time.Minute), compare(want, reading{group: "__name__", name: "max", step: time.Minute}.read)}
}

// top checks by the values, for hosts may have the same.
func (s Shape) top(t *truth, field int) (ours, theirs Ask) {
	check := func(read func(string) (answer, error)) func(string) error {
		return func(body string) error {
			got, err := read(body)
			if err != nil {
				return err
			}
			return t.checkTop(got)
		}
	}
	ours = Ask{aggregatePath("metric", MetricName(field), "group_by", "host", "agg", "max", "top", strconv.Itoa(top)), check(readAggregate)}
	theirs = Ask{s.instant(fmt.Sprintf(`topk(%d,max_over_time(%s[$all]))`, top, MetricName(field))), check(reading{group: "host", name: "max"}.read)}
	return ours, theirs
}

// checkTop makes sure that the hosts are as many as wanted, that each has the value that is said, and that
// no other has a greater one.
func (t *truth) checkTop(got answer) error {
	want := t.greatest(top)
	if len(got) != len(want) {
		return fmt.Errorf("%d hosts in the answer, want %d", len(got), len(want))
	}
	for host, d := range t.hosts {
		v, is := got[cell{group: HostName(host), name: "max"}]
		if is && v != number(d.greatest) {
			return fmt.Errorf("the maximum of %s is %v, want %v", HostName(host), v, number(d.greatest))
		}
		if is {
			delete(got, cell{group: HostName(host), name: "max"})
		} else if number(d.greatest) > want[len(want)-1] {
			return fmt.Errorf("%s with the maximum %v is missing", HostName(host), number(d.greatest))
		}
	}
	if len(got) > 0 {
		return fmt.Errorf("%v is not among the hosts", got)
	}
	return nil
}

func (s Shape) percentiles(t *truth, field int) (ours, theirs Ask) {
	one, two := fmt.Sprintf("p%d", percentileOne), fmt.Sprintf("p%d", percentileTwo)
	want := answer{{name: one}: t.percentile(percentileOne), {name: two}: t.percentile(percentileTwo)}
	ours = Ask{aggregatePath("metric", MetricName(field), "agg", one+","+two), compare(want, readAggregate)}
	expression := fmt.Sprintf(`histogram_quantiles("phi",0.%d,0.%d,sum(histogram_over_time(%s[$all])) by (vmrange))`, percentileOne, percentileTwo, MetricName(field))
	theirs = Ask{s.instant(expression), func(body string) error {
		got, err := reading{names: "phi"}.read(body)
		if err != nil {
			return err
		}
		for phi, name := range map[string]string{fmt.Sprintf("0.%d", percentileOne): one, fmt.Sprintf("0.%d", percentileTwo): two} {
			g, is := got[cell{name: phi}]
			if w := want[cell{name: name}]; !is || math.Abs(g-w) > sketchError*w {
				return fmt.Errorf("%s is %v, want about %v", name, g, w)
			}
		}
		return nil
	}}
	return ours, theirs
}

func (s Shape) over(t *truth, field int) (ours, theirs Ask) {
	want := answer{{name: "count"}: float64(t.above(bound * 100))}
	ours = Ask{aggregatePath("metric", MetricName(field), "where", fmt.Sprintf("value>%d", bound), "agg", "count"), compare(want, readAggregate)}
	theirs = Ask{s.instant(fmt.Sprintf(`sum(count_gt_over_time(%s[$all],%d))`, MetricName(field), bound)), compare(want, reading{name: "count"}.read)}
	return ours, theirs
}
