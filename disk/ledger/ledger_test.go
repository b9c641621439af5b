package ledger

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/workload"
)

// replica is a container's log with a writer, the kubelet's rotation and one collector,
// all of whose reads are known. The collector is this process.
type replica struct {
	t    *testing.T
	l    *Ledger
	log  string // the path of N.log
	now  time.Time
	w    *os.File
	open []*held // the collector's files, the oldest first
	end  map[*held]time.Time

	written, got int64
	totals       map[Cause]uint64
	read         uint64
}

type held struct {
	*os.File
	read int64
}

var web = workload.Workload{Namespace: "shop", Pod: "web", PodUID: disktest.PodUID(1), Container: "app"}

func newReplica(t *testing.T) *replica {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "var/log/pods/shop_web_"+web.PodUID+"/app")
	disktest.Must(t, os.MkdirAll(dir, 0o755))
	l, err := New("/proc", root, time.Now().Add(-time.Hour))
	disktest.Must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	r := &replica{t: t, l: l, log: filepath.Join(dir, "0.log"), now: time.Now(), end: map[*held]time.Time{}, totals: map[Cause]uint64{}}
	r.create()
	r.follow()
	p, err := l.walker.Open(os.Getpid())
	disktest.Must(t, err)
	st, err := p.Stat()
	disktest.Must(t, err)
	start := st.Start
	p.Close()
	l.Learn([]logs.Reader{{PID: os.Getpid(), Start: start, Path: "/var/log/pods/shop_web_" + web.PodUID + "/app/0.log", Log: web, Open: true}}, false)
	return r
}

