package accounting

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/inotifytest"
	"github.com/nodetune/nodetune/internal/instances"
	"github.com/nodetune/nodetune/internal/openfiles"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// logOf makes the log of a container below root, and returns its path.
func logOf(t testing.TB, root, pod string, size int) string {
	t.Helper()
	dir := filepath.Join(root, "var/log/pods", "logs_"+pod+"_12345678-1234-1234-1234-123456789abc", "app")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "0.log")
	if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts a process that ends with the test, with these files as its descriptors
// from 3 on.
func start(t testing.TB, files []*os.File, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// kernelSource is the walk of this kernel, which the tests below need.
func kernelSource(t testing.TB) *Source {
	t.Helper()
	h, err := Open(host.Roots{Procfs: "/proc", Sysfs: "/sys", Rootfs: t.TempDir()}, inotify.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	if h.noWalk != nil {
		t.Fatal(h.noWalk)
	}
	return h
}

// seen is what of a pass must not depend on the source.
func seen(u disk.Usage, churn bool) (readers []logs.Reader, deleted []logs.Deleted) {
	for _, r := range u.Readers {
		if churn || !strings.Contains(r.Path, "churn") {
			r.StalledSince, r.PredictedLossBytes = nil, 0 // they depend on when a pass is made
			readers = append(readers, r)
		}
	}
	slices.SortFunc(readers, func(a, b logs.Reader) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.Inode, b.Inode))
	})
	for _, d := range u.Deleted {
		if strings.Contains(d.Path, "var/log/pods/logs_") && (churn || !strings.Contains(d.Path, "churn")) {
			slices.SortFunc(d.Holders, func(a, b logdir.Opener) int { return cmp.Compare(a.PID, b.PID) })
			deleted = append(deleted, d)
		}
	}
	slices.SortFunc(deleted, func(a, b logs.Deleted) int { return cmp.Compare(a.Path, b.Path) })
	return readers, deleted
}

