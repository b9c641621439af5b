package main

import (
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

// Who takes instances as fast as the kernel gives them meets a floor. The agent
// raises it on its own: mostly before anybody is refused. Not always, since who
// waits in between, as the kernel does where it doubles a table of descriptors,
// may be gone from the CPU at every tick; so that is logged and not asserted.
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
		privtest.Set(t, "fs.inotify.max_user_instances", "128")
		config := configured(t, `
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
		s := startProcess(t, addr, bin, "run", "--config", config, "--path.rootfs", run, "--web.listen-address", addr)
		s.until("the first pass has ended", func() bool { return s.series(`nodetune_inotify_kernel_counters`) == 1 })
		s.until("the floor holds", func() bool { return holds(instancesFile, "8192") })
		if strings.Contains(s.log.String(), "only by looking") {
			t.Fatal("the kernel does not ring")
		}
		const processes = stormCeiling / stormEach
		have, errno, took := stormers(t, processes)
		for i := range processes {
			if have[i] != stormEach || errno[i] != 0 {
				t.Logf("process %d was refused: it has %d instances, errno %d", i, have[i], errno[i])
			}
		}
		t.Logf("%d instances in %s: %.0f a second", sum(have), took, float64(sum(have))/took.Seconds())
		s.until("it is raised", func() bool { return !holds(instancesFile, "8192") })
		for _, line := range regexp.MustCompile(`(?m)^.*(met a surge|from=8192).*$`).FindAllString(s.log.String(), -1) {
			t.Log(line)
		}
	})
}
