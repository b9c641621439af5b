package procwalk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t testing.TB, procfs string) *Walker {
	t.Helper()
	w, err := New(procfs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func TestWalkSeesThisProcess(t *testing.T) {
	w := open(t, "/proc")
	if !w.InHostPIDNamespace() {
		t.Fatal("/proc is not ours")
	}
	path := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 4711)); err != nil {
		t.Fatal(err)
	}
	ifd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ifd)
	var dir unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &dir); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.InotifyAddWatch(ifd, filepath.Dir(path), unix.IN_CREATE); err != nil {
		t.Fatal(err)
	}

	entered, left, seen := 0, 0, 0
	stats, err := w.Walk(t.Context(), &Visitor{
		Enter: func(p *Process) bool {
			if p.PID != os.Getpid() {
				return false
			}
			entered++
			st, err := p.Stat()
			if err != nil || st.Start == 0 || st.KernelThread {
				t.Errorf("stat: %+v, %v", st, err)
			}
			ids, err := p.UIDs()
			if err != nil || ids.Effective != uint32(os.Geteuid()) {
				t.Errorf("uids: %+v, %v", ids, err)
			}
			var r unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
				t.Fatal(err)
			}
			soft, hard, err := p.NOFILE()
			if err != nil || soft != r.Cur || hard != r.Max {
				t.Errorf("NOFILE: %d, %d, %v, want %+v", soft, hard, err, r)
			}
			if _, err := p.UserNS(); err != nil {
				t.Errorf("user namespace: %v", err)
			}
			if cg, err := p.Cgroup(); err != nil || len(cg) == 0 || cg[0] != '/' {
				t.Errorf("cgroup: %q, %v", cg, err)
			}
			return true
		},
		FD: func(p *Process, fd int, target []byte) {
			was := string(target)
			switch {
			case was == path:
				seen++
				i, err := p.FDInfo(fd)
				if err != nil || i.Pos != 4711 || i.Flags&unix.O_ACCMODE != unix.O_RDWR {
					t.Errorf("fdinfo: %+v, %v", i, err)
				}
				if st, err := p.StatFD(fd); err != nil || st.Size != 4711 {
					t.Errorf("stat of the descriptor: %+v, %v", st, err)
				}
				var stx unix.Statx_t
				if err := p.StatxFD(fd, &stx); err != nil || stx.Size != 4711 {
					t.Errorf("statx of the descriptor: %+v, %v", stx, err)
				}
			case fd == ifd:
				seen++
				n, err := p.Watches(fd, func(w Watch) {
					if w.WD != 1 || w.Ino != dir.Ino || w.Dev != uint64(unix.Major(dir.Dev))<<20|uint64(unix.Minor(dir.Dev)) || w.Mask != unix.IN_CREATE {
						t.Errorf("watch %+v", w)
					}
				})
				if err != nil || n != 1 || was != "anon_inode:inotify" {
					t.Errorf("inotify instance %q: %d watches, %v", was, n, err)
				}
				if n, err := p.Watches(fd, nil); err != nil || n != 1 {
					t.Errorf("counted %d watches, %v", n, err)
				}
			}
			if string(target) != was {
				t.Errorf("target changed from %q to %q", was, target)
			}
		},
		Leave: func(p *Process, fds int, err error) {
			left++
			if err != nil || fds < 5 {
				t.Errorf("left with %d descriptors, %v", fds, err)
			}
			if n, ok := p.FDCount(); ok && n < fds-1 {
				t.Errorf("PID/fd has a size of %d for %d descriptors", n, fds)
			}
		},
	})
	if err != nil || entered != 1 || left != 1 || seen != 2 {
		t.Fatalf("entered %d, left %d, saw %d descriptors, %v", entered, left, seen, err)
	}
	if stats.Processes < 2 || stats.FDs < 5 {
		t.Errorf("stats: %+v", stats)
	}
}

func TestWalkIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	met := 0
	_, err := open(t, "/proc").Walk(ctx, &Visitor{Enter: func(*Process) bool { met++; cancel(); return false }})
	if !errors.Is(err, context.Canceled) || met != 1 {
		t.Errorf("got %v after %d processes", err, met)
	}
}

func TestOpen(t *testing.T) {
	w := open(t, "/proc")
	p, err := w.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Stat(); err != nil {
		t.Error(err)
	}
	p.Close()
	if _, err := w.Open(1 << 30); !Gone(err) {
		t.Errorf("opened a process that cannot be: %v", err)
	}
}

func TestNotProcfs(t *testing.T) {
	if _, err := New(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if open(t, t.TempDir()).InHostPIDNamespace() {
		t.Error("an empty directory is taken for our procfs")
	}
}

func TestDirents(t *testing.T) {
	const direntReclen, direntName = 16, 19 // struct linux_dirent64
	rec := func(reclen int, name string) []byte {
		b := make([]byte, max(reclen, direntName+len(name)+1))
		b[direntReclen], b[direntReclen+1] = byte(reclen), byte(reclen>>8)
		copy(b[direntName:], name)
		return b
	}
	var buf []byte
	for _, name := range []string{"1", "self", "42", "12x", "99999999999", "-1", "2147483647"} {
		buf = append(buf, rec(32, name)...)
	}
	var got []int
	dirents(buf, func(n int, name []byte) bool {
		if name[len(name)-1] != 0 {
			t.Errorf("name %q is not terminated", name)
		}
		got = append(got, n)
		return true
	})
	if len(got) != 3 || got[0] != 1 || got[1] != 42 || got[2] != 2147483647 {
		t.Errorf("got %v", got)
	}
	for _, bad := range [][]byte{rec(0, "1"), rec(19, "1"), rec(400, "1")[:32], {1, 2, 3}} {
		dirents(bad, func(n int, _ []byte) bool { t.Errorf("%v: visited %d", bad, n); return true })
	}
}
