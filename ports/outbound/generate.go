package outbound

//go:generate go tool mockgen -typed -package outboundmock -destination ../../tests/mocks/outboundmock/outboundmock.go github.com/raftmetrics/raftmetrics/ports/outbound Clock,ClusterPeers,ContentPinner,Entropy,FreshnessGauge,GroupController,LatestReader,LogTruncator,MetaPeers,MetaProposer,MetaStore,MetaTruncator,PartialReader,ProposePeers,Proposer,QueryPeers,ReadFence,Recruiter,ReplicaPeers,ReplicaHost,SampleAppender,ShardLookup,ShardObserver,ShardOpener,ShardRemover,SnapshotInstaller,SnapshotMaker,SnapshotWriter,StateCutter,StateFlusher,StateStore,Timer,WriteGate
