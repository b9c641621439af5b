package containerlog

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/internal/workload"
)

// A collector that opens the log every five seconds, reads it and closes it, so that no
// reader is seen: with nodetune beside the kubelet it misses no more lines than with the
// kubelet alone. Sizes are a tenth, unless at full size.
func TestLossPoller(t *testing.T) {
	limit, rate := int64(disktest.Scale(10<<20)), disktest.Scale(10_000_000)
	for _, smart := range []bool{false, true} {
		for _, phase := range []int{0, 3} { // seconds between the kubelet's look and the poller's
			name := fmt.Sprintf("by name, phase %d s", phase)
			if smart {
				name = fmt.Sprintf("and its archives, phase %d s", phase)
			}
			t.Run(name, func(t *testing.T) {
				run := func(with bool) (missed, lines int, s *simulation) {
					s = newSimulation(t, t.TempDir(), limit, rate)
					if with {
						s.addNodetune(limit)
					}
					p := newPoller(smart)
					s.each = func(step int) {
						if (step+phase*int(time.Second/PollInterval))%int(5*time.Second/PollInterval) == 0 {
							p.poll(t, s.file)
						}
					}
					s.run(time.Minute)
					p.poll(t, s.file)
					return s.lines - len(p.got), s.lines, s
				}
				alone, lines, _ := run(false)
				both, _, s := run(true)
				t.Logf("%d lines: %d (%d %%) missed with the kubelet alone, %d (%d %%) with nodetune beside it, which acted %d times",
					lines, alone, 100*alone/lines, both, 100*both/lines, len(s.acts))
				if both > alone {
					t.Error("with nodetune more lines were missed")
				}
				if !smart && alone == 0 {
					t.Error("the kubelet alone lost nothing: this proves nothing")
				}
			})
		}
	}
}

// A collector that has stopped reading, and a disk that gets short: what is available
// stays above the kubelet's threshold and its margin, no write is refused, and each byte that
// is is removed unread is counted.
func TestLossStalled(t *testing.T) {
	privtest.Root(t)
	const threshold, margin = 10, 2 // percent: the kubelet's, and where nodetune calls it critical
	size, limit := int64(disktest.Scale(512<<20)), int64(disktest.Scale(10<<20))
	loads, span := []int64{1, 2, 4}, 2*time.Minute // in hundredths of the disk a second
	if size < 64<<20 {
		size, limit = 64<<20, 1<<20
		loads, span = []int64{4}, 45*time.Second
	}
	for _, kubelet := range []string{"rotates", "is stuck", "does not rotate"} {
		for _, perSecond := range loads {
			rate := int(size / 100 * perSecond)
			t.Run(fmt.Sprintf("the kubelet %s, %.1f MB a second", kubelet, float64(rate)/1e6), func(t *testing.T) {
				root := disktest.LogDisk(t, size)
				s := newSimulation(t, root, limit, rate)
				disktest.Must(t, os.Chmod(filepath.Join(root, "var/log/pods"), 0o755))
				s.addNodetune(limit)
				if kubelet != "rotates" {
					s.kubelet = nil
				}
				if kubelet == "does not rotate" { // disk.mode: exclusive
					s.tune.alone, s.tune.late = true, s.tune.late/2
				}
				least := 100.0
				space := func() filesystem.Filesystem {
					f, err := s.tune.Space()
					disktest.Must(t, err)
					return f
				}
				policy := filesystem.PressurePolicy{AvailPercent: threshold + 5}
				s.pressed = func() bool {
					f := space()
					s.tune.LeftBytes = policy.LeftBytes(f)
					return policy.Short(f)
				}
				s.write()
				stuck, end := disktest.HoldOpen(t, s.file)
				defer end()
				_, err := stuck.Seek(100, io.SeekStart)
				disktest.Must(t, err)
				_ = stuck.Close()
				s.each = func(int) {
					f := space()
					least = min(least, filesystem.Percent(f.AvailBytes, f.SizeBytes))
				}
				s.run(span)
				var lost uint64
				for _, a := range s.acts {
					lost += a.Unread
				}
				t.Logf("%d MB written; least available %.1f %%, %d lines refused, %d bytes removed unread and counted", s.wrote>>20, least, s.full, lost)
				if least < threshold+margin || s.full > 0 {
					t.Errorf("least available %.1f %%, %d lines refused", least, s.full)
				}
				if s.kubelet != nil {
					return // it removes archives, too: package ledger counts those
				}
				// Nothing else removes: what is not there any more has been counted,
				// but for the file that the reader has open.
				left := uint64(0)
				all, err := filepath.Glob(s.file + "*")
				disktest.Must(t, err)
				for _, p := range all {
					left += contentOf(t, p)
				}
				if lost+left != s.wrote {
					t.Errorf("%d bytes were written, %d are left, and %d were counted as removed unread", s.wrote, left, lost)
				}
			})
		}
	}
}

