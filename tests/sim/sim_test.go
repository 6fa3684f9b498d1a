package sim

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"

	"go.uber.org/goleak"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this seed only")
	seedsFlag = flag.Uint64("seeds", 200, "how many seeds to run")
	firstFlag = flag.Uint64("first", 1, "the first of the seeds to run")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs one seed with all randomness under its control.
func run(t *testing.T, seed uint64, mutant Mutant) Result {
	t.Helper()
	return runWith(t, seed, func() Result { return Run(seed, mutant) })
}

func runWith(t *testing.T, seed uint64, do func() Result) Result {
	t.Helper()
	var result Result
	t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, seed)
		result = do()
	})
	return result
}

func report(t *testing.T, seed uint64, err error) {
	t.Helper()
	t.Errorf("seed=%d: %v\nreplay: go test ./tests/sim -run TestSim -seed=%d -v", seed, err, seed)
}

// TestSim runs the seeds that failed in the past, then as many others as asked for.
func TestSim(t *testing.T) {
	seeds := pastSeeds(t)
	for i := range *seedsFlag {
		seeds = append(seeds, *firstFlag+i)
	}
	if *seedFlag != 0 {
		seeds = []uint64{*seedFlag}
	}
	var counts Counts
	failures := 0
	for _, seed := range seeds {
		result := run(t, seed, None)
		counts.add(result.Counts)
		if result.Err != nil {
			report(t, seed, result.Err)
			if failures++; failures == 5 {
				t.Fatalf("giving up after %d failing seeds", failures)
			}
		}
		if *seedFlag != 0 {
			t.Logf("trace %x", result.Trace)
		}
	}
	t.Logf("%d seeds: %+v", len(seeds), counts)
}

// pastSeeds reads the seeds that failed once.
func pastSeeds(t *testing.T) []uint64 {
	t.Helper()
	text, err := os.ReadFile("testdata/seeds.txt")
	if err != nil {
		t.Fatalf("read past seeds: %v", err)
	}
	var seeds []uint64
	for line := range strings.Lines(string(text)) {
		number, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number == "" || number == "#" {
			continue
		}
		seed, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			t.Fatalf("past seeds: %v", err)
		}
		seeds = append(seeds, seed)
	}
	return seeds
}

// TestPebble runs a few seeds over the real log store instead of a model of one. Both must come to the
// same, but for what recovery reads.
func TestPebble(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		var disks []*pebbleDisk
		result := runWith(t, seed, func() Result {
			return runOn(seed, None, func(n *node) disk {
				d, err := newPebbleDisk()
				n.must(err, "open the log")
				disks = append(disks, d)
				return d
			})
		})
		for _, d := range disks {
			if err := d.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if result.Err != nil {
			t.Errorf("seed=%d: %v\nreplay: go test ./tests/sim -run TestPebble -v", seed, result.Err)
		}
		if model := run(t, seed, None); result.Trace != model.Trace {
			t.Errorf("seed=%d: trace %x %+v over the real log, %x %+v over its model, want equal",
				seed, result.Trace, result.Counts, model.Trace, model.Counts)
		}
	}
}

// TestDeterminism: a seed is the whole of a run.
func TestDeterminism(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		first, second := run(t, seed, None), run(t, seed, None)
		if first.Trace != second.Trace || first.Counts != second.Counts {
			t.Errorf("seed=%d: traces %x %+v and %x %+v, want equal", seed, first.Trace, first.Counts, second.Trace, second.Counts)
		}
	}
}

// TestMutants gives the runs a defect, which some seed must find.
func TestMutants(t *testing.T) {
	for mutant, seedsMax := range map[Mutant]uint64{
		AckBeforeSync: 100, NoDedup: 100, CommitBehindApplied: 300, AckOnPropose: 100,
		MachineNotCut: 200, TruncateUnflushed: 200, StaleReads: 200, ReusedID: 200,
	} {
		t.Run(mutant.String(), func(t *testing.T) {
			for seed := uint64(1); seed <= seedsMax; seed++ {
				if result := run(t, seed, mutant); result.Err != nil {
					t.Logf("seed %d: %.300v", seed, result.Err)
					return
				}
			}
			t.Errorf("%d seeds, and none found it", seedsMax)
		})
	}
}
