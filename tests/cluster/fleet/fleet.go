// Package fleet runs clusters of real servers on loopback, breaks them and checks what they keep.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/node"
)

const (
	connectionsMax = 128 // a client's to one node
	pollInterval   = 20 * time.Millisecond
)

// Options say what a fleet is.
type Options struct {
	Binary  string
	Folder  string // for the nodes' data
	Workers int
	// Environment is added to every node's, as NAME=value.
	Environment []string
	// Direct lets the nodes reach each other without the network in between, which so cannot break; it
	// costs no processor time then.
	Direct bool
}

// Fleet is a cluster's nodes, running or not: one control node, "c1", then workers "w1", "w2" and so on.
// They reach each other only through the network.
type Fleet struct {
	Network *Network
	Nodes   []*Node
	options Options

	mu struct {
		sync.Mutex
		processes map[int]string // running, by process id
	}
}

// Node is one server of a fleet. Its methods are not safe for concurrent use, but for Left.
type Node struct {
	Name    string
	Dir     string
	Role    string
	Address string // for clients
	Peers   string // for other nodes, through the network
	Client  *node.Client
	// Environment is this node's own, as NAME=value; it wins over the fleet's.
	Environment []string
	Process     *node.Process // nil while it does not run

	fleet *Fleet
	mu    struct {
		sync.Mutex
		left chan struct{} // closed when clients must no longer use the node
	}
}

// New returns a fleet of which no node runs. Close it.
func New(ctx context.Context, o Options) (*Fleet, error) {
	f := &Fleet{options: o}
	f.mu.processes = map[int]string{}
	f.Network = newNetwork(func(source, target net.Addr) string {
		f.mu.Lock()
		defer f.mu.Unlock()
		return owner(source, target, f.mu.processes)
	})
	control, err := f.add(ctx, "c1", "control")
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	var hosts []string
	for i := range o.Workers {
		w, err := f.add(ctx, fmt.Sprintf("w%d", i+1), "worker")
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		hosts = append(hosts, w.Peers)
	}
	control.Environment = []string{"WORKER_HOSTS=" + strings.Join(hosts, ",")}
	return f, nil
}

// AddWorker adds a worker that nobody names yet and that does not run.
func (f *Fleet) AddWorker(ctx context.Context, name string) (*Node, error) {
	return f.add(ctx, name, "worker")
}

// AddControl adds a control node that names hosts and does not run.
func (f *Fleet) AddControl(ctx context.Context, name string, hosts ...string) (*Node, error) {
	n, err := f.add(ctx, name, "control")
	if err == nil {
		n.Environment = []string{"WORKER_HOSTS=" + strings.Join(hosts, ",")}
	}
	return n, err
}

func (f *Fleet) add(ctx context.Context, name, role string) (*Node, error) {
	address, err := FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	n := &Node{Name: name, Role: role, Address: address, Dir: filepath.Join(f.options.Folder, name), fleet: f}
	n.Client = node.NewClient("http://"+address, connectionsMax)
	n.mu.left = closed
	if n.Peers = address; !f.options.Direct {
		n.Peers, err = f.Network.expose(ctx, name, address)
	}
	f.Nodes = append(f.Nodes, n)
	return n, err
}

