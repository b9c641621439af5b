package accounting

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/workload"
)

// fakeReader is what was refused, a slice for each Read.
type fakeReader [][]inotify.SyscallFailure

func (r *fakeReader) Read() ([]inotify.SyscallFailure, error) {
	now := (*r)[0]
	*r = (*r)[1:]
	return now, nil
}

func (r *fakeReader) Close() error { return nil }

// A failure of a container whose name is not known yet is reported the next time,
// with a name or without.
func TestRefusalsWaitForTheName(t *testing.T) {
	const pod, container = "12345678-1234-1234-1234-123456789abc", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	f := inotify.SyscallFailure{Call: inotify.CallInit, Errno: 24, Resource: inotify.Instances, Count: 7, Cgroup: "/kubepods/besteffort/pod" + pod + "/" + container}
	root := t.TempDir()
	for _, dir := range []string{"var/log/containers", "var/log/pods/logs_fb_" + pod} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := FailureTracer{reader: &fakeReader{{f}, {f}, nil, nil}, names: workload.NewIndex(root), recent: &inotify.RecentFailures{}}
	read := func() []inotify.SyscallFailure {
		all, _, err := r.Read(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := read(); len(all) != 0 {
		t.Errorf("at once: %+v", all)
	}
	if all := read(); len(all) != 1 || all[0].Pod != "fb" || all[0].Container != "" {
		t.Errorf("the next time: %+v", all)
	}
	link := filepath.Join(root, "var/log/containers", "fb_logs_fluent-bit-"+container+".log")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	if all := read(); len(all) != 1 || all[0].Pod != "fb" || all[0].Container != "fluent-bit" || all[0].Count != 7 {
		t.Errorf("named: %+v", all)
	}
	if all := read(); len(all) != 0 {
		t.Errorf("again: %+v", all)
	}
}
