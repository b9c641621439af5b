package logs

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/hostfs"
)

const appDir = "/var/log/pods/shop_web-0_11111111-2222-3333-4444-555555555555/app"

// oneLog returns the tree of a node with the log of one container.
func oneLog(size uint64, mtime, atime time.Time) map[string]*Tree {
	t := &Tree{Host: "/var/log", Pods: "/var/log/pods", Docker: DockerLogs, top: &dir{path: "/var/log"}}
	t.top.children = []*dir{{
		path: appDir, owner: ownerOf(t.Pods, t.Docker, appDir), dev: devno{0, 1},
		live: []file{{name: []byte("0.log\x00"), ino: 2, size: size, mtime: mtime, atime: atime}},
	}}
	return map[string]*Tree{t.Host: t}
}

var logInode = hostfs.Inode{Dev: 1, Ino: 2}

// model is a log and a process that reads it, as one look sees them.
type model struct {
	open    bool
	process process
	pos     uint64
	size    uint64
	read    time.Time // atime
	written time.Time
}

// An hour of looks at each way of reading a log, as often as the agent looks: every ten seconds
// in the kernel's tables, every half minute or two minutes in /proc.
func TestReadersForAnHour(t *testing.T) {
	const lineEvery = 200 // seconds
	lines := func(second int) uint64 { return 100 + uint64(second/lineEvery)*50 }
	at := func(second int) time.Time { return disktest.Epoch.Add(time.Duration(second) * time.Second) }
	written := func(second int) time.Time { return at(second / lineEvery * lineEvery) }
	following := func(p process) func(int) model { // reads all at every tenth second
		return func(s int) model {
			polled := (s - 3) / 10 * 10
			return model{open: true, process: p, pos: lines(polled), size: lines(s), read: at(polled), written: written(s)}
		}
	}
	stuck := func(p process) func(int) model { // read the first lines and no more
		return func(s int) model {
			return model{open: true, process: p, pos: 100, size: lines(s), read: at(0), written: written(s)}
		}
	}
	busy := func(s int) uint64 { return 1000 + uint64(s)*100 }
	daemon := process{pid: 812, start: 7, comm: "fluent-bit"}
	for name, c := range map[string]struct {
		at                              func(second int) model
		stalled, unfollowed, collecting bool
	}{
		"inotify, at the end":           {at: func(s int) model { return model{true, daemon, lines(s), lines(s), written(s), written(s)} }, collecting: true},
		"a poller of quiet logs":        {at: following(daemon), collecting: true},
		"slow, but it moves":            {at: func(s int) model { return model{true, daemon, uint64(s) + 1, busy(s), at(s), at(s)} }, collecting: true},
		"stuck":                         {at: stuck(daemon), stalled: true, collecting: true},
		"pread, offset 0":               {at: func(s int) model { return model{true, daemon, 0, busy(s), at(s), at(s)} }, collecting: true},
		"pread, noatime":                {at: func(s int) model { return model{true, daemon, 0, busy(s), at(0), at(s)} }, collecting: true},
		"pread after a header":          {at: func(s int) model { return model{true, daemon, 64, busy(s), at(s), at(s)} }, collecting: true},
		"mmap after a seek to the end":  {at: func(s int) model { return model{true, daemon, 900, busy(s), at(s - 1), at(s)} }, collecting: true},
		"opens, reads and closes":       {at: func(s int) model { return model{size: busy(s), read: at(s - 5), written: at(s)} }},
		"no reader":                     {at: func(s int) model { return model{size: busy(s), read: at(-1), written: at(s)} }, unfollowed: true},
		"stuck less on a terminal":      {at: stuck(process{pid: 813, comm: "less", interactive: isInteractive("less", true, "")}), unfollowed: true},
		"stuck tail in a session":       {at: stuck(process{pid: 813, comm: "tail", interactive: isInteractive("python3", false, "/user.slice/user-0.slice/session-3.scope")}), unfollowed: true},
		"stuck tail -f by kubectl exec": {at: stuck(process{pid: 813, comm: "tail", interactive: isInteractive("tail", false, "/kubepods/pod1")}), unfollowed: true},
		"stuck kubectl logs -f":         {at: stuck(process{pid: 814, comm: "k3s-server", kubelet: true}), unfollowed: true},
		"a poller of one line an hour": {at: func(s int) model {
			return model{true, daemon, 100 + uint64(max(s-10, 0)/1800), 100 + uint64(s/1800), at(max(s-10, 0) / 1800 * 1800), at(s / 1800 * 1800)}
		}, collecting: true},
		"it waits a minute each time": {at: func(s int) model { return model{true, daemon, busy(s / 60 * 60), busy(s), at(s / 60 * 60), at(s)} }, collecting: true},
		"it starts again each minute": {at: func(s int) model {
			return model{true, process{pid: 900 + s/60, start: uint64(s), comm: "fluent-bit"}, busy(s), busy(s), at(s), at(s)}
		}},
		"tail -f that works": {at: following(process{pid: 813, comm: "tail", interactive: true})},
	} {
		for _, step := range []int{10, 30, 120} {
			t.Run(fmt.Sprintf("%s, every %d s", name, step), func(t *testing.T) {
				f := NewReaderTracker(time.Hour)
				stalled, unfollowed := false, false
				policy := ReadersPolicy{StalledAfter: field.Duration(2 * time.Minute), UnfollowedAfter: field.Duration(2 * time.Minute), RotateWait: field.Duration(5 * time.Second)}
				for second := 0; second <= 3600; second += step {
					m, now := c.at(second), at(second)
					s := &ProcSnapshot{follow: f}
					if m.open {
						s.openings = []opening{{process: &m.process, file: logInode, size: m.size, pos: m.pos, links: 1, atime: m.read}}
					}
					readers, alone := f.Readers(s, oneLog(m.size, m.written, m.read), nil, policy, now)
					if m.open && len(readers) != 1 {
						t.Fatalf("%d readers, want 1", len(readers))
					}
					for _, r := range readers {
						stalled = stalled || r.StalledSince != nil
					}
					for _, x := range alone {
						unfollowed = unfollowed || x.GrewBytes > 0 && now.Sub(*x.Since) >= policy.UnfollowedAfter.D()
					}
				}
				if collecting := f.Collected(at(3600)); stalled != c.stalled || unfollowed != c.unfollowed || collecting != c.collecting {
					t.Errorf("stalled %t, unfollowed %t, collected %t; want %t, %t, %t", stalled, unfollowed, collecting, c.stalled, c.unfollowed, c.collecting)
				}
			})
		}
	}
}

