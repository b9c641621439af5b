package procwalk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// tree makes a procfs of processes that have as many descriptors each.
func tree(t *testing.T, fds map[int]int) string {
	t.Helper()
	procfs := t.TempDir()
	for pid, n := range fds {
		dir := filepath.Join(procfs, strconv.Itoa(pid), "fd")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for fd := range n {
			if err := os.Symlink("/dev/null", filepath.Join(dir, strconv.Itoa(fd))); err != nil {
				t.Fatal(err)
			}
		}
	}
	return procfs
}

// A walk that is cut after any number of processes, and resumed until it ends, visits
// each process once, and counts what it has left out.
func TestWalkResumes(t *testing.T) {
	fds := map[int]int{}
	for i := range 40 {
		fds[1+i*37] = i % 3
	}
	want := make([]int, 0, len(fds))
	sum := 0
	for pid, n := range fds {
		want = append(want, pid)
		sum += n
	}
	slices.Sort(want)
	w := open(t, tree(t, fds))
	for _, each := range []int{0, 1, 2, 7, 39, 40, 100} {
		t.Run(fmt.Sprint(each, " in each part"), func(t *testing.T) {
			var seen []int
			var all Stats
			v := &Visitor{Enter: func(p *Process) bool {
				seen = append(seen, p.PID)
				return true
			}}
			for parts := 1; ; parts++ {
				began := len(seen)
				v.Expired = func() bool { return len(seen)-began >= each }
				stats, err := w.Walk(t.Context(), v)
				if err != nil {
					t.Fatal(err)
				}
				all.Add(stats)
				if stats.Omitted != len(want)-len(seen) {
					t.Fatalf("%d are left out after %d of %d", stats.Omitted, len(seen), len(want))
				}
				if stats.Next == 0 {
					break
				}
				if v.From = stats.Next; parts > len(want) {
					t.Fatal("the walk does not end")
				}
			}
			if !slices.Equal(seen, want) {
				t.Errorf("visited %v, want %v", seen, want)
			}
			if all.Processes != len(want) || all.FDs != sum || all.Omitted != 0 {
				t.Errorf("%+v", all)
			}
		})
	}
}

// One process of any size ends soon after the time is over; a smaller one is shown whole,
// and each other one as well.
func TestWalkCutsOneProcess(t *testing.T) {
	const most, large = 4096, 6000
	w := open(t, tree(t, map[int]int{10: 3000, 20: large, 30: 2}))
	w.most = most
	for name, tt := range map[string]struct {
		expired func() bool
		shown   map[int]int
		cut     int
	}{
		"time is not over": {func() bool { return false }, map[int]int{10: 3000, 20: large, 30: 2}, 0},
		"time is over":     {func() bool { return true }, map[int]int{10: 3000, 20: most - 1, 30: 2}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			shown := map[int]int{}
			var all Stats
			v := &Visitor{
				Expired: tt.expired,
				FD:      func(p *Process, _ int, _ []byte) { shown[p.PID]++ },
				Leave: func(p *Process, _ int, err error) {
					if errors.Is(err, ErrCut) != (p.PID == 20 && tt.cut > 0) {
						t.Errorf("process %d ends with %v", p.PID, err)
					}
				},
			}
			for first := true; first || v.From > 0; first = false {
				stats, err := w.Walk(context.Background(), v)
				if err != nil {
					t.Fatal(err)
				}
				all.Add(stats)
				v.From = stats.Next
			}
			for pid, n := range tt.shown {
				if shown[pid] != n {
					t.Errorf("%d descriptors of process %d are shown, want %d", shown[pid], pid, n)
				}
			}
			if all.Cut != tt.cut || all.Processes != 3 || len(all.Unreadable) > 0 {
				t.Errorf("%+v", all)
			}
		})
	}
}
