package procscan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/bits"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/inotifytest"
	"github.com/nodetune/nodetune/internal/instances"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/internal/procwalk"
)

// heavy is 2,000 processes of 8 users with 400 instances, 200,000 watches and
// 70,000 descriptors.
var heavy = []inotifytest.Spec{
	{Kind: inotifytest.FDs, Processes: 900, UID: 71000, Instances: 64},
	{Kind: inotifytest.FDs, Processes: 734, UID: 71001, Instances: 3},
	{Kind: inotifytest.Plain, Processes: 200, UID: 71002, Instances: 1, Watches: 202},
	{Kind: inotifytest.Plain, Processes: 10, UID: 71003, Instances: 8, Watches: 202},
	{Kind: inotifytest.Fork, Processes: 20, UID: 71004, Instances: 3, Watches: 202, Copies: 5},
	{Kind: inotifytest.Thread, Processes: 10, UID: 71005, Instances: 2, Watches: 202},
	{Kind: inotifytest.DeadLeader, Processes: 6, UID: 71006, Instances: 6, Watches: 202},
	{Kind: inotifytest.Plain, Processes: 4, UID: 71007, Instances: 1, Watches: 30_000},
}

// BenchmarkPass compares a pass with what else there is to count with, one
// after the other in every round, by the CPU time they take. It needs root.
//
//	cpu-ms/pass     a pass
//	x-bare          a pass, in units of the same system calls in a bare loop
//	x-bare-nofd     the same without the records of the instances
//	x-nofdinfo      a pass without them, in units of one with
//	x-fdcount       counting all descriptors by the size of PID/fd, in the same
//	x-find, x-lsof, x-procfs   the others, in units of a pass
//	x-walk, x-table            the kernel's descriptor tables and counters, in the same
//	x-kernelpass               a pass that asks both, in the same
//	allocs/pass, rss-MiB       of a pass, and of a process that makes ten
//	kernel-open-ms, kernel-rssanon-MiB   loading both, and what a process keeps
func BenchmarkPass(b *testing.B) {
	privtest.Host(b)
	privtest.Set(b, "fs.inotify.max_user_instances", "1024")
	privtest.Set(b, "fs.inotify.max_user_watches", "524288")
	inotifytest.New(b, 30_000).Start(heavy...)
	everything := func(p *inotify.Policy) { p.CountPercent, p.MaxReadWatches = 100, 1<<30 }
	s, u := scan(b, everything)
	nofdinfo, _ := scan(b, func(p *inotify.Policy) { p.CountWatches = false })
	if u.Instances < 400 || u.Watches < 199_000 || u.Walk.FDs < 70_000 || u.Walk.Processes < 2000 {
		b.Fatalf("%d instances, %d watches, %d descriptors, %d processes", u.Instances, u.Watches, u.Walk.FDs, u.Walk.Processes)
	}
	bare := newBare(b, s)

	only := buildOnly(b, "onlykernel")
	var kernel onlyKernel
	var cpu struct{ pass, nofdinfo, fdcount, bare, bareNoFD, find, lsof, procfs time.Duration }
	var allocs uint64
	b.ReportAllocs()
	for b.Loop() {
		s.reader.Forget() // every record is read again
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		cpu.pass += used(unix.RUSAGE_SELF, func() { usageOf(b, s) })
		runtime.ReadMemStats(&after)
		allocs += after.Mallocs - before.Mallocs
		cpu.bare += used(unix.RUSAGE_SELF, func() { bare.pass(true) })
		cpu.nofdinfo += used(unix.RUSAGE_SELF, func() { usageOf(b, nofdinfo) })
		cpu.bareNoFD += used(unix.RUSAGE_SELF, func() { bare.pass(false) })
		cpu.fdcount += used(unix.RUSAGE_SELF, func() { countFDs(b, s.walker) })
		cpu.find += used(unix.RUSAGE_CHILDREN, func() { run("sh", "-c", "find /proc/[0-9]*/fd -lname anon_inode:inotify") })
		cpu.lsof += used(unix.RUSAGE_CHILDREN, func() { run("lsof", "-nPl") })
		cpu.procfs += used(unix.RUSAGE_SELF, func() { fileDescriptorsInfo(b) })
		kernel.add(b, only)
	}
	per := func(d, of time.Duration) float64 { return float64(d) / float64(of) }
	b.ReportMetric(float64(cpu.pass.Milliseconds())/float64(b.N), "cpu-ms/pass")
	b.ReportMetric(per(cpu.pass, cpu.bare), "x-bare")
	b.ReportMetric(per(cpu.nofdinfo, cpu.bareNoFD), "x-bare-nofd")
	b.ReportMetric(per(cpu.nofdinfo, cpu.pass), "x-nofdinfo")
	b.ReportMetric(per(cpu.fdcount, cpu.pass), "x-fdcount")
	b.ReportMetric(per(cpu.find, cpu.pass), "x-find")
	b.ReportMetric(per(cpu.lsof, cpu.pass), "x-lsof")
	b.ReportMetric(per(cpu.procfs, cpu.pass), "x-procfs")
	b.ReportMetric(per(kernel.Walk, cpu.pass), "x-walk")
	b.ReportMetric(per(kernel.Table, cpu.pass), "x-table")
	b.ReportMetric(per(kernel.Pass, cpu.pass), "x-kernelpass")
	b.ReportMetric(float64(kernel.Open.Milliseconds())/float64(b.N), "kernel-open-ms")
	b.ReportMetric(float64(kernel.RSSAnonKiB)/1024, "kernel-rssanon-MiB")
	b.ReportMetric(float64(allocs)/float64(b.N), "allocs/pass")
	b.ReportMetric(rss(b), "rss-MiB")
	b.ReportMetric(0, "ns/op") // of all of them together: says nothing
	b.ReportMetric(0, "B/op")
	b.ReportMetric(0, "allocs/op")
}