func TestCollectedIsForgotten(t *testing.T) {
	at := func(minute int) time.Time { return disktest.Epoch.Add(time.Duration(minute) * time.Minute) }
	for _, c := range []struct {
		seen, after int // minutes
		want        bool
	}{{0, 0, true}, {0, 1, false}, {4, 3, true}, {4, 5, false}, {600, 59, true}, {600, 61, false}} {
		r := recency{most: time.Hour}
		for m := 0; m <= c.seen; m += 2 {
			r.see(at(m))
		}
		if got := r.holds(at(c.seen + c.after)); got != c.want {
			t.Errorf("seen for %d minutes, %d minutes later: %t", c.seen, c.after, got)
		}
	}
}

func TestInteractive(t *testing.T) {
	for _, c := range []struct {
		comm     string
		terminal bool
		cgroup   string
		want     bool
	}{
		{"fluent-bit", false, "/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope", false},
		{"rsyslogd", false, "/system.slice/rsyslog.service", false},
		{"vector", false, "/user.slice/user-1000.slice/user@1000.service/app.slice/vector.service", false},
		{"filebeat", false, "/", false},
		{"python3", false, "/user.slice/user-1000.slice/session-3.scope", true},
		{"python3", false, "/../../user.slice/user-0.slice/session-c1.scope", true},
		{"python3", false, "/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope", true},
		{"python3", true, "/system.slice/ssh.service", true},
		{"less", false, "/", true},
		{"batcat", false, "/kubepods/pod1/c1", true},
		{"restic", false, "/system.slice/backup.service", true},
		{"clamd", false, "/system.slice/clamav-daemon.service", true},
		{"bareos-fd", false, "/system.slice/bareos-fd.service", true},
		{"wdavdaemon", false, "/system.slice/mdatp.service", true},
		{"otelcol", false, "/", false},
		{"tail", false, "/kubepods/pod1/c1", true},
	} {
		if got := isInteractive(c.comm, c.terminal, c.cgroup); got != c.want {
			t.Errorf("%s, terminal %t, %s: %t", c.comm, c.terminal, c.cgroup, got)
		}
	}
}

