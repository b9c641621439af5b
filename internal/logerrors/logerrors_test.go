package logerrors

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/workload"
)

func TestFind(t *testing.T) {
	const (
		uid = "1e4b0f9b-3378-441c-a146-e3bfdc470e28"
		bad = "2026-11-20T12:00:00Z stderr F tail_fs_inotify.c:360 errno=24] Too many open files\n"
	)
	root := t.TempDir()
	pods := filepath.Join(root, workload.PodLogs)
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(pods, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	if all, err := Find(t.Context(), root, time.Time{}, time.Now()); err != nil || all != nil {
		t.Errorf("without pods: %v, %v", all, err)
	}
	crashed := "logging_fluent-bit_" + uid + "/fluent-bit/"
	write(crashed+"1.log", "fine\n")
	write(crashed+"10.log", string(bytes.Repeat([]byte("x\n"), tailBytes))+bad)
	write(crashed+"10.log.20261120-120000", "fine\n")
	write("a_recovered_"+uid+"/c/0.log", bad)
	write("a_recovered_"+uid+"/c/1.log", "fine\n")
	write("a_past_"+uid+"/c/0.log", bad+string(bytes.Repeat([]byte("x\n"), tailBytes)))
	write("not a pod/c/0.log", bad)
	old := write("a_old_"+uid+"/c/0.log", bad)
	day := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(old, day, day); err != nil {
		t.Fatal(err)
	}
	// The text names another pod. It is used for its own container only.
	liar := "a_liar_" + uid + "/c/0.log"
	write(liar, "2026-11-20T12:00:00Z stderr F kube-system/coredns: inotify_init: too many open files\n")
	outside := filepath.Join(root, "secret")
	if err := os.WriteFile(outside, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(pods, "a_link_"+uid, "c")
	if err := os.MkdirAll(link, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(link, "0.log")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(link, "1.log"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := Find(t.Context(), root, time.Now().Add(-24*time.Hour), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := Ending{workload.Workload{Namespace: "logging", Pod: "fluent-bit", PodUID: uid, Container: "fluent-bit"}, unix.EMFILE}
	lied := Ending{workload.Workload{Namespace: "a", Pod: "liar", PodUID: uid, Container: "c"}, unix.EMFILE}
	if len(all) != 2 || !slices.Contains(all, want) || !slices.Contains(all, lied) {
		t.Errorf("found %+v, want %+v and %+v", all, want, lied)
	}

	// The container that recovered was restarted after the limit was raised.
	all, err = Find(t.Context(), root, time.Now().Add(-24*time.Hour), time.Now().Add(-time.Hour))
	recovered := Ending{workload.Workload{Namespace: "a", Pod: "recovered", PodUID: uid, Container: "c"}, unix.EMFILE}
	if err != nil || len(all) != 3 || !slices.Contains(all, recovered) {
		t.Errorf("found %+v, %v, want %+v, too", all, err, recovered)
	}
}

// A line means the same whatever stands above it.
func FuzzErrno(f *testing.F) {
	f.Add([]byte("tail_fs_inotify.c:360 errno=24] Too many open files"))
	f.Add([]byte("imfile: cannot watch object: No space left on device\nmax_user_instances"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, want := Errno(text), unix.Errno(0)
		for line := range bytes.Lines(text) {
			if e := Errno(line); e != 0 {
				want = e
			}
		}
		if got != want {
			t.Errorf("%q: %v, its lines %v", text, got, want)
		}
	})
}

// A search that cannot begin, or does not come to its end, says so: no ending was found
// is not the same.
func TestFindErrors(t *testing.T) {
	now := time.Now()
	if _, err := Find(t.Context(), filepath.Join(t.TempDir(), "none"), now, now); err == nil {
		t.Error("no error for a root that does not exist")
	}
	root := t.TempDir()
	if all, err := Find(t.Context(), root, now, now); err != nil || len(all) != 0 {
		t.Errorf("a host without pods: %v, %v", all, err)
	}
	if err := os.MkdirAll(filepath.Join(root, "var/log/pods"), 0o755); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ended, root, now, now); !errors.Is(err, context.Canceled) {
		t.Errorf("a search that was ended: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(root, "var/log/pods")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "var/log/pods"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(t.Context(), root, now, now); err == nil {
		t.Error("no error where /var/log/pods is a file")
	}
}

func TestFormsRefuses(t *testing.T) {
	ok := Rule{Program: "app", Limit: "instances", Contains: []string{"cannot watch"}}
	for what, rules := range map[string][]Rule{
		"too many":      slices.Repeat([]Rule{ok}, maxRules+1),
		"no program":    {{Limit: ok.Limit, Contains: ok.Contains}},
		"another limit": {{Program: "app", Limit: "files", Contains: ok.Contains}},
		"no text":       {{Program: "app", Limit: ok.Limit}},
	} {
		if _, errs := Forms(rules); len(errs) != 1 {
			t.Errorf("%s: %v", what, errs)
		}
	}
	if forms, errs := Forms([]Rule{ok}); len(forms) != 1 || len(errs) != 0 {
		t.Errorf("%v, %v", forms, errs)
	}
}
