package inbound

//go:generate go tool mockgen -typed -package inboundmock -destination ../../tests/mocks/inboundmock/inboundmock.go github.com/raftmetrics/raftmetrics/ports/inbound Aggregator,Applier,ClusterObserver,Deleter,HealthReporter,LatestReader,MembershipAdmin,MetaApplier,NodeFlusher,Recorder,ReplicaDigester,ReportGiver,ReportTaker,RetentionAdmin,SeriesLister,ShardQuerier,StorageAdmin