// TestReadersAgree: the kernel's descriptor tables and procfs show the same readers,
// while other files are made, opened, renamed, deleted and closed as fast as possible.
// Of these files, the two passes may see different states, since one comes after the
// other. Once they rest, new observers show the same of them, too.
func TestReadersAgree(t *testing.T) {
	privtest.Root(t)
	root := t.TempDir()
	var watched []string
	for i := range 8 {
		path := logOf(t, root, fmt.Sprint("web-", i), 1000)
		watched = append(watched, path)
		var files []*os.File
		for j := range 3 { // three descriptors of one log, at several offsets
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.Seek(int64(100*i+j), 0); err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		writer, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer writer.Close()
		start(t, append(files, writer), "sleep", "1000")
	}
	gone, err := os.Open(logOf(t, root, "gone", 5000))
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	start(t, nil, "inotifywait", append([]string{"-q", "-m", "-e", "delete_self"}, watched...)...)

	kernel := newObserver(t, root)
	kernel.OpenFiles = kernelSource(t)
	procfs := newObserver(t, root)
	pass := func(o *disk.Observer) disk.Usage {
		t.Helper()
		u, err := o.Observe(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if u := pass(kernel); u.Scan.ReadersFrom != disk.ReadersFromProcfs || u.Scan.ReadersReason == "" {
		t.Errorf("the first pass knows no directories, and has its readers from %+v", u.Scan.ReadersSource)
	}
	pass(procfs)
	if err := os.Remove(gone.Name()); err != nil {
		t.Fatal(err)
	}

	stop, stopped := make(chan struct{}), make(chan int)
	go func() { stopped <- churn(root, stop) }()
	compare := func(what string, all bool) (n int) {
		t.Helper()
		var readers [2][]logs.Reader
		var deleted [2][]logs.Deleted
		for i, o := range []*disk.Observer{kernel, procfs} {
			u := pass(o)
			if want := []string{disk.ReadersFromKernel, disk.ReadersFromProcfs}[i]; u.Scan.ReadersFrom != want {
				t.Fatalf("%s: the source is %+v, want %s", what, u.Scan.ReadersSource, want)
			}
			readers[i], deleted[i] = seen(u, all)
		}
		if !reflect.DeepEqual(readers[0], readers[1]) {
			t.Errorf("%s: the kernel shows\n%s\nprocfs shows\n%s", what, rows(readers[0]), rows(readers[1]))
		}
		if !reflect.DeepEqual(deleted[0], deleted[1]) {
			t.Errorf("%s: deleted files are, of the kernel\n%+v\nof procfs\n%+v", what, deleted[0], deleted[1])
		}
		if len(deleted[0]) == 0 {
			t.Errorf("%s: no deleted file", what)
		}
		return len(readers[0])
	}
	// The watches of inotifywait are there when it has made them.
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		r, _ := seen(pass(procfs), false)
		if n := len(slices.DeleteFunc(r, func(r logs.Reader) bool { return !r.Watched })); n == len(watched) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("procfs does not show the watches: %s", rows(r))
		}
	}
	for i := range 20 {
		// This process, 8 of sleep, inotifywait, and the deleted log.
		if n := compare(fmt.Sprint("during the churn, pass ", i), false); n != 3*len(watched)+1 {
			t.Errorf("%d readers, want %d", n, 3*len(watched)+1)
		}
	}
	close(stop)
	if rounds := <-stopped; rounds < 20 {
		t.Errorf("only %d rounds of churn", rounds)
	}
	// What an observer knows of a file that was renamed or deleted depends on the passes
	// that saw it before, so these are new.
	source := kernel.OpenFiles
	kernel, procfs = newObserver(t, root), newObserver(t, root)
	kernel.OpenFiles = source
	pass(kernel)
	pass(procfs)
	if n := compare("at rest", true); n <= 3*len(watched)+1 {
		t.Errorf("%d readers, none of them of the files that were left open", n)
	}
}

func newObserver(t testing.TB, root string) *disk.Observer {
	t.Helper()
	o, err := disk.New("/proc", "/sys", root, disk.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// rows formats readers, one a line.
func rows(all []logs.Reader) string {
	var b strings.Builder
	for _, r := range all {
		pos := uint64(0)
		if r.OffsetBytes != nil {
			pos = *r.OffsetBytes
		}
		fmt.Fprintf(&b, "%d %s %s inode %d at %d of %d, open %t watched %t deleted %t\n", r.PID, r.Comm, r.Path, r.Inode, pos, r.SizeBytes, r.Open, r.Watched, r.Deleted)
	}
	return b.String()
}

// churn rotates, deletes and reads logs until stop, and returns how often. It leaves
// some files open.
func churn(root string, stop chan struct{}) (rounds int) {
	dir := filepath.Join(root, "var/log/pods/logs_churn_12345678-1234-1234-1234-123456789abd/app")
	_ = os.MkdirAll(dir, 0o755)
	path := filepath.Join(dir, "0.log")
	var open []*os.File
	defer func() { kept = open }()
	for {
		select {
		case <-stop:
			return rounds
		default:
		}
		rounds++
		_ = os.WriteFile(path, make([]byte, 100+rounds%7), 0o644)
		if f, err := os.Open(path); err == nil {
			_, _ = f.Seek(int64(rounds%100), 0)
			open = append(open, f)
		}
		if rounds%3 == 0 {
			_ = os.Remove(path)
		} else {
			_ = os.Rename(path, fmt.Sprintf("%s.20260101-%06d", path, rounds%50))
		}
		for len(open) > 30 {
			_ = open[0].Close()
			open = open[1:]
		}
	}
}

// kept has the files that churn leaves open.
var kept []*os.File

// BenchmarkReaders compares a pass for the readers of logs of both sources, one after
// the other, by the CPU time that they take, on a node with 2,200 processes, 90,000
// descriptors, 200,000 watches and 16,000 log files that are open.
func BenchmarkReaders(b *testing.B) {
	privtest.Host(b)
	privtest.Set(b, "fs.inotify.max_user_instances", "1024")
	privtest.Set(b, "fs.inotify.max_user_watches", "524288")
	inotifytest.New(b, 30_000).Start(
		inotifytest.Spec{Kind: inotifytest.FDs, Processes: 900, UID: 71000, Instances: 64},
		inotifytest.Spec{Kind: inotifytest.FDs, Processes: 734, UID: 71001, Instances: 3},
		inotifytest.Spec{Kind: inotifytest.Plain, Processes: 200, UID: 71002, Instances: 1, Watches: 202},
		inotifytest.Spec{Kind: inotifytest.Plain, Processes: 10, UID: 71003, Instances: 8, Watches: 202},
		inotifytest.Spec{Kind: inotifytest.Plain, Processes: 116, UID: 71004, Instances: 1, Watches: 202},
		inotifytest.Spec{Kind: inotifytest.Plain, Processes: 4, UID: 71007, Instances: 1, Watches: 30_000},
	)
	const pods, perPod = 200, 80
	const files = pods * perPod
	root := b.TempDir()
	for i := range pods {
		dir := filepath.Dir(logOf(b, root, fmt.Sprint("pod-", i), 100))
		var open []*os.File
		for j := range perPod {
			f, err := os.Create(filepath.Join(dir, fmt.Sprint(j, ".log")))
			if err != nil {
				b.Fatal(err)
			}
			_, _ = f.Write(make([]byte, 100))
			_ = f.Close()
			if f, err = os.Open(f.Name()); err != nil {
				b.Fatal(err)
			}
			open = append(open, f)
		}
		start(b, open, "sleep", "1000") // reads all logs of this pod
		for _, f := range open {
			_ = f.Close()
		}
	}
	rootfs, err := hostfs.Open(root)
	if err != nil {
		b.Fatal(err)
	}
	defer rootfs.Close()
	tree := &logs.Tree{Host: "/var/log", Pods: "/var/log/pods", Keep: logs.MaxOpenDirs()}
	if err := tree.Update(rootfs, time.Now(), true); err != nil {
		b.Fatal(err)
	}
	trees := map[string]*logs.Tree{"/var/log": tree}
	mounts, err := filesystem.ReadHostMounts("/proc", rootfs)
	if err != nil {
		b.Fatal(err)
	}
	walker, err := procwalk.New("/proc")
	if err != nil {
		b.Fatal(err)
	}
	defer walker.Close()
	names := workload.NewIndex(root)
	source := kernelSource(b)
	reader := instances.NewReader(walker, "/proc", "/sys")
	byProcfs, byKernel := logs.NewReaderTracker(time.Hour), logs.NewReaderTracker(time.Hour)
	policy := disk.DefaultPolicy().Readers
	procfs := func() int {
		s := byProcfs.NewSnapshot(names)
		s.Procfs = "/proc"
		if _, err := walker.Walk(b.Context(), s.Visitor()); err != nil {
			b.Fatal(err)
		}
		s.ReadWatches(b.Context(), reader, time.Now())
		all, _ := byProcfs.Readers(s, trees, mounts, policy, time.Now())
		return len(all)
	}
	var walk time.Duration
	kernel := func() int {
		s := byKernel.NewSnapshot(names)
		s.Procfs = "/proc"
		filter, err := logs.OpenFilesFilter(trees, mounts)
		if err != nil {
			b.Fatal(err)
		}
		var scan openfiles.Scan
		walk += cpuOf(func() { scan, err = source.OpenFiles(filter) })
		if err != nil {
			b.Fatal(err)
		}
		s.Add(scan, walker)
		all, _ := byKernel.Readers(s, trees, mounts, policy, time.Now())
		return len(all)
	}
	// The first pass of each reads all watches.
	if n, m := procfs(), kernel(); n < files || n != m {
		b.Fatalf("procfs shows %d readers, and the kernel %d, want %d", n, m, files)
	}
	walk = 0
	var cpu [2]time.Duration
	for b.Loop() {
		cpu[0] += cpuOf(func() { procfs() })
		cpu[1] += cpuOf(func() { kernel() })
	}
	b.ReportMetric(float64(cpu[0].Microseconds())/1000/float64(b.N), "procfs-ms/pass")
	b.ReportMetric(float64(cpu[1].Microseconds())/1000/float64(b.N), "kernel-ms/pass")
	b.ReportMetric(float64(walk.Microseconds())/1000/float64(b.N), "walk-ms/pass")
	b.ReportMetric(float64(cpu[0])/float64(cpu[1]), "x-kernel")
	b.ReportMetric(0, "ns/op")
}

func cpuOf(f func()) time.Duration {
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	f()
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	return time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
}
