package containerlog

import (
	stdgzip "compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/internal/workload"
)

// TestHelperCollector is started by other tests.
func TestHelperCollector(t *testing.T) { disktest.RunCollector(t) }

// peak returns the most that the directories below dir took, until stop.
func peak(dir string, stop <-chan struct{}) (tree, largest uint64) {
	for {
		var sum uint64
		_ = filepath.WalkDir(dir, func(p string, _ os.DirEntry, _ error) error {
			var st unix.Stat_t
			if unix.Lstat(p, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
				sum += uint64(st.Blocks) * 512
				if strings.HasSuffix(p, ".log") {
					largest = max(largest, uint64(st.Size))
				}
			}
			return nil
		})
		tree = max(tree, sum)
		select {
		case <-stop:
			return tree, largest
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// kubelet does to a log what rotateLog of the kubelet does
// (pkg/kubelet/logs/container_log_manager.go, v1.34), in its order and with its
// compression. What it asks the runtime to do, a signal does.
type kubelet struct {
	limit    int64
	maxFiles int
	reopen   func() error
	now      func() time.Time
}

func (k kubelet) look(t testing.TB, log string) {
	st, err := os.Stat(log)
	if err != nil || st.Size() < k.limit {
		return
	}
	all, _ := filepath.Glob(log + ".*")
	slices.Sort(all)
	all = slices.DeleteFunc(all, func(p string) bool {
		if strings.HasSuffix(p, ".tmp") {
			_ = os.Remove(p)
			return true
		}
		return false
	})
	for len(all) > k.maxFiles-2 {
		_ = os.Remove(all[0])
		all = all[1:]
	}
	for _, p := range all {
		if strings.HasSuffix(p, ".gz") {
			continue
		}
		in, err := os.Open(p)
		disktest.Must(t, err)
		out, err := os.Create(p + ".tmp")
		disktest.Must(t, err)
		z := stdgzip.NewWriter(out)
		_, err = io.Copy(z, in)
		disktest.Must(t, err)
		_, _ = z.Close(), out.Close()
		disktest.Must(t, os.Rename(p+".tmp", p+".gz"))
		_ = in.Close()
		disktest.Must(t, os.Remove(p))
	}
	disktest.Must(t, os.Rename(log, log+"."+k.now().Format("20060102-150405")))
	_ = k.reopen()
}

// A collector that is fast enough on average, behind a writer of bursts: the
// kubelet rotates under it, and it gives up on what it has not read.
func TestLossSlowReader(t *testing.T) {
	privtest.Root(t)
	// Everything but the speed of the collector is a tenth, unless at full size.
	burst := disktest.Scale(800_000)
	unit := time.Duration(disktest.Scale(1000)) * time.Millisecond // a second
	const speed = 43 << 20 / 10
	wait := 5 * unit
	lines := 3 * burst
	limit := int64(10<<20) * int64(disktest.Scale(10)) / 10
	env := []string{"REOPEN=1", "WIDTH=162", fmt.Sprint("LINES=", lines), fmt.Sprint("BURST=", burst), fmt.Sprint("PAUSE=", (70 * unit).Milliseconds())}

	type result struct {
		lost, doubled int
		tree          uint64
	}
	follow := func(file string, during func(w *disktest.Writer, done <-chan struct{})) result {
		disktest.WriteFile(t, file, "")
		collected := disktest.Collect(t, file, lines, speed, wait)
		done := make(chan struct{})
		var res result
		var running sync.WaitGroup
		running.Go(func() { res.tree, _ = peak(filepath.Dir(file), done) })
		w := disktest.StartWriter(t, file, env...)
		running.Go(func() { during(w, done) })
		<-w.Done
		// The last burst takes 130 MB / 4.3 MB/s.
		time.Sleep(80 * unit)
		close(done)
		running.Wait()
		got, doubled := collected()
		res.lost, res.doubled = lines-got, doubled
		return res
	}
	var theirs, ours result
	var both sync.WaitGroup
	both.Go(func() {
		_, file := disktest.PodLog(t, t.TempDir(), "theirs")
		theirs = follow(file, func(w *disktest.Writer, done <-chan struct{}) {
			k := kubelet{limit: limit, maxFiles: 5, now: time.Now, reopen: func() error { return w.Cmd.Process.Signal(unix.SIGHUP) }}
			for tick := time.NewTicker(10 * unit); ; {
				select {
				case <-done:
					return
				case <-tick.C:
					k.look(t, file)
				}
			}
		})
	})
	both.Go(func() {
		root := t.TempDir()
		_, file := disktest.PodLog(t, root, "ours")
		ours = follow(file, func(w *disktest.Writer, done <-chan struct{}) {
			burster(t, root, limit, wait, map[string]*disktest.Writer{"ours": w}, done)
		})
	})
	both.Wait()
	t.Logf("kubelet:  %d of %d lines lost, %d twice, peak %d bytes", theirs.lost, lines, theirs.doubled, theirs.tree)
	t.Logf("nodetune: %d of %d lines lost, %d twice, peak %d bytes, %.2f of the kubelet's", ours.lost, lines, ours.doubled, ours.tree, float64(ours.tree)/float64(theirs.tree))
	if ours.lost != 0 || ours.doubled != 0 {
		t.Error("lines were lost")
	}
	if theirs.lost == 0 {
		t.Error("the kubelet lost nothing: this proves nothing")
	}
	if float64(ours.tree) >= 0.6*float64(theirs.tree) {
		t.Error("the directory grew too large")
	}
}

// burster rotates the logs of containers below root until done, and returns how
// long the longest pass took, and how long it was from one to the next. The
// signal does what the runtime does.
func burster(t testing.TB, root string, limit int64, wait time.Duration, writers map[string]*disktest.Writer, done <-chan struct{}) (longest, apart time.Duration) {
	k := hostconfig.DefaultKubelet()
	k.LogMaxSizeBytes = limit
	b, err := New("/proc", root, k, wait, func(_ context.Context, l workload.Log, _ string) (Runtime, error) {
		w := writers[l.Container]
		if w == nil {
			return Runtime{}, errors.New("no such container")
		}
		return Runtime{Reopen: func(context.Context) error { return w.Cmd.Process.Signal(unix.SIGHUP) }}, nil
	})
	if err != nil {
		t.Error(err)
		return 0, 0
	}
	defer b.Close()
	say := func(all []logdir.Action) {
		for _, a := range all {
			if a.Err != nil && !errors.Is(a.Err, os.ErrProcessDone) {
				t.Logf("%+v", a)
			}
		}
	}
	var settling sync.WaitGroup
	defer settling.Wait()
	settling.Go(func() {
		for tick := time.NewTicker(PollInterval); ; {
			say(b.FinishRotations(context.Background(), time.Now()))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	last := time.Now()
	for tick := time.NewTicker(PollInterval); ; {
		began := time.Now()
		apart, last = max(apart, began.Sub(last)), began
		say(b.Pass(context.Background(), false, time.Now()))
		longest = max(longest, time.Since(began))
		select {
		case <-done:
			return longest, apart
		case <-tick.C:
		}
	}
}

// Two containers that write 32 MB/s each stay near their limit of 10 MiB, five
// files each.
//
// On a machine on which no process can look every quarter of a second, they come as much
// further as is written between two looks.
func TestOvershootForReal(t *testing.T) {
	privtest.Root(t)
	root := t.TempDir()
	const limit = 10 << 20
	writers := map[string]*disktest.Writer{}
	var files []string
	for _, name := range []string{"one", "two"} {
		_, file := disktest.PodLog(t, root, name)
		writers[name] = disktest.StartWriter(t, file, "REOPEN=1", "WIDTH=162", "RATE=200000")
		disktest.Start(t, "sh", "-c", "exec tail -F "+file+" >/dev/null 2>&1") // without a reader a log is the kubelet's to rotate
		files = append(files, file)
	}
	done := make(chan struct{})
	var running sync.WaitGroup
	var tree, largest uint64
	running.Go(func() { tree, largest = peak(root, done) })
	var longest, apart time.Duration
	running.Go(func() { longest, apart = burster(t, root, limit, 0, writers, done) })
	began := time.Now()
	time.Sleep(max(time.Duration(disktest.Scale(40))*time.Second, 8*time.Second))
	close(done)
	running.Wait()
	seconds := time.Since(began).Seconds()
	total := 0
	for _, w := range writers {
		_ = w.Cmd.Process.Signal(unix.SIGTERM)
		total += <-w.Done
	}
	between := float64(200_000*162) * (max(PollInterval, apart) + longest).Seconds()
	most := max(2*limit, limit+uint64(between))
	t.Logf("%.1f MB/s in all: largest live log %d MiB, tree %d MiB; the longest pass took %v, passes were %v apart at most", float64(total)*162/1e6/seconds, largest>>20, tree>>20, longest, apart)
	if largest > most {
		t.Errorf("a live log of %d bytes, more than %d", largest, most)
	}
	if tree > uint64(len(files))*5*most/2 {
		t.Errorf("%d bytes in all, more than five files of %d for each container", tree, most/2)
	}
}