// contentOf returns how many bytes of lines a log or an archive has.
func contentOf(t *testing.T, file string) uint64 {
	t.Helper()
	if strings.HasSuffix(file, ".gz") {
		n := disktest.Run(t, "sh", "-c", "gzip -dc "+file+" | wc -c")
		var bytes uint64
		_, err := fmt.Sscan(n, &bytes)
		disktest.Must(t, err)
		return bytes
	}
	st, err := os.Stat(file)
	disktest.Must(t, err)
	return uint64(st.Size())
}

// 100 logs over their limit behind one collector that has stopped reading, beside
// processes with many descriptors: looking for it takes at most 3 % of a core.
func TestStalledReaderCost(t *testing.T) {
	privtest.Root(t)
	const logs = 100
	descriptors, span := disktest.Scale(57_000), time.Duration(disktest.Scale(120))*time.Second
	root := t.TempDir()
	k := hostconfig.DefaultKubelet()
	k.LogMaxSizeBytes = 1 << 20
	var files []string
	for i := range logs {
		_, file := disktest.PodLog(t, root, fmt.Sprintf("c%d", i))
		disktest.WriteFile(t, file, strings.Repeat("x", 3<<20))
		files = append(files, file)
	}
	hold := func(env ...string) *exec.Cmd {
		cmd := disktest.Helper(t, "TestHelperDescriptors", env...)
		in, err := cmd.StdinPipe()
		disktest.Must(t, err)
		out, err := cmd.StdoutPipe()
		disktest.Must(t, err)
		disktest.Must(t, cmd.Start())
		t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
		_, err = out.Read(make([]byte, 1))
		disktest.Must(t, err)
		return cmd
	}
	hold("FILES=" + strings.Join(files, ":"))
	for left := descriptors; left > 0; left -= 19_000 {
		hold(fmt.Sprint("COUNT=", min(left, 19_000)))
	}
	b, err := New("/proc", root, k, 5*time.Second, func(context.Context, workload.Log, string) (Runtime, error) {
		return Runtime{}, os.ErrNotExist
	})
	disktest.Must(t, err)
	defer func() { _ = b.Close() }()
	used := func() time.Duration {
		var r unix.Rusage
		disktest.Must(t, unix.Getrusage(unix.RUSAGE_SELF, &r))
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	before, now, acts := used(), time.Now(), 0
	for range span / PollInterval {
		now = now.Add(PollInterval)
		acts += len(b.Pass(t.Context(), false, now))
	}
	cost := used() - before
	t.Logf("%d logs, %d descriptors, %v: %v of processor time, of which %v may be saved up, %.1f %% of a core",
		logs, descriptors, span, cost, walkCredit, 100*cost.Seconds()/span.Seconds())
	if most := span*3/100 + walkCredit + walkCredit/2; cost > most { // a walk may overdraw
		t.Errorf("%v of processor time in %v, more than %v", cost, span, most)
	}
	if acts != 0 {
		t.Errorf("%d acts, and every reader is behind", acts)
	}
}

// TestHelperDescriptors has FILES open, or COUNT descriptors, until its standard input
// ends.
func TestHelperDescriptors(t *testing.T) {
	if !disktest.IsHelper(t) {
		return // it is started by other tests
	}
	var open []*os.File
	for name := range strings.SplitSeq(os.Getenv("FILES"), ":") {
		if name == "" {
			continue
		}
		f, err := os.Open(name)
		disktest.Must(t, err)
		_, err = f.Read(make([]byte, 100))
		disktest.Must(t, err)
		open = append(open, f)
	}
	for range disktest.EnvInt("COUNT") {
		f, err := os.Open(os.DevNull)
		disktest.Must(t, err)
		open = append(open, f)
	}
	fmt.Fprint(os.Stdout, "r")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, f := range open {
		_ = f.Close()
	}
}