func usageOf(b *testing.B, s *Scanner) {
	u, err := s.Usage(b.Context())
	if err != nil || u.Instances < 400 {
		b.Fatalf("%d instances, %v", u.Instances, err)
	}
}

func countFDs(b *testing.B, w *procwalk.Walker) {
	fds := 0
	_, err := w.Walk(b.Context(), &procwalk.Visitor{Enter: func(p *procwalk.Process) bool {
		n, _ := p.FDCount()
		fds += n
		return false
	}})
	if err != nil || fds < 70_000 {
		b.Fatalf("%d descriptors, %v", fds, err)
	}
}

func used(who int, f func()) time.Duration {
	var before, after unix.Rusage
	_ = unix.Getrusage(who, &before)
	f()
	_ = unix.Getrusage(who, &after)
	return time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
}

// run ignores the exit code: find and lsof miss processes that end meanwhile.
func run(name string, args ...string) { _, _ = exec.Command(name, args...).Output() }

// fileDescriptorsInfo is what procfs offers to count watches with.
func fileDescriptorsInfo(b *testing.B) {
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		b.Fatal(err)
	}
	all, err := fs.AllProcs()
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range all {
		infos, err := p.FileDescriptorsInfo()
		if err != nil {
			continue
		}
		_, _ = infos.InotifyWatchLen()
	}
}

