package workload

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// row is a sample as a stream wrote it.
type row struct {
	host, field string
	at          int64
	hundredths  int
}

// rows reads lines as a careless person would.
func rows(t *testing.T, body string) (all []row) {
	t.Helper()
	for line := range strings.Lines(body) {
		parts := strings.Fields(line)
		if len(parts) != 3 || !strings.HasPrefix(parts[0], Measurement+",") {
			t.Fatalf("line %q, want measurement and tags, fields and time", line)
		}
		host := parts[0][strings.Index(parts[0], "host=")+len("host="):]
		host, _, _ = strings.Cut(host, ",")
		at, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		for field := range strings.SplitSeq(parts[1], ",") {
			name, text, _ := strings.Cut(field, "=")
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, row{host, name, at, int(math.Round(v * 100))})
		}
	}
	return all
}

// streamed returns what so many connections send, in the order of each.
func streamed(t *testing.T, s Shape, connections int) (all []row) {
	t.Helper()
	for i := range connections {
		stream := s.Stream(Lines, i, connections)
		for body, n := stream.Batch(); n > 0; body, n = stream.Batch() {
			got := rows(t, body)
			if len(got) != n || n > LinesABatch*len(Fields) {
				t.Fatalf("%d samples in a batch of %d", len(got), n)
			}
			all = append(all, got...)
		}
	}
	return all
}

func TestStreamsSendEachSampleOnceAndInOrder(t *testing.T) {
	s := Shape{Hosts: 7, Times: 900, Seed: 5, Step: StepUsual}
	for _, connections := range []int{1, 4, 9} {
		last, count := map[string]int64{}, 0
		for _, r := range streamed(t, s, connections) {
			key := r.host + " " + r.field
			if before, is := last[key]; is && r.at != before+Interval.Nanoseconds() || !is && r.at != Begin.UnixNano() {
				t.Fatalf("%d connections: %s at %d follows %d", connections, key, r.at, before)
			}
			last[key] = r.at
			count++
		}
		if count != s.Samples() || len(last) != s.Hosts*len(Fields) {
			t.Errorf("%d connections: %d samples of %d series, want %d of %d", connections, count, len(last), s.Samples(), s.Hosts*len(Fields))
		}
	}
}

// TestTruthIsWhatTheStreamsSend recomputes, from the text that is sent, what the questions are checked with.
func TestTruthIsWhatTheStreamsSend(t *testing.T) {
	s := Shape{Hosts: 11, Times: 800, Seed: 3, Step: StepUsual}
	const field = 2
	truth := s.truth(field)
	byHost, all, hours := map[string][]int{}, []int{}, map[int64][]int{}
	for _, r := range streamed(t, s, 3) {
		if r.field == Fields[field] {
			byHost[r.host] = append(byHost[r.host], r.hundredths)
			hour := (r.at - Begin.UnixNano()) / time.Hour.Nanoseconds()
			hours[hour] = append(hours[hour], r.hundredths)
			all = append(all, r.hundredths)
		}
	}
	for host, d := range truth.hosts {
		values := byHost[HostName(host)]
		if d.least != slices.Min(values) || d.greatest != slices.Max(values) || d.count != len(values) || d.last != values[len(values)-1] {
			t.Errorf("host %d: %+v does not describe its samples", host, d)
		}
	}
	for hour, values := range hours {
		sum := 0
		for _, v := range values {
			sum += v
		}
		if d := truth.hour(int(hour)); d.sum != sum || d.count != len(values) {
			t.Errorf("hour %d: %+v, want the sum %d of %d", hour, d, sum, len(values))
		}
	}
	slices.Sort(all)
	for _, percent := range []int{1, 50, 95, 99} {
		want := float64(all[(len(all)*percent+99)/100-1]) / 100
		if got := truth.percentile(percent); got != want {
			t.Errorf("p%d is %v, want %v", percent, got, want)
		}
	}
	above := len(all) - slices.IndexFunc(all, func(v int) bool { return v > 9000 })
	if got := truth.above(9000); got != above {
		t.Errorf("%d above 90, want %d", got, above)
	}
}

func TestWalksStayWithinBounds(t *testing.T) {
	for _, step := range []int{0, 1, StepUsual, 1000} {
		s := Shape{Hosts: 1, Times: 20_000, Seed: 8, Step: step}
		if values := s.values(0, 0); slices.Min(values) < 0 || slices.Max(values) > valueMax {
			t.Errorf("step %d: from %d to %d, want 0 to %d", step, slices.Min(values), slices.Max(values), valueMax)
		}
	}
}

// TestChecksRefuseWrongAnswers makes sure that a benchmark of wrong answers fails.
func TestChecksRefuseWrongAnswers(t *testing.T) {
	s := Shape{Hosts: 8, Times: 400, Seed: 2, Step: StepUsual}
	questions := s.Questions()
	truth := s.truth(0)
	d := truth.hosts[0]
	whole := `{"metric":"cpu_usage_user","aggregations":{"avg":%.12f,"min":%v,"max":%v,"count":%d}}`
	right := fmt.Sprintf(whole, d.average(), number(d.least), number(d.greatest), d.count)
	if err := questions[1].Ours[0].Check(right); err != nil {
		t.Errorf("the right answer is refused: %v", err)
	}
	for _, wrong := range []string{
		fmt.Sprintf(whole, d.average()+1e-6, number(d.least), number(d.greatest), d.count),
		fmt.Sprintf(whole, d.average(), number(d.least+1), number(d.greatest), d.count),
		fmt.Sprintf(whole, d.average(), number(d.least), number(d.greatest), d.count-1),
		`{}`, `[`,
	} {
		if questions[1].Ours[0].Check(wrong) == nil {
			t.Errorf("%s is accepted, want %s", wrong, right)
		}
	}
	for i, question := range questions {
		for v := range question.Ours {
			if question.Ours[v].Check(`{}`) == nil || question.Theirs[v].Check(`{"data":{"result":[]}}`) == nil {
				t.Errorf("question %d, variant %d: no answer is accepted", i+1, v)
			}
		}
	}
}

func TestPeerAnswersAreRead(t *testing.T) {
	s := Shape{Hosts: 1, Times: 1, Seed: 2, Step: StepUsual}
	value := number(s.values(0, 0)[0])
	body := fmt.Sprintf(`{"data":{"result":[{"metric":{},"values":[[%d.999,"%v"]]}]}}`, Begin.Add(time.Hour).Unix()-1, value)
	if err := s.Questions()[2].Theirs[0].Check(body); err != nil {
		t.Error(err)
	}
}
