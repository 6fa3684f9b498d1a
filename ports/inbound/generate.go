package inbound

//go:generate go tool mockgen -typed -package inboundmock -destination ../../tests/mocks/inboundmock/inboundmock.go github.com/raftmetrics/raftmetrics/ports/inbound Aggregator,Applier,HealthReporter,LatestReader,MetaApplier,Recorder,ReportTaker,ShardQuerier
