package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/bench/workload"
	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

const (
	loneWrites       = 300 // a round
	visibilityProbes = 3
	visibleWithin    = time.Minute
	visiblePoll      = time.Millisecond
	peerLone         = "lone_value" // what the peer calls the metric
)

// lone says how a system takes one sample at a time from one client.
type lone struct {
	write   time.Duration // median of the rounds' medians, until the acknowledgement
	visible time.Duration // median, from the acknowledgement until a query shows it
}

func measureLone(ctx context.Context, s *system, o options) (l lone, err error) {
	client := node.NewClient(s.urls[0], 1)
	defer client.Close()
	var rounds []time.Duration
	for range o.rounds {
		latencies := make([]time.Duration, loneWrites)
		for i := range latencies {
			sent := time.Now()
			if err := writeOne(ctx, client, o.format(s.peer), sent, i); err != nil {
				return l, err
			}
			latencies[i] = time.Since(sent)
		}
		rounds = append(rounds, middle(latencies))
	}
	l.write = middle(rounds)
	var delays []time.Duration
	for i := range visibilityProbes {
		delay, err := visible(ctx, s, client, o.format(s.peer), loneWrites+i)
		if err != nil {
			return l, err
		}
		delays = append(delays, delay)
	}
	l.visible = middle(delays)
	return l, nil
}

// writeOne writes one sample of the lone series.
func writeOne(ctx context.Context, client *node.Client, format workload.Format, at time.Time, value int) error {
	path, contentType, body := "/write", "text/plain; charset=utf-8", fmt.Sprintf("lone,host=lone value=%d %d\n", value, at.UnixNano())
	if format == workload.JSON {
		path, contentType = "/metrics", "application/json"
		body = fmt.Sprintf(`{"metric_name":"lone","value":%d,"timestamp":%q,"tags":{"host":"lone"}}`, value, at.UTC().Format(timeLayout))
	}
	a, err := client.Do(ctx, http.MethodPost, path, body, "Content-Type", contentType)
	if err == nil && a.Status/100 != 2 {
		err = fmt.Errorf("status %d: %s", a.Status, a.Body)
	}
	return err
}

// visible writes a sample of the series that the lone writes made and returns how long after its
// acknowledgement it is seen: 0 when the first query shows it.
func visible(ctx context.Context, s *system, client *node.Client, format workload.Format, value int) (time.Duration, error) {
	at := time.Now().Truncate(time.Second)
	if err := writeOne(ctx, client, format, at, value); err != nil {
		return 0, err
	}
	path, seen := "/aggregate?metric=lone&agg=max", fmt.Sprintf(`"max":%d}`, value)
	if s.peer {
		path, seen = fmt.Sprintf("/api/v1/query?query=max_over_time(%s[1h])&time=%d&nocache=1", peerLone, at.Add(time.Minute).Unix()), fmt.Sprintf(`"%d"`, value)
	}
	acknowledged := time.Now()
	for first := true; time.Since(acknowledged) < visibleWithin; first = false {
		since := time.Since(acknowledged)
		a, err := client.Do(ctx, http.MethodGet, path, "")
		switch {
		case err != nil:
			return 0, err
		case strings.Contains(a.Body, seen) && first:
			return 0, nil
		case strings.Contains(a.Body, seen):
			return since, nil
		}
		if err := fleet.Pause(ctx, visiblePoll); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("not visible within %v", visibleWithin)
}