func buildOnly(b *testing.B, name string) string {
	bin := filepath.Join(b.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", bin, "./testdata/"+name).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// onlyKernel is what testdata/onlykernel prints, summed up.
type onlyKernel struct {
	Open, Walk, Table, Pass time.Duration
	Instances               int64
	RSSAnonKiB              int64 // the most
}

func (k *onlyKernel) add(b *testing.B, bin string) {
	out, err := exec.Command(bin).Output()
	if err != nil {
		b.Fatal(err)
	}
	var one onlyKernel
	if err := json.Unmarshal(out, &one); err != nil || one.Instances < 400 {
		b.Fatalf("%v: %s", err, out)
	}
	k.Open += one.Open
	k.Walk += one.Walk
	k.Table += one.Table
	k.Pass += one.Pass
	k.RSSAnonKiB = max(k.RSSAnonKiB, one.RSSAnonKiB)
}

// rss returns the most memory that a process which does nothing else takes for
// ten passes.
func rss(b *testing.B) float64 {
	out, err := exec.Command(buildOnly(b, "onlyscan")).Output()
	if err != nil {
		b.Fatal(err)
	}
	kib, err := strconv.Atoi(string(bytes.TrimSpace(out)))
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib) / 1024
}

// bareLoop makes the system calls of a pass and nothing else: it keeps
// nothing, compares nothing and counts nothing.
type bareLoop struct {
	b        *testing.B
	holders  map[string]bool // whose stat, status and ns/user are read
	holdings []instances.Descriptor
	records  []string
	dents    []byte
	buf      []byte
}

func newBare(b *testing.B, s *Scanner) *bareLoop {
	l := &bareLoop{b: b, holders: map[string]bool{}, dents: make([]byte, 32<<10), buf: make([]byte, 64<<10)}
	l.holdings = append(l.holdings, s.holdings...)
	all, _, err := s.reader.Distinct(s.holdings)
	if err != nil {
		b.Fatal(err)
	}
	for _, h := range s.holdings {
		l.holders[strconv.Itoa(s.scratch[h.Process].PID)] = true
	}
	for _, in := range all {
		h := s.holdings[in.Holders[0]]
		l.records = append(l.records, fmt.Sprintf("%d/fdinfo/%d", h.TID, h.FD))
	}
	return l
}

func (l *bareLoop) pass(records bool) {
	root, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		l.b.Fatal(err)
	}
	defer unix.Close(root)
	pids := make([]byte, 32<<10)
	for {
		n, _ := unix.Getdents(root, pids)
		if n <= 0 {
			break
		}
		for rest := pids[:n]; len(rest) > 19; {
			length := int(rest[16]) | int(rest[17])<<8
			name := rest[19:length]
			if name[0] >= '1' && name[0] <= '9' {
				l.process(root, name)
			}
			rest = rest[length:]
		}
	}
	// Binary search: log2 of the instances for each, and each with itself.
	steps := bits.Len(uint(len(l.records)))
	for i, h := range l.holdings {
		for range steps {
			other := &l.holdings[(i+1)%len(l.holdings)]
			_, _ = procwalk.CompareFile(h.TID, h.FD, other.TID, other.FD)
		}
	}
	if !records {
		return
	}
	for _, r := range l.records {
		dir, err := unix.Openat(root, r[:bytes.IndexByte([]byte(r), '/')], unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		l.read(dir, r[bytes.IndexByte([]byte(r), '/')+1:])
		unix.Close(dir)
	}
}

func (l *bareLoop) process(root int, name []byte) {
	pid := unix.ByteSliceToString(name)
	dir, err := unix.Openat(root, pid, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(dir)
	fds := l.links(dir)
	if l.holders[pid] {
		l.read(dir, "stat")
		l.read(dir, "status")
		_, _ = unix.Readlinkat(dir, "ns/user", l.buf)
	}
	if l.holders[pid] || fds >= minFDs {
		l.read(dir, "limits")
	}
	var st unix.Stat_t
	_ = unix.Fstatat(dir, "task", &st, 0)
	if st.Nlink > 3 {
		task, err := unix.Openat(dir, "task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		defer unix.Close(task)
		buf := make([]byte, 8<<10)
		n, _ := unix.Getdents(task, buf)
		for rest := buf[:max(n, 0)]; len(rest) > 19; {
			length := int(rest[16]) | int(rest[17])<<8
			if tid := unix.ByteSliceToString(rest[19:length]); tid[0] != '.' && tid != pid {
				if t, err := unix.Openat(task, tid, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
					if l.holders[pid] {
						l.links(t)
					}
					unix.Close(t)
				}
			}
			rest = rest[length:]
		}
		_, _ = unix.Getdents(task, buf)
	}
}

func (l *bareLoop) links(dir int) (n int) {
	fd, err := unix.Openat(dir, "fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	for {
		got, _ := unix.Getdents(fd, l.dents)
		if got <= 0 {
			return n
		}
		for rest := l.dents[:got]; len(rest) > 19; {
			length := int(rest[16]) | int(rest[17])<<8
			if name := rest[19:length]; name[0] != '.' {
				n++
				_, _, _ = unix.RawSyscall6(unix.SYS_READLINKAT, uintptr(fd), uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&l.buf[0])), 4096, 0, 0)
			}
			rest = rest[length:]
		}
	}
}

func (l *bareLoop) read(dir int, name string) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	for {
		if n, err := unix.Read(fd, l.buf); err != nil || n == 0 {
			return
		}
	}
}
