package instances

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/internal/procwalk"
)

// TestReader counts the instances of this process: a small one in every pass,
// a large one rarely, and both through any of their descriptors.
func TestReader(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_watches", "192536")
	w, err := procwalk.New("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	dir := t.TempDir()
	const large, small = largeWatches + 2000, 5
	add := func(fd, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			path := filepath.Join(dir, strconv.Itoa(i))
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
				t.Fatal(err)
			}
		}
	}
	instance := func(watches int) Descriptor {
		t.Helper()
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		add(fd, 0, watches)
		return Descriptor{TID: os.Getpid(), Start: 1, FD: fd}
	}
	a, b := instance(large), instance(small)
	dup, err := unix.Dup(a.FD)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(dup) })
	other := a
	other.FD = dup
	// As if this process had used 100 s of CPU time before, and none since.
	descriptors := []Descriptor{a, b, other}
	for i := range descriptors {
		descriptors[i].Effort = 10_000
	}

	r := NewReader(w, "/proc", "/sys")
	if n := r.marks.count(); n < large+small {
		t.Fatalf("the kernel has %d marks, but there are %d watches", n, large+small)
	}
	count := func(wantRead int) []Instance {
		t.Helper()
		all, exact, err := r.Distinct(descriptors)
		if err != nil || !exact || len(all) != 2 {
			t.Fatalf("%d instances, %v, %v", len(all), exact, err)
		}
		shown := make([]int, len(all))
		out := r.Count(t.Context(), time.Now(), descriptors, all, Budget{AccountLimit: 192_536, MaxRead: 1 << 30, Percent: 100},
			func(i int, _ procwalk.Watch) { shown[i]++ })
		if out.Unknown != 0 || out.Unreadable != 0 {
			t.Fatalf("%+v", out)
		}
		read := 0
		for i, in := range all {
			if in.Read {
				read++
				if shown[i] != int(in.Watches) {
					t.Errorf("counted %d watches and was shown %d", in.Watches, shown[i])
				}
			} else if shown[i] != 0 {
				t.Errorf("was shown %d watches of an instance that was not read", shown[i])
			}
		}
		if read != wantRead {
			t.Errorf("read %d records, want %d: %+v", read, wantRead, all)
		}
		return all
	}
	watches := func(all []Instance, holders int) Instance {
		for _, in := range all {
			if len(in.Holders) == holders {
				return in
			}
		}
		t.Fatalf("no instance with %d holders: %+v", holders, all)
		return Instance{}
	}

	all := count(2)
	if l, s := watches(all, 2), watches(all, 1); l.Watches != large || s.Watches != small || l.Age != 0 {
		t.Errorf("got %+v and %+v", l, s)
	}

	// The large one is remembered with its age, the small one counted again.
	add(a.FD, large, large+10)
	add(b.FD, small, small+1)
	all = count(1)
	if l, s := watches(all, 2), watches(all, 1); l.Watches != large || l.Age <= 0 || !l.Known || s.Watches != small+1 {
		t.Errorf("got %+v and %+v", l, s)
	}

	// Where the descriptor that it was read through is gone, the count is not.
	descriptors = []Descriptor{descriptors[2], descriptors[1]}
	all, _, err = r.Distinct(descriptors)
	if err != nil {
		t.Fatal(err)
	}
	r.Count(t.Context(), time.Now(), descriptors, all, Budget{AccountLimit: 192_536, MaxRead: 1 << 30, Percent: 100}, nil)
	known := 0
	for _, in := range all {
		if in.Known && (in.Watches == large || in.Watches == small+1) {
			known++
		}
	}
	if known != 2 {
		t.Errorf("without that descriptor: %+v", all)
	}
}