// A process is a reader of a log by the file that it has open, never by the path
// that it sees: in its own root a container has any path it likes.
func TestReaderByInode(t *testing.T) {
	elsewhere := hostfs.Inode{Dev: 9, Ino: 2}
	tenant := &process{pid: 900, start: 1, comm: "spoof"}
	look := func(f *ReaderTracker, trees map[string]*Tree, o opening) []Reader {
		o.process = tenant
		got, _ := f.Readers(&ProcSnapshot{follow: f, openings: []opening{o}}, trees, nil, ReadersPolicy{}, disktest.Epoch)
		return got
	}
	trees := oneLog(1000, disktest.Epoch, disktest.Epoch)
	gone := map[string]*Tree{"/var/log": {Host: "/var/log", Pods: "/var/log/pods", top: &dir{path: "/var/log"}}}
	for name, c := range map[string]struct {
		file  hostfs.Inode
		path  string
		links uint32
	}{
		"another pod's path":    {elsewhere, appDir + "/0.log", 1},
		"a path below /var/log": {elsewhere, "/var/log/app.log", 1},
		"deleted, never seen":   {elsewhere, appDir + "/0.log", 0},
	} {
		f := NewReaderTracker(time.Hour)
		f.IsFile = func(_, _ string, at hostfs.Inode) bool { return at != elsewhere }
		for range 2 {
			if got := look(f, trees, opening{file: c.file, path: c.path, links: c.links, size: 1 << 40}); len(got) != 0 {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
	f := NewReaderTracker(time.Hour)
	if got := look(f, trees, opening{file: logInode, path: "/mnt/x", links: 1}); len(got) != 1 || got[0].Path != appDir+"/0.log" || got[0].Log.Pod != "web-0" {
		t.Errorf("the log by another path: %+v", got)
	}
	for range 3 {
		if got := look(f, gone, opening{file: logInode, path: "/mnt/x", links: 0}); len(got) != 1 || !got[0].Deleted || got[0].Log.Pod != "web-0" {
			t.Errorf("after it was deleted: %+v", got)
		}
	}
	look(f, gone, opening{file: elsewhere, path: "/x"})
	if got := look(f, gone, opening{file: logInode, links: 0}); len(got) != 0 {
		t.Errorf("closed and forgotten: %+v", got)
	}
	f = NewReaderTracker(time.Hour)
	f.IsFile = func(top, p string, at hostfs.Inode) bool {
		return top == "/var/log" && p == appDir+"/0.log.20260101-000000" && at == elsewhere
	}
	if got := look(f, gone, opening{file: elsewhere, path: appDir + "/0.log.20260101-000000", links: 1}); len(got) != 1 || got[0].Log.Pod != "web-0" {
		t.Errorf("an archive that is there: %+v", got)
	}
}

// What a walk remembers does not grow with the number of descriptors.
func TestSnapshotIsBounded(t *testing.T) {
	long := make([]byte, 3775)
	for i := range long {
		long[i] = 'x'
	}
	heap := func(fill func(s *ProcSnapshot)) (grown int64, s *ProcSnapshot) {
		s = NewReaderTracker(time.Hour).NewSnapshot(nil)
		s.current = &process{pid: 1}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		fill(s)
		runtime.GC()
		runtime.ReadMemStats(&after)
		return int64(after.HeapAlloc) - int64(before.HeapAlloc), s
	}
	grown, s := heap(func(s *ProcSnapshot) {
		for fd := range 19_000 {
			s.add(nil, opening{fd: fd, file: logInode, pos: uint64(fd)}, long)
		}
	})
	if grown > 1<<20 || len(s.openings) != 1 || s.openings[0].pos != 18_999 || s.openings[0].least != 0 {
		t.Errorf("19,000 descriptors of one file: %d bytes, %d openings", grown, len(s.openings))
	}
	grown, s = heap(func(s *ProcSnapshot) {
		for fd := range 1_000_000 {
			name := fmt.Appendf(nil, "%s%d", long[:200], fd)
			s.add(nil, opening{fd: fd, file: hostfs.Inode{Ino: uint64(fd)}}, name)
		}
	})
	if grown > 8<<20 || len(s.openings)+s.Omitted[OmittedOpenings] != 1_000_000 {
		t.Errorf("a million files: %d bytes, %d openings, %d omitted", grown, len(s.openings), s.Omitted[OmittedOpenings])
	}
}
