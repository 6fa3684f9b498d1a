package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Metric names one of the node's metrics, all of which stand in the table definitions.
type Metric string

// Counters: only ever grow.
const (
	HTTPRequests        Metric = "raftmetrics_http_requests_total"
	HTTPResponseBytes   Metric = "raftmetrics_http_response_bytes_total"
	SamplesRecorded     Metric = "raftmetrics_samples_recorded_total"
	StringFieldsSkipped Metric = "raftmetrics_string_fields_skipped_total"
	CommandsProposed    Metric = "raftmetrics_replication_commands_proposed_total"
	EntriesCommitted    Metric = "raftmetrics_replication_entries_committed_total"
	LogBytesWritten     Metric = "raftmetrics_replication_log_bytes_written_total"
	StorageFlushes      Metric = "raftmetrics_storage_flushes_total"
	StorageMerges       Metric = "raftmetrics_storage_merges_total"
	SamplesExpired      Metric = "raftmetrics_samples_expired_total"
	Deletions           Metric = "raftmetrics_deletions_total"
	QueriesRefused      Metric = "raftmetrics_queries_refused_total"

	// These are read when somebody looks.
	StorageMergedRows Metric = "raftmetrics_storage_merged_samples_total"
	StorageGoneRows   Metric = "raftmetrics_storage_dropped_samples_total"
	StorageFreedBytes Metric = "raftmetrics_storage_freed_bytes_total"
	StorageExpired    Metric = "raftmetrics_storage_samples_expired_total"
	CacheHits         Metric = "raftmetrics_query_cache_hits_total"
	CacheMisses       Metric = "raftmetrics_query_cache_misses_total"

	TransportSentBytes     Metric = "raftmetrics_transport_sent_bytes_total"
	TransportSentMessages  Metric = "raftmetrics_transport_sent_messages_total"
	TransportReceivedBytes Metric = "raftmetrics_transport_received_bytes_total"
	TransportDropped       Metric = "raftmetrics_transport_dropped_messages_total"
	TransportConnections   Metric = "raftmetrics_transport_connections_total"
	TransportFailures      Metric = "raftmetrics_transport_failures_total"
	SnapshotSentBytes      Metric = "raftmetrics_snapshot_sent_bytes_total"
	SnapshotReceivedBytes  Metric = "raftmetrics_snapshot_received_bytes_total"
)

// Histograms: distributions of seconds or counts.
const (
	HTTPRequestSeconds  Metric = "raftmetrics_http_request_duration_seconds"
	LogSyncSeconds      Metric = "raftmetrics_replication_log_sync_seconds"
	CommitSeconds       Metric = "raftmetrics_replication_commit_seconds"
	ApplySeconds        Metric = "raftmetrics_replication_apply_seconds"
	EntryCommands       Metric = "raftmetrics_replication_entry_commands"
	StorageFlushSeconds Metric = "raftmetrics_storage_flush_seconds"
	StorageMergeSeconds Metric = "raftmetrics_storage_merge_seconds"
	TransportRoundTrip  Metric = "raftmetrics_transport_round_trip_seconds"
	TransportQueued     Metric = "raftmetrics_transport_queued_messages"
)

// Gauges: read when somebody looks.
const (
	CacheBytes         Metric = "raftmetrics_query_cache_bytes"
	MemtableBytes      Metric = "raftmetrics_storage_memtable_bytes"
	RetentionCutoffAge Metric = "raftmetrics_retention_cutoff_age_seconds"
)

type kind uint8

const (
	counter kind = iota
	histogram
	gauge
)

// definition is one line of the table.
type definition struct {
	kind    kind
	help    string
	labels  []string
	buckets []float64 // of histograms
}

var (
	// requestBuckets reach from a memtable read to the longest query.
	requestBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	// diskBuckets reach from a fast fsync to a stalled disk.
	diskBuckets = []float64{.0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .5, 1, 5}
	// flushBuckets reach from an empty flush to a full memtable.
	flushBuckets = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	countBuckets = prometheus.ExponentialBuckets(1, 4, 8)
)

