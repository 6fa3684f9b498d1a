package metric

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

const keepForm = "a whole number of hours, days or weeks at least 1h, such as 30d, or 0 to keep everything"

// ParseKeep reads how long samples are kept, such as "30d"; "0" is for good. field names it in errors.
func ParseKeep(field, text string) (time.Duration, error) {
	keep, err := parseKeep(text)
	if err != nil {
		return 0, fault.Field(field, "is "+strconv.Quote(text), keepForm)
	}
	return keep, nil
}

// FormatKeep writes what ParseKeep reads, in the largest unit that fits.
func FormatKeep(keep time.Duration) string {
	hours := int64(keep / time.Hour)
	switch {
	case hours == 0:
		return "0"
	case hours%24 == 0:
		return strconv.FormatInt(hours/24, 10) + "d"
	}
	return strconv.FormatInt(hours, 10) + "h"
}

// String writes what ParseRetentionPolicy reads, as long as no pattern holds a comma; "0" keeps everything.
func (p RetentionPolicy) String() string {
	parts := []string{FormatKeep(p.Default)}
	for _, r := range p.Rules {
		parts = append(parts, r.Pattern+"="+FormatKeep(r.Keep))
	}
	return strings.Join(parts, ",")
}

// Equal reports that both say the same in the same order.
func (p RetentionPolicy) Equal(q RetentionPolicy) bool {
	return p.Default == q.Default && slices.Equal(p.Rules, q.Rules)
}

// IsZero reports that the policy keeps everything without naming a rule.
func (p RetentionPolicy) IsZero() bool { return p.Default == 0 && len(p.Rules) == 0 }

// Of returns how long samples of the metric name are kept; 0: for good.
func (p RetentionPolicy) Of(name Name) time.Duration {
	for _, r := range p.Rules {
		if matchPattern(r.Pattern, name.text) {
			return r.Keep
		}
	}
	return p.Default
}

// Newest returns the newest of the cut-offs; TimestampMin: nothing is forgotten.
func (c Cutoffs) Newest() Timestamp {
	newest := c.Default
	for _, r := range c.Rules {
		newest = max(newest, r.Before)
	}
	return newest
}

// MedianTime returns the median of clocks, of an even number the lesser of the two in the middle, so that
// a minority, or half, that runs ahead moves it no further than the others are. There must be at least one.
func MedianTime(clocks []Timestamp) Timestamp {
	sorted := slices.Clone(clocks)
	slices.Sort(sorted)
	return sorted[(len(sorted)-1)/2]
}
