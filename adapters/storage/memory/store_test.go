package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/raftmetrics/raftmetrics/adapters/storage/memory"
	"github.com/raftmetrics/raftmetrics/tests/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a Disk with the store on it, for which to stop and to crash are the same: to be forgotten.
type node struct {
	disk    *memory.Disk
	options contract.Options
}

func (n *node) Start() (contract.Store, error) {
	return memory.New(memory.Options{Disk: n.disk, SeriesMax: n.options.SeriesMax}), nil
}

func (*node) Stop() error  { return nil }
func (*node) Crash() error { return nil }

func TestContract(t *testing.T) {
	contract.Run(t, func(_ testing.TB, o contract.Options) contract.Node {
		return &node{disk: memory.NewDisk(), options: o}
	})
}