// FreeAddress returns an address of loopback that nobody listens on.
func FreeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	for range portTries {
		address := fmt.Sprintf("127.0.0.1:%d", portFirst+rand.IntN(portAfter-portFirst))
		if l, err := config.Listen(ctx, "tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", fmt.Errorf("no free port after %d tries", portTries)
}

// Node returns the node of that name, which must be one of the fleet's.
func (f *Fleet) Node(name string) *Node {
	for _, n := range f.Nodes {
		if n.Name == name {
			return n
		}
	}
	panic("fleet: no node " + name)
}

// Others returns the nodes but n.
func (f *Fleet) Others(n *Node) []*Node {
	var others []*Node
	for _, o := range f.Nodes {
		if o != n {
			others = append(others, o)
		}
	}
	return others
}

// Isolate freezes every link of n.
func (f *Fleet) Isolate(n *Node) {
	for _, o := range f.Others(n) {
		f.Network.Freeze(n.Name, o.Name)
	}
}

// CutOff cuts every link of n.
func (f *Fleet) CutOff(n *Node) {
	for _, o := range f.Others(n) {
		f.Network.Cut(n.Name, o.Name)
	}
}

// Start starts all nodes and waits until each is ready.
func (f *Fleet) Start(ctx context.Context) error {
	for _, n := range f.Nodes {
		if err := n.Launch(ctx); err != nil {
			return err
		}
	}
	return f.AwaitReady(ctx)
}

// AwaitReady waits until each node that runs is ready.
func (f *Fleet) AwaitReady(ctx context.Context) error {
	for _, n := range f.Nodes {
		if n.Process == nil {
			continue
		}
		if err := n.AwaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close kills what runs.
func (f *Fleet) Close() error {
	for _, n := range f.Nodes {
		n.Kill()
		n.Client.Close()
	}
	f.Network.close()
	return nil
}

// Logs writes the newest lines of every node that runs, but for those about requests.
func (f *Fleet) Logs(w io.Writer) {
	for _, n := range f.Nodes {
		if n.Process == nil {
			continue
		}
		_, _ = fmt.Fprintf(w, "== %s\n%s\n", n.Name, Telling(n.Process.Log()))
	}
}

const linesShown = 60

// Telling returns the newest lines of a log, but for those about requests.
func Telling(log string) string {
	lines := slices.DeleteFunc(strings.Split(log, "\n"), func(line string) bool { return strings.Contains(line, `"message":"request"`) })
	return strings.Join(lines[max(0, len(lines)-linesShown):], "\n")
}

// Launch starts the node and waits for nothing.
func (n *Node) Launch(ctx context.Context) error {
	_, port, err := net.SplitHostPort(n.Address)
	if err != nil {
		return err
	}
	environment := []string{
		"NODE_ROLE=" + n.Role, "NODE_ID=" + n.Name, "PORT=" + port, "BIND_ADDR=127.0.0.1", "ADVERTISE_ADDR=" + n.Peers,
		"AUTH_TOKEN=" + node.Token, "DATA_DIR=" + n.Dir, "LOG_LEVEL=info",
	}
	environment = append(append(environment, n.fleet.options.Environment...), n.Environment...)
	// The process outlives ctx, which may be a test's: Close kills it.
	n.Process, err = node.Spawn(context.WithoutCancel(ctx), n.fleet.options.Binary, environment)
	if err != nil {
		return err
	}
	n.fleet.mu.Lock()
	n.fleet.mu.processes[n.Process.PID()] = n.Name
	n.fleet.mu.Unlock()
	return nil
}

// AwaitReady waits until the node says that it is ready, and lets clients use it.
func (n *Node) AwaitReady(ctx context.Context) error {
	if err := n.Process.AwaitReady(ctx); err != nil {
		return fmt.Errorf("node %s: %w; its log:\n%s", n.Name, err, n.Process.Log())
	}
	n.Release()
	return nil
}

// Restart starts the node and waits until it is ready.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.Launch(ctx); err != nil {
		return err
	}
	return n.AwaitReady(ctx)
}

// Avoid keeps clients from using the node and interrupts those that do.
func (n *Node) Avoid() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.left != closed {
		close(n.mu.left)
		n.mu.left = closed
	}
}

// Release lets clients use the node again.
func (n *Node) Release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.left == closed {
		n.mu.left = make(chan struct{})
	}
}

// Left returns a channel that is closed when clients must no longer use the node, and is closed already
// while they must not.
func (n *Node) Left() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.left
}

// Kill ends the node at once, as a crash would.
func (n *Node) Kill() {
	if n.Process == nil {
		return
	}
	n.Process.Kill()
	n.ended()
}

// ended forgets the process, which has ended.
func (n *Node) ended() {
	n.Avoid()
	n.fleet.mu.Lock()
	delete(n.fleet.mu.processes, n.Process.PID())
	n.fleet.mu.Unlock()
	n.Process = nil
	n.Client.Close()
}

// Stop asks the node to end, has clients avoid it once it says that it is not ready or has ended, as a
// load balancer would, and returns its log.
func (n *Node) Stop(ctx context.Context) (log string, err error) {
	if err := n.Process.Signal(syscall.SIGTERM); err != nil {
		return "", fmt.Errorf("signal the server: %w", err)
	}
	for ready := true; ready; {
		a, err := n.Client.Do(ctx, "GET", "/readyz", "")
		ready = err == nil && a.Status == 200
		if ready {
			if err := Pause(ctx, pollInterval); err != nil {
				return "", err
			}
		}
	}
	n.mu.Lock()
	n.mu.left = closed // new requests go elsewhere, those under way go on
	n.mu.Unlock()
	process := n.Process
	code, err := process.Wait()
	n.ended()
	if err == nil && code != 0 {
		err = fmt.Errorf("node %s ended with exit code %d", n.Name, code)
	}
	return process.Log(), err
}

// closed is the channel of nodes that clients must not use.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Wipe removes the data of a node that does not run.
func (n *Node) Wipe() error { return os.RemoveAll(n.Dir) }

// CPU returns the processor time that the running node has used.
func (n *Node) CPU() time.Duration { return node.CPUOf(n.Process.PID()) }

// Pause waits for d or for the end of ctx, which is an error.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// Await calls ok until it returns nil, at most for the duration given; the last error is its own.
func Await(ctx context.Context, most time.Duration, ok func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var last error
	for {
		err := ok(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		if Pause(ctx, pollInterval) != nil {
			return fmt.Errorf("not within %v: %w", most, last)
		}
	}
}
