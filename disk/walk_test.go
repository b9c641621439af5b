package disk

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Between two walks a pass repeats who reads what, and looks at all else.
func TestPassesBetweenWalks(t *testing.T) {
	root := t.TempDir()
	log := filepath.Join(root, "var/log/app.log")
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, []byte("one\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := observer(t, root, DefaultPolicy())
	o.WalkEvery = time.Minute
	now := time.Now()
	pass := func() Usage { t.Helper(); return observe(t, o, now) }
	first := pass()
	if first.reader(os.Getpid(), "/var/log/app.log") != nil {
		t.Fatal("read before it is opened")
	}

	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.WriteFile(log, []byte("one\ntwo\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	now = now.Add(10 * time.Second)
	u := pass()
	if u.reader(os.Getpid(), "/var/log/app.log") != nil {
		t.Error("/proc was walked after 10 s, want after a minute")
	}
	if u.Scan.Processes != first.Scan.Processes || u.Scan.Processes == 0 {
		t.Errorf("%d processes are reported, the last walk saw %d", u.Scan.Processes, first.Scan.Processes)
	}
	if len(u.Producers) != 1 || u.Producers[0].WrittenBytes != 4 {
		t.Errorf("the log has grown by 4 bytes, and a pass between two walks sees %+v", u.Producers)
	}
	now = now.Add(50 * time.Second)
	if pass().reader(os.Getpid(), "/var/log/app.log") == nil {
		t.Error("a minute after the first walk the reader is not seen")
	}
	now = now.Add(time.Second)
	if pass().reader(os.Getpid(), "/var/log/app.log") == nil {
		t.Error("a pass between two walks does not repeat the reader")
	}
	f.Close()
	now = now.Add(-24 * time.Hour) // the clock was set back
	if pass().reader(os.Getpid(), "/var/log/app.log") != nil {
		t.Error("no walk after the clock was set back")
	}
}
