package cli

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/privtest"
)

const (
	stormCeiling = 100_000
	// stormEach is what one process takes: the hard RLIMIT_NOFILE may be 20,000.
	stormEach   = 19_900
	stormersUID = 70310
)

// stormers start processes of one user, and make them all take instances as fast
// as the kernel gives them. It returns how many each has, and the errno that
// ended it.
func stormers(t *testing.T, processes int) (have, errno []int, took time.Duration) {
	t.Helper()
	have, errno = make([]int, processes), make([]int, processes)
	var grow []func(int) (int, int)
	for range processes {
		grow = append(grow, growing(t, stormersUID))
	}
	for _, by := range grow {
		by(0) // it runs
	}
	began := time.Now()
	var all sync.WaitGroup
	for i, by := range grow {
		all.Go(func() { have[i], errno[i] = by(stormEach) })
	}
	all.Wait()
	return have, errno, time.Since(began)
}

func sum(all []int) (n int) {
	for _, each := range all {
		n += each
	}
	return n
}

// stormAgent starts an agent whose floor is 8192, and waits until that holds.
func stormAgent(t *testing.T, bin string) *agentProcess {
	t.Helper()
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	cfg := configured(t, `
inotify:
  maxInstances: 100000
  leakInstances: 100000
sysctl:
  rules:
  - {key: fs.inotify.max_user_instances, atLeast: 8192, ceiling: 100000}
`)
	// Like /run, where every write is recorded before it is made.
	run, err := os.MkdirTemp("/dev/shm", "nodetune")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	addr := freeAddress(t)
	s := startProcess(t, addr, bin, "run", "--config", cfg, "--path.rootfs", run, "--web.listen-address", addr)
	s.until("the first pass has ended", func() bool { return s.series(`nodetune_inotify_kernel_counters`) == 1 })
	s.until("the floor holds", func() bool { return holds(instancesFile, "8192") })
	if strings.Contains(s.log.String(), "only by looking") {
		t.Fatal("the kernel does not ring")
	}
	return s
}

// logSurges logs how long it took to raise.
func logSurges(t *testing.T, s *agentProcess) {
	for _, line := range regexp.MustCompile(`(?m)^.*(raised limits during a surge|max_user_instances from).*$`).FindAllString(s.log.String(), -1) {
		t.Log(line)
	}
}

// Who takes instances as fast as the kernel gives them meets a floor, and no
// limit below the ceiling where an agent raises it. So does who waits in between
// and is not met by any tick.
func TestStorm(t *testing.T) {
	untouched(t)
	bin := build(t)
	t.Run("a floor alone", func(t *testing.T) {
		privtest.Set(t, "fs.inotify.max_user_instances", "8192")
		have, errno, took := stormers(t, 2)
		if sum(have) != 8192 || errno[0] != 24 || errno[1] != 24 {
			t.Errorf("got %d instances and errno %d, want 8192 and 24", have, errno)
		}
		t.Logf("8192 instances in %s", took)
	})
	t.Run("the agent", func(t *testing.T) {
		const processes, storms = stormCeiling / stormEach, 3
		// There are 8 ms between the alarm and the limit, and a virtual machine may
		// lose one of its processors for as long. An agent that is not called, or
		// slow, loses every storm.
		for n := 1; ; n++ {
			refused := false
			t.Run(fmt.Sprint("storm ", n), func(t *testing.T) {
				s := stormAgent(t, bin)
				have, errno, took := stormers(t, processes)
				for i := range processes {
					if have[i] != stormEach || errno[i] != 0 {
						refused = true
						t.Logf("process %d was refused: it has %d instances, errno %d", i, have[i], errno[i])
					}
				}
				t.Logf("%d instances in %s: %.0f a second", sum(have), took, float64(sum(have))/took.Seconds())
				logSurges(t, s)
			})
			if !refused || t.Failed() {
				return
			}
			if n == storms {
				t.Fatalf("%d storms were refused instances", n)
			}
		}
	})
	t.Run("the agent, and one who waits", func(t *testing.T) {
		s := stormAgent(t, bin)
		by := growing(t, stormersUID)
		for have := 0; have < 12_000; time.Sleep(time.Millisecond) {
			n, errno := by(100)
			if errno != 0 {
				t.Fatalf("refused with %d instances, errno %d", n, errno)
			}
			have = n
		}
		logSurges(t, s)
	})
}
