package disk

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/disktest"
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

// A walk that a pass has no time for goes on in later ones. Until it is complete, a pass
// repeats what the last complete one saw, or says that nothing is known.
func TestWalkTakesMorePasses(t *testing.T) {
	root := t.TempDir()
	log := filepath.Join(root, "var/log/app.log")
	disktest.Must(t, os.MkdirAll(filepath.Dir(log), 0o755))
	disktest.WriteFile(t, log, "one\n")
	f, err := os.Open(log)
	disktest.Must(t, err)
	o := observer(t, root, DefaultPolicy())
	o.WalkWithin, o.ResumeAfter, o.WalkEvery = time.Nanosecond, 20*time.Second, time.Minute
	now := time.Now()
	// complete makes passes until a walk is complete, and returns the last one.
	complete := func(each func(Usage)) Usage {
		t.Helper()
		left := 0
		for range 100_000 {
			u := observe(t, o, now)
			if u.Scan.Later == 0 {
				return u
			}
			if left > 0 && u.Scan.Later > left+50 {
				t.Fatalf("%d processes are left, and before there were %d", u.Scan.Later, left)
			}
			left = u.Scan.Later
			if o.ResumeAfter > 0 {
				now = now.Add(time.Second)
				if again := observe(t, o, now); again.Scan.Later != left {
					t.Fatalf("a pass before %v goes on with the walk", o.ResumeAfter)
				}
				o.ResumeAfter = 0
			}
			each(u)
		}
		t.Fatal("the walk does not end")
		return Usage{}
	}
	parts := 0
	u := complete(func(u Usage) {
		parts++
		if !u.Scan.ReadersOld || len(u.Readers) > 0 {
			t.Errorf("in the first walk: %d readers, known to be old: %v", len(u.Readers), u.Scan.ReadersOld)
		}
	})
	if parts < 2 || u.Scan.ReadersOld || u.reader(os.Getpid(), "/var/log/app.log") == nil || u.Scan.Processes < parts {
		t.Errorf("after %d parts: %+v, readers %+v", parts, u.Scan, u.Readers)
	}
	disktest.Must(t, f.Close())
	now, o.ResumeAfter = now.Add(o.WalkEvery), 20*time.Second
	old := false
	u = complete(func(u Usage) {
		if u.reader(os.Getpid(), "/var/log/app.log") == nil {
			t.Error("the reader of the last complete walk is not repeated")
		}
		if old = u.Scan.ReadersOld; !old {
			now = now.Add(time.Minute)
		}
	})
	if !old {
		t.Error("what was seen five minutes ago is taken for what is now")
	}
	if u.Scan.ReadersOld || u.reader(os.Getpid(), "/var/log/app.log") != nil {
		t.Errorf("after the second walk: %+v, readers %+v", u.Scan, u.Readers)
	}
}
