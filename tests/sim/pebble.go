package sim

import (
	"fmt"
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/adapters/replication/multiraft"
	"github.com/raftmetrics/raftmetrics/adapters/replication/raftlog"
)

// pebbleDisk is a node's real log store on a file system in memory whose power can be cut. What was
// begun is held back until the sync, so that the order of things does not depend on Pebble's own
// goroutines.
type pebbleDisk struct {
	*raftlog.Store
	fs    *vfs.MemFS
	begun [][]multiraft.LogWrite
}

var _ disk = (*pebbleDisk)(nil)

func newPebbleDisk() (*pebbleDisk, error) {
	d := &pebbleDisk{fs: vfs.NewCrashableMem()}
	return d, d.open()
}

func (d *pebbleDisk) open() (err error) {
	d.Store, err = raftlog.Open(raftlog.Options{
		Dir: "/log", FS: d.fs, Log: zerolog.Nop(), MemtableBytes: 64 << 10,
		Fatal: func(err error) { panic(err) },
	})
	return err
}

// begin implements disk.
func (d *pebbleDisk) begin(writes []multiraft.LogWrite) error {
	d.begun = append(d.begun, writes)
	return nil
}

// sync implements disk.
func (d *pebbleDisk) sync() error {
	for _, writes := range d.begun {
		if err := d.Write(writes); err != nil {
			return err
		}
	}
	d.begun = nil
	return nil
}

// crash implements disk.
func (d *pebbleDisk) crash(rng *rand.Rand) error {
	d.begun = d.begun[:rng.IntN(len(d.begun)+1)]
	if err := d.sync(); err != nil {
		return err
	}
	left := d.fs.CrashClone(vfs.CrashCloneCfg{})
	if err := d.Close(); err != nil {
		return fmt.Errorf("close what the crash left: %w", err)
	}
	d.fs = left
	return d.open()
}
