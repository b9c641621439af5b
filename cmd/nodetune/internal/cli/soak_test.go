package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/inotifytest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// TestSoak: an agent on a node where processes and logs come and go, another
// program lowers a floor, the configuration is read again and Prometheus
// scrapes, neither grows nor keeps a descriptor. NODETUNE_TEST_SOAK is for how
// long: `make soak` takes an hour.
func TestSoak(t *testing.T) {
	untouched(t)
	span := 20 * time.Second
	if v := os.Getenv("NODETUNE_TEST_SOAK"); v != "" {
		var err error
		if span, err = time.ParseDuration(v); err != nil {
			t.Fatalf("NODETUNE_TEST_SOAK: %v", err)
		}
	}
	root := t.TempDir()
	pod := func(n int) string {
		return filepath.Join(root, "var/log/pods", fmt.Sprintf("shop_web-%d_00000000-0000-4000-8000-%012d", n, n))
	}
	addr := freeAddress(t)
	cfg := configured(t, "disk:\n  mode: assist\n")
	s := startProcess(t, addr, build(t), "run", "--config", cfg, "--path.rootfs", root, "--web.listen-address", addr)
	s.until("the floor holds", func() bool { return holds(instancesFile, "8192") })

	round := 0
	churn := func() {
		t.Run("", func(t *testing.T) { // the processes end with it
			inotifytest.New(t, 10).Start(inotifytest.Spec{Kind: inotifytest.Plain, Processes: 20, UID: 70601 + round%50, Instances: 2, Watches: 10})
		})
		put(t, filepath.Join(pod(round), "app/0.log"), fmt.Sprintf("2026-01-01T00:00:00.000000000Z stdout F round %d\n", round))
		if err := os.RemoveAll(pod(round - 10)); err != nil {
			t.Fatal(err)
		}
		if round == 5 {
			privtest.Set(t, "fs.inotify.max_user_instances", "4096")
		}
		s.hup()
		if code, _ := s.get("/metrics"); code != 200 {
			t.Errorf("/metrics: %d", code)
		}
		round++
	}
	pid := s.cmd.Process.Pid
	descriptors := func() int {
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	anon := func() float64 {
		return statusKiB(t, read(t, fmt.Sprintf("/proc/%d/status", pid)), "RssAnon:") / 1024
	}
	for end := time.Now().Add(span / 3); time.Now().Before(end); {
		churn()
	}
	files, memory, rounds := descriptors(), anon(), round
	var most float64
	for end := time.Now().Add(span * 2 / 3); time.Now().Before(end); {
		churn()
		most = max(most, anon())
	}
	s.until("the floor holds", func() bool { return holds(instancesFile, "8192") })
	t.Logf("%d rounds, then %d: RssAnon %.1f MiB, at most %.1f; %d descriptors, then %d", rounds, round-rounds, memory, most, files, descriptors())
	if most > memory+6 {
		t.Errorf("RssAnon grew from %.1f to %.1f MiB", memory, most)
	}
	if now := descriptors(); now > files+8 { // connections of scrapes
		t.Errorf("%d descriptors, then %d", files, now)
	}
	if n := ownInstances(t, pid); n != 0 {
		t.Errorf("the agent has %d inotify instances", n)
	}
}