// definitions is every metric of the node, but for those of Go, the process and the shards.
var definitions = map[Metric]definition{
	HTTPRequests:        {counter, "Requests answered, by method, route and status.", []string{"method", "route", "status"}, nil},
	HTTPResponseBytes:   {counter, "Bytes of response bodies sent, by route.", []string{"route"}, nil},
	SamplesRecorded:     {counter, "Samples that writes through this node stored.", nil, nil},
	StringFieldsSkipped: {counter, "String fields of line protocol that were left out, because samples are numbers.", nil, nil},
	CommandsProposed:    {counter, "Commands that this node proposed to its shards.", nil, nil},
	EntriesCommitted:    {counter, "Raft entries that this node saw committed.", nil, nil},
	LogBytesWritten:     {counter, "Bytes written to the Raft log store.", nil, nil},
	StorageFlushes:      {counter, "Flushes of memtables to shard files, by result.", []string{"result"}, nil},
	StorageMerges:       {counter, "Steps of merging what flushes wrote, by result.", []string{"result"}, nil},
	SamplesExpired:      {counter, "Samples older than what is kept, for which writes were refused.", nil, nil},
	Deletions:           {counter, "Deletions of samples that were asked of this node and done.", nil, nil},
	QueriesRefused:      {counter, "Queries that asked for more than a limit allows, or have no finite answer, by code.", []string{"code"}, nil},

	StorageMergedRows: {counter, "Samples of shard files that merges wrote anew.", nil, nil},
	StorageGoneRows:   {counter, "Samples of shard files that were dropped because they became older than what is kept.", nil, nil},
	StorageFreedBytes: {counter, "Bytes of shard files given back to the file system.", nil, nil},
	StorageExpired:    {counter, "Samples that shards left out because they were older than what is kept when they came.", nil, nil},
	CacheHits:         {counter, "Looks for decoded columns of shard files that found them in the query cache.", nil, nil},
	CacheMisses:       {counter, "Looks for decoded columns of shard files that did not.", nil, nil},

	TransportSentBytes:     {counter, "Bytes of Raft messages sent, by peer.", []string{"peer"}, nil},
	TransportSentMessages:  {counter, "Raft messages sent, by peer.", []string{"peer"}, nil},
	TransportReceivedBytes: {counter, "Bytes of Raft messages received, by peer.", []string{"peer"}, nil},
	TransportDropped:       {counter, "Raft messages given up, by peer.", []string{"peer"}, nil},
	TransportConnections:   {counter, "Streams opened, by peer.", []string{"peer"}, nil},
	SnapshotSentBytes:      {counter, "Bytes of shards' snapshots sent to other nodes.", nil, nil},
	SnapshotReceivedBytes:  {counter, "Bytes of shards' snapshots received from other nodes.", nil, nil},
	TransportFailures:      {counter, "Streams that ended or could not be opened, by peer.", []string{"peer"}, nil},

	HTTPRequestSeconds:  {histogram, "Time from a request's headers to its answer, by route and status.", []string{"route", "status"}, requestBuckets},
	LogSyncSeconds:      {histogram, "Time of one write to the Raft log store, fsync included.", nil, diskBuckets},
	CommitSeconds:       {histogram, "Time from proposing a command to its commit.", nil, diskBuckets},
	ApplySeconds:        {histogram, "Time of applying a batch of committed entries.", nil, diskBuckets},
	EntryCommands:       {histogram, "Commands that share one Raft entry.", nil, countBuckets},
	StorageFlushSeconds: {histogram, "Time of one flush of a memtable to its shard file.", nil, flushBuckets},
	StorageMergeSeconds: {histogram, "Time of one step of merging what flushes wrote.", nil, flushBuckets},
	TransportRoundTrip:  {histogram, "Time until a peer answered a ping, by peer.", []string{"peer"}, diskBuckets},
	TransportQueued:     {histogram, "Raft messages that still waited behind a frame that was sent, by peer.", []string{"peer"}, countBuckets},

	CacheBytes:         {gauge, "Bytes that the query cache takes.", nil, nil},
	MemtableBytes:      {gauge, "Bytes that memtables take.", nil, nil},
	RetentionCutoffAge: {gauge, "How old samples of a metric that no rule names may be, by the cluster's time; 0 while all are kept.", nil, nil},
}
