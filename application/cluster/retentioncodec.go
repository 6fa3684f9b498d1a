package cluster

import (
	"fmt"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// retentionRecord is a retention policy in the cluster state and in the command that changes it.
type retentionRecord struct {
	DefaultHours int64                 `json:"default_hours,omitempty"` // 0: for good
	Rules        []retentionRuleRecord `json:"rules,omitempty"`
}

type retentionRuleRecord struct {
	Metric string `json:"metric"`
	Hours  int64  `json:"hours,omitempty"`
}

func retentionToRecord(p metric.RetentionPolicy) *retentionRecord {
	r := &retentionRecord{DefaultHours: int64(p.Default / time.Hour)}
	for _, rule := range p.Rules {
		r.Rules = append(r.Rules, retentionRuleRecord{Metric: rule.Pattern, Hours: int64(rule.Keep / time.Hour)})
	}
	return r
}

// policy returns what was written, for no record a policy that keeps everything.
func (r *retentionRecord) policy() (metric.RetentionPolicy, error) {
	var p metric.RetentionPolicy
	if r == nil {
		return p, nil
	}
	keep, err := hours(r.DefaultHours)
	if err != nil {
		return p, err
	}
	p.Default = keep
	for _, rule := range r.Rules {
		if keep, err = hours(rule.Hours); err != nil {
			return p, err
		}
		p.Rules = append(p.Rules, metric.RetentionRule{Pattern: rule.Metric, Keep: keep})
	}
	return p, p.Check("retention")
}

func hours(n int64) (time.Duration, error) {
	if n == 0 {
		return 0, nil
	}
	return metric.ParseKeep("retention", fmt.Sprintf("%dh", n))
}
