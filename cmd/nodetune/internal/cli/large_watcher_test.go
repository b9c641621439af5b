package cli

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/internal/procwalk"
)

// TestLargeWatcher: next to a process that holds 190,000 watches, nodetune in a
// memory cgroup of 32 MiB is not killed, and the process is not held up.
func TestLargeWatcher(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_watches", "192536")
	const watches = 190_000
	w := newLargeWatcher(t, watches)
	group := privtest.MemoryGroup(t, 32<<20)

	const span = 2 * time.Second
	alone := w.latencies(span)
	t.Logf("inotify_add_watch next to %d watches, median and maximum: alone %v %v", watches, median(alone), slices.Max(alone))
	bin := build(t)
	inGroup := []string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(group, "cgroup.procs"), bin}
	procfs := configured(t, "inotify:\n  kernelCounters: false\n")
	for _, c := range []struct {
		name   string
		exact  bool
		config string
		// The shell enters the group first, so that every page counts.
		run []string
	}{
		{"from the kernel, in 32 MiB", true, configured(t, ""), inGroup},
		{"from procfs, in 32 MiB", false, procfs, inGroup},
		{"from procfs, in all of the memory", false, procfs, []string{bin}},
	} {
		beside, passes, u := w.beside(span, append(slices.Clone(c.run), "check", "-o", "json", "--config="+c.config))
		p, listed := u.Process(os.Getpid())
		if !listed || p.Instances != 1 {
			t.Fatalf("%s: listed %v, %+v", c.name, listed, p)
		}
		// The one that is added and removed again meanwhile may be met.
		if c.exact && (p.WatchesQuality != inotify.Exact || p.Watches != watches && p.Watches != watches+1) {
			t.Errorf("%s: got %d watches, %s", c.name, p.Watches, p.WatchesQuality)
		}
		if !c.exact && p.WatchesQuality == inotify.Exact {
			t.Errorf("%s: the record of %d watches was read: %+v", c.name, watches, p)
		}
		if p.WatchesQuality == inotify.UpperBound && p.Watches < watches || u.WatchesQuality == inotify.UpperBound && u.Watches < watches {
			t.Errorf("%s: of %d watches: got at most %d for the process and %d for the node", c.name, watches, p.Watches, u.Watches)
		}
		t.Logf("with check %s, %d times: %v %v", c.name, passes, median(beside), slices.Max(beside))
		if m := median(beside); m > 5*median(alone)+50*time.Microsecond {
			t.Errorf("%s: the median of inotify_add_watch went from %v to %v", c.name, median(alone), m)
		}
	}
	if n := privtest.OOMKills(group); n != "0" {
		t.Errorf("%s oom kills in the group", n)
	}

	// What it spares the watcher.
	done := make(chan struct{})
	go func() {
		defer close(done)
		walker, err := procwalk.New("/proc")
		if err != nil {
			t.Error(err)
			return
		}
		defer walker.Close()
		for end := time.Now().Add(span); time.Now().Before(end); {
			self, err := walker.Open(os.Getpid())
			if err != nil {
				t.Error(err)
				return
			}
			if n, err := self.Watches(w.fd, nil); err != nil || n < watches {
				t.Errorf("counted %d watches, %v", n, err)
			}
			self.Close()
		}
	}()
	reading := w.latencies(span)
	<-done

	t.Logf("while the record is read: %v %v", median(reading), slices.Max(reading))
	if m := slices.Max(reading); m < 20*time.Millisecond {
		t.Errorf("reading the record held up the watcher %v only: this test could not fail", m)
	}
}

// largeWatcher holds one instance and one more file to watch.
type largeWatcher struct {
	t     *testing.T
	fd    int
	spare string
}

func newLargeWatcher(t *testing.T, watches int) largeWatcher {
	t.Helper()
	// tmpfs: 190,000 files on a disk take longer than the test.
	dir, err := os.MkdirTemp("/dev/shm", "nodetune-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	for i := range watches + 1 {
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if i == watches {
			return largeWatcher{t, fd, path}
		}
		if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
			t.Fatalf("watch %d: %v", i, err)
		}
	}
	panic("not reached")
}

// beside measures latencies while a check runs again and again, and returns how
// often it did and what the last one saw.
func (w largeWatcher) beside(span time.Duration, check []string) (all []time.Duration, runs int, u inotify.Usage) {
	w.t.Helper()
	done := make(chan []byte)
	go func() {
		var last []byte
		for end := time.Now().Add(span); time.Now().Before(end); runs++ {
			cmd := exec.Command(check[0], check[1:]...)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() != exitUnmet || err != nil && !ok {
				w.t.Errorf("%v: %v", check, err)
				break
			}
			last = out
		}
		done <- last
	}()
	all = w.latencies(span)
	var report struct {
		Inotify inotify.Usage `json:"inotify"`
	}
	if err := json.Unmarshal(<-done, &report); err != nil {
		w.t.Fatal(err)
	}
	return all, runs, report.Inotify
}

// latencies adds a watch again and again.
func (w largeWatcher) latencies(span time.Duration) []time.Duration {
	var all []time.Duration
	for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		began := time.Now()
		wd, err := unix.InotifyAddWatch(w.fd, w.spare, unix.IN_MODIFY)
		all = append(all, time.Since(began))
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := unix.InotifyRmWatch(w.fd, uint32(wd)); err != nil {
			w.t.Fatal(err)
		}
		// The removal queues an event.
		var buf [4096]byte
		if _, err := unix.Read(w.fd, buf[:]); err != nil {
			w.t.Fatal(err)
		}
	}
	return all
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
