package outbound

//go:generate go tool mockgen -typed -package outboundmock -destination ../../tests/mocks/outboundmock/outboundmock.go github.com/raftmetrics/raftmetrics/ports/outbound Clock,Entropy,LatestReader,LogTruncator,PartialReader,Proposer,ReadFence,SampleAppender,ShardObserver,ShardOpener,StateCutter,StateFlusher,Timer,WriteGate
