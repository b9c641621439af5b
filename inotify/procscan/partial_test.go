package procscan

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/inotify"
)

// fakeProcess makes the files of a process that holds instances.
func fakeProcess(t *testing.T, procfs string, pid, uid, held int) {
	t.Helper()
	dir := filepath.Join(procfs, strconv.Itoa(pid))
	if err := os.MkdirAll(filepath.Join(dir, "fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"stat":   fmt.Sprintf("%d (holder) S 1 1 1 0 -1 0 0 0 0 0 1 1 0 0 20 0 1 0 %d 0 0\n", pid, pid) + strings.Repeat(" 0", 30),
		"status": fmt.Sprintf("Name:\tholder\nUid:\t%d\t%d\t%d\t%d\n", uid, uid, uid, uid),
		"cgroup": "0::/system.slice/holder.service\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for fd := range held {
		if err := os.Symlink(target, filepath.Join(dir, "fd", strconv.Itoa(fd))); err != nil {
			t.Fatal(err)
		}
	}
}

func setLimit(t *testing.T, procfs string, n int) {
	t.Helper()
	dir := filepath.Join(procfs, "sys/fs/inotify")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"max_user_instances", "max_user_watches"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strconv.Itoa(n)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A pass ends when its time is over, however much is left. Its figures are those of the
// last complete walk, which the passes after it complete again, and what is left is
// counted. Before the first complete walk nothing is healthy.
func TestUsageIsBounded(t *testing.T) {
	const processes = 25
	procfs := t.TempDir()
	setLimit(t, procfs, 1000)
	if err := os.MkdirAll(filepath.Join(procfs, "self/ns"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(procfs, "self/ns/user"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range processes {
		fakeProcess(t, procfs, 100+i, i%3, 2)
	}
	policy := inotify.DefaultPolicy()
	newScanner := func() *Scanner {
		s, err := New(procfs, t.TempDir(), policy)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	whole, err := newScanner().Usage(t.Context())
	if err != nil || whole.Partial || len(whole.Processes) != processes || len(whole.Accounts) != 3 {
		t.Fatalf("%+v, %v", whole, err)
	}

	s := newScanner()
	clock := time.Unix(1000, 0)
	s.now = func() time.Time { clock = clock.Add(time.Second); return clock }
	s.WalkWithin(10 * time.Second)
	for round := range 3 {
		left := processes
		for pass := 1; ; pass++ {
			u, err := s.Usage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if u.Took > 20*time.Second {
				t.Fatalf("pass %d takes %v", pass, u.Took)
			}
			if u.Walk.Omitted >= left || pass > processes {
				t.Fatalf("pass %d leaves %d of %d", pass, u.Walk.Omitted, left)
			}
			if left = u.Walk.Omitted; left == 0 {
				if pass < 2 {
					t.Fatal("nothing was cut: the test shows nothing")
				}
				break
			}
			if gap(u, gapLater) != left {
				t.Errorf("round %d, pass %d: %d are left out, and %+v is reported", round, pass, left, u.Unknown)
			}
			if u.Partial != (round == 0) || strings.Contains(inotify.Unseen(u, policy), "left of a walk") != (round == 0) {
				t.Errorf("round %d: partial is %v, unseen %q", round, u.Partial, inotify.Unseen(u, policy))
			}
			if round > 0 && (!reflect.DeepEqual(u.Processes, whole.Processes) || len(u.Accounts) != len(whole.Accounts)) {
				t.Errorf("round %d: %+v, want the processes of the last walk", round, u.Processes)
			}
			for i := range u.Accounts { // a reader of the last usage must not see this
				if u.Accounts[i].InstancesLimit != u.Limits.Instances || u.Limits.Instances != inotify.Limit(1000+round) {
					t.Errorf("round %d: the limit is %d, of an account %d", round, u.Limits.Instances, u.Accounts[i].InstancesLimit)
				}
				u.Accounts[i].Instances = -1
			}
		}
		u := s.last
		if len(u.Processes) != processes || !reflect.DeepEqual(u.Processes, whole.Processes) || u.Accounts[0].Instances < 0 {
			t.Errorf("round %d: %+v, want %+v", round, u.Processes, whole.Processes)
		}
		setLimit(t, procfs, 1001+round)
	}
	clock = clock.Add(oldAfter + time.Second)
	if u, err := s.Usage(t.Context()); err != nil || !u.Partial || inotify.Unseen(u, policy) == "" || len(u.Processes) != 0 {
		t.Errorf("figures of a walk that is old: %+v, %v", u, err)
	}
}

// A process that ends while the walk goes on, and one that begins, are not fatal.
func TestUsageBesideChurn(t *testing.T) {
	procfs := t.TempDir()
	if err := os.MkdirAll(filepath.Join(procfs, "self/ns"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(procfs, "self/ns/user"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		fakeProcess(t, procfs, 100+i, 0, 1)
	}
	s, err := New(procfs, t.TempDir(), inotify.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	clock := time.Unix(1000, 0)
	s.now = func() time.Time { clock = clock.Add(time.Second); return clock }
	s.WalkWithin(time.Second) // one process in each pass
	for pass := range 100 {
		u, err := s.Usage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if u.Walk.Omitted == 0 {
			if len(u.Processes) < 5 || pass < 5 {
				t.Errorf("%d processes after %d passes", len(u.Processes), pass)
			}
			return
		}
		// A hostile parent starts a child with a higher pid for each that ends, up to the
		// largest pid there is.
		if err := os.RemoveAll(filepath.Join(procfs, strconv.Itoa(109-pass%4))); err != nil {
			t.Fatal(err)
		}
		if pid := 110 + pass; pid < 130 {
			fakeProcess(t, procfs, pid, 0, 1)
		}
	}
	t.Error("the walk does not end")
}
