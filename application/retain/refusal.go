package retain

import (
	"context"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

var _ inbound.Recorder = (*Recorder)(nil)

// shownMax bounds the expired samples that a refusal tells of.
const shownMax = 10

// Recorder refuses writes that hold samples older than the cluster keeps, so that nothing is acknowledged
// only to be forgotten at once, and passes on all others.
type Recorder struct {
	next    inbound.Recorder
	policy  Policy
	time    ClusterTime
	refused func(samples int)
}

// NewRecorder returns a recorder before next. refused is told how many samples of a refused write were too
// old, at once; it must not block.
func NewRecorder(next inbound.Recorder, policy Policy, time ClusterTime, refused func(samples int)) *Recorder {
	return &Recorder{next: next, policy: policy, time: time, refused: refused}
}

// Record implements inbound.Recorder. Beside next's errors it returns Unprocessable with code
// timestamp_expired, and then stores nothing.
func (r *Recorder) Record(ctx context.Context, req inbound.RecordRequest) (inbound.RecordReply, error) {
	if err := r.check(req.Observations); err != nil {
		return inbound.RecordReply{}, err
	}
	return r.next.Record(ctx, req)
}

// expired is one sample that is too old, as clients are shown it.
type expired struct {
	Index     int    `json:"index"`
	Metric    string `json:"metric_name"`
	Timestamp string `json:"timestamp"`
	Retention string `json:"retention"`
}

// check refuses observations if some are too old. Of a node that knows no time yet it refuses none: what
// is too old is then left out by the shards.
func (r *Recorder) check(observations []metric.Observation) error {
	policy := r.policy.Retention()
	if policy.IsZero() {
		return nil
	}
	now, ok := r.time.ClusterTime()
	if !ok {
		return nil
	}
	cutoffs := policy.Cutoffs(now)
	newest := cutoffs.Newest()
	count, shown := 0, []expired(nil)
	for i, o := range observations {
		at := o.At(now).Timestamp() // the time of receipt is never too old
		if at >= newest || at >= cutoffs.Of(o.Series().Name()) {
			continue
		}
		if count++; len(shown) < shownMax {
			name := o.Series().Name()
			shown = append(shown, expired{
				Index: i, Metric: name.String(), Timestamp: at.String(), Retention: metric.FormatKeep(policy.Of(name)),
			})
		}
	}
	if count == 0 {
		return nil
	}
	r.refused(count)
	first := shown[0]
	return fault.Newf(fault.Unprocessable, "timestamp_expired",
		"%d of %d samples are older than what is kept (sample %d of %s at %s, kept for %s); send newer ones, or change the retention with PUT /cluster/retention",
		count, len(observations), first.Index, first.Metric, first.Timestamp, first.Retention).WithDetail("samples", shown)
}

// CutoffAge returns how old a sample of a metric that no rule names may be, in seconds, as cut-offs stand
// at whole hours; 0 while nothing is forgotten.
func (r *Recorder) CutoffAge() float64 {
	now, ok := r.time.ClusterTime()
	if !ok {
		return 0
	}
	before := r.policy.Retention().Cutoffs(now).Default
	if before == metric.TimestampMin {
		return 0
	}
	return (time.Duration(now-before) * time.Microsecond).Seconds()
}
