package raftlog_test

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// powerCut is a file system whose power goes at its n-th write or sync: image is what is left then.
// It goes on working, because nobody can stop a program in its middle.
type powerCut struct {
	vfs.FS
	mem *vfs.MemFS
	cfg vfs.CrashCloneCfg
	in  atomic.Int64
	mu  struct {
		sync.Mutex
		left *vfs.MemFS
	}
}

func (p *powerCut) image() *vfs.MemFS {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.left
}

func (p *powerCut) step() {
	if p.in.Add(-1) == 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mu.left = p.mem.CrashClone(p.cfg)
	}
}

func (p *powerCut) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	p.step()
	f, err := p.FS.Create(name, category)
	return &powerCutFile{File: f, fs: p}, err
}

func (p *powerCut) OpenDir(name string) (vfs.File, error) {
	f, err := p.FS.OpenDir(name)
	return &powerCutFile{File: f, fs: p}, err
}

func (p *powerCut) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	p.step()
	f, err := p.FS.ReuseForWrite(from, to, category)
	return &powerCutFile{File: f, fs: p}, err
}

func (p *powerCut) Remove(name string) error {
	p.step()
	return p.FS.Remove(name)
}

func (p *powerCut) Rename(from, to string) error {
	p.step()
	return p.FS.Rename(from, to)
}

type powerCutFile struct {
	vfs.File
	fs *powerCut
}

func (f *powerCutFile) Write(b []byte) (int, error) {
	f.fs.step()
	return f.File.Write(b)
}

func (f *powerCutFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.step()
	return f.File.WriteAt(b, off)
}

func (f *powerCutFile) Sync() error {
	f.fs.step()
	return f.File.Sync()
}

func (f *powerCutFile) SyncData() error {
	f.fs.step()
	return f.File.SyncData()
}
