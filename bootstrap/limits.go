package bootstrap

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/raftmetrics/raftmetrics/adapters/cli"
	"github.com/raftmetrics/raftmetrics/adapters/httpapi"
	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/application/ingest"
	"github.com/raftmetrics/raftmetrics/application/query"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

// limit is a bound that a request can go over and no option moves, with the error that is then answered.
type limit struct {
	what  string
	most  any
	fault *fault.Error
}

// errArgument is what every field gets that is longer or more often than it may be.
var errArgument = fault.Field("field", "is over its limit", "less")

// writeLimits bound what writes carry and how many there are.
var writeLimits = []limit{
	{"a body, as sent and decompressed", byteSize(httpapi.BodyBytesMax), httpapi.ErrBodyTooLarge},
	{"samples of one write", metric.BatchSamplesMax, metric.ErrTooManySamples},
	{"names and tags of one write", byteSize(ingest.KeyBytesMax), ingest.ErrTooLarge},
	{"a metric's name, bytes", metric.NameBytesMax, errArgument},
	{"tags of a series", metric.TagsMax, errArgument},
	{"a tag's key, bytes", metric.TagKeyBytesMax, errArgument},
	{"a series' name and tags together", byteSize(metric.SeriesKeyBytesMax), errArgument},
	{"an Idempotency-Key, bytes", inbound.IdempotencyKeyBytesMax, errArgument},
	{"series of a shard", metric.SeriesPerShardMax, command.SeriesLimit.Fault()},
	{"time for a body to arrive", httpapi.ReadTimeoutMax, httpapi.ErrReadTimeout},
	{"time for a write after that", httpapi.RecordTimeoutMax, ingest.ErrTimeout},
	{"writes under way on a node", ingest.WritesMaxDefault, ingest.ErrTooManyWrites},
	{"bodies being read on a node", byteSize(httpapi.BodyBytesInFlightMaxDefault), httpapi.ErrTooManyBytes},
}

// queryLimits bound what questions may ask for and take.
var queryLimits = []limit{
	{"windows of a group", aggregate.WindowsMax, aggregate.ErrTooManyWindows},
	{"groups of an answer", aggregate.GroupsMax, aggregate.ErrTooManyGroups},
	{"groups x windows of an answer", aggregate.CellsMax, aggregate.ErrTooManyCells},
	{"groups x windows with exact quantiles", aggregate.PlannedCellsMax, aggregate.ErrTooManyPlanned},
	{"values held to find quantiles", aggregate.HeldMax, aggregate.ErrTooManyHeld},
	{"samples read one by one on a node", aggregate.SamplesMax, aggregate.ErrTooManySamples},
	{"metrics of a question", httpapi.MetricsMax, errArgument},
	{"functions of a question", aggregate.FunctionsMax, errArgument},
	{"conditions on tags", metric.MatchersMax, errArgument},
	{"values of a condition", metric.MatcherValuesMax, errArgument},
	{"a condition's pattern, bytes", metric.PatternBytesMax, errArgument},
	{"items of a listing", metric.ListingMax, errArgument},
	{"time for an answer", httpapi.QueryTimeoutMax, query.ErrTimeout},
	{"questions under way on a node", query.InFlightMax, query.ErrTooManyQueries},
	{"requests under way on a node", httpapi.RequestsInFlightMaxDefault, httpapi.ErrTooManyRequests},
}

// limits lists every limit for help.
func limits() (list []cli.Limit) {
	for _, l := range slices.Concat(writeLimits, queryLimits) {
		list = append(list, cli.Limit{
			What: l.what, Most: fmt.Sprint(l.most),
			Over: strconv.Itoa(httpapi.StatusOf(l.fault)) + " " + l.fault.Code(),
		})
	}
	return list
}