func (r *replica) create() {
	r.t.Helper()
	f, err := os.OpenFile(r.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	disktest.Must(r.t, err)
	r.t.Cleanup(func() { _ = f.Close() })
	r.w = f
}

func (r *replica) write(n int) {
	r.t.Helper()
	_, err := r.w.Write(make([]byte, n))
	disktest.Must(r.t, err)
	r.written += int64(n)
}

// follow makes the collector open the log.
func (r *replica) follow() {
	r.t.Helper()
	f, err := os.Open(r.log)
	disktest.Must(r.t, err)
	r.open = append(r.open, &held{File: f})
}

// readSome makes the collector read, the oldest file first.
func (r *replica) readSome(n int) {
	r.t.Helper()
	buf := make([]byte, n)
	for _, h := range r.open {
		m, _ := h.Read(buf)
		h.read += int64(m)
		r.got += int64(m)
		if buf = buf[m:]; len(buf) == 0 {
			return
		}
	}
}

// leave makes the collector close its oldest file.
func (r *replica) leave() {
	r.t.Helper()
	disktest.Must(r.t, r.open[0].Close())
	r.open = r.open[1:]
}

// rotate is the kubelet's rotateLog: it compresses the archive of before, keeps two, and
// renames the log.
func (r *replica) rotate(n int) {
	r.t.Helper()
	old, err := filepath.Glob(r.log + ".*")
	disktest.Must(r.t, err)
	for _, p := range old {
		if !strings.HasSuffix(p, ".gz") {
			disktest.WriteFile(r.t, p+".tmp", "x")
			disktest.Must(r.t, os.Rename(p+".tmp", p+".gz"))
			disktest.Must(r.t, os.Remove(p))
		}
	}
	disktest.Must(r.t, os.Rename(r.log, fmt.Sprintf("%s.20260131-%06d", r.log, n)))
	r.create()
}

func (r *replica) sample(after time.Duration) {
	r.now = r.now.Add(after)
	r.l.Sample(r.now)
	e := r.l.Take()
	for _, x := range e.Losses {
		r.totals[x.Cause] += x.Bytes
		if x.Workload != web {
			r.t.Errorf("%+v", x)
		}
	}
	for _, n := range e.Read {
		r.read += n
	}
}

// A writer of 4 MB/s, a kubelet that rotates every three seconds, and a collector of
// 1 MB/s that leaves a rotated file after a second and a half: the ledger has what is
// really missing, within 1 %, and what was read. Times are steps: no clock is waited for.
func TestLedgerOfKubeletsRotation(t *testing.T) {
	r := newReplica(t)
	const step = 10 * time.Millisecond
	rotations, leaveAt := 0, -1
	for i := 1; i <= 6000; i++ {
		r.write(4000)
		r.readSome(1000)
		if i%307 == 0 { // neither falls upon a sample
			rotations++
			r.rotate(rotations)
			r.follow()
			leaveAt = i + 151
		}
		if i == leaveAt {
			r.leave()
		}
		if i%25 == 0 {
			r.sample(25 * step)
		}
	}
	// All that is left is read, and removed.
	for len(r.open) > 0 {
		for {
			before := r.got
			r.readSome(1 << 20)
			if r.got == before {
				break
			}
		}
		r.sample(step)
		r.leave()
	}
	disktest.Must(t, os.RemoveAll(filepath.Dir(r.log)))
	for range 3 {
		r.sample(step)
	}
	missing := float64(r.written - r.got)
	got := float64(r.totals[CauseRotation] + r.totals[CauseDeleted])
	t.Logf("%d rotations: %.0f bytes missing, the ledger has %v; %d read, the ledger has %d", rotations, missing, r.totals, r.got, r.read)
	if rotations < 15 || missing < 1e6 || math.Abs(got-missing) > missing/100 {
		t.Errorf("the ledger has %.0f of %.0f bytes", got, missing)
	}
	if math.Abs(float64(r.got)-float64(r.read)) > float64(r.got)/50 {
		t.Errorf("read: %d of %d bytes", r.read, r.got)
	}
}

// Each way in which a log goes, and its cause. Nothing is lost of what a collector has
// read to its end, or still has open.
func TestCauses(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(r *replica)
		want map[Cause]uint64
	}{
		"read to its end": {func(r *replica) {
			r.readSome(1000)
			r.sample(1)
			r.rotate(1)
			r.follow()
			r.leave()
			r.sample(1)
			r.rotate(2)
		}, nil},
		"removed by rotation, and still open": {func(r *replica) {
			r.rotate(1)
			r.follow()
			r.sample(1)
			r.rotate(2)
			r.sample(1)
			r.sample(1)
			r.readSome(1000)
		}, nil},
		"removed by rotation":               {func(r *replica) { r.rotate(1); r.follow(); r.sample(1); r.leave(); r.rotate(2) }, map[Cause]uint64{CauseRotation: 600}},
		"two rotations between two samples": {func(r *replica) { r.rotate(1); r.rotate(2); r.leave() }, map[Cause]uint64{CauseRotation: 600}},
		"truncated":                         {func(r *replica) { disktest.Must(r.t, os.Truncate(r.log, 0)); r.sample(1); r.leave() }, map[Cause]uint64{CauseTruncation: 600}},
		"truncated and read":                {func(r *replica) { r.readSome(1000); r.sample(1); disktest.Must(r.t, os.Truncate(r.log, 0)) }, nil},
		"the live log removed":              {func(r *replica) { r.leave(); disktest.Must(r.t, os.Remove(r.log)) }, map[Cause]uint64{CauseDeleted: 600}},
		"the pod removed":                   {func(r *replica) { r.leave(); disktest.Must(r.t, os.RemoveAll(filepath.Dir(r.log))) }, map[Cause]uint64{CauseDeleted: 600}},
		"the pod evicted": {func(r *replica) {
			r.l.Learn(nil, true)
			r.leave()
			disktest.Must(r.t, os.RemoveAll(filepath.Dir(filepath.Dir(r.log))))
		}, map[Cause]uint64{CauseEviction: 600}},
		"a log that no collector opened": {func(r *replica) {
			r.readSome(1000)
			r.sample(1)
			r.rotate(1)
			r.write(500)
			r.sample(1)
			r.leave()
			r.rotate(2)
			r.sample(1)
			r.rotate(3)
		}, map[Cause]uint64{CauseUnknown: 500}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t)
			r.write(1000)
			r.readSome(400)
			r.sample(time.Second)
			c.do(r)
			for range 3 {
				r.sample(time.Second)
			}
			if fmt.Sprint(r.totals) != fmt.Sprint(c.want) && (len(r.totals) > 0 || len(c.want) > 0) {
				t.Errorf("%v, want %v", r.totals, c.want)
			}
		})
	}
}

// What was removed before the Ledger began, or was there and never seen to be read, is
// not counted; neither is a person's reader, nor a log of no pod.
func TestLedgerLeavesOut(t *testing.T) {
	r := newReplica(t)
	r.l.began = time.Now().Add(time.Hour) // all files are older
	r.leave()
	r.write(1000)
	r.sample(time.Second)
	r.rotate(1)
	r.rotate(2)
	for range 3 {
		r.sample(time.Second)
	}
	if len(r.totals) != 0 || r.read != 0 {
		t.Errorf("%v, %d read", r.totals, r.read)
	}
	before := len(r.l.collectors)
	r.l.Learn([]logs.Reader{
		{PID: 1, Open: true, Log: web, Interactive: true}, {PID: 1, Open: true, Path: "/var/log/syslog"}, {PID: 1, Log: web},
	}, false)
	if len(r.l.collectors) != before || len(r.l.dirs) != 1 {
		t.Errorf("%v, %v", r.l.collectors, r.l.dirs)
	}
}
