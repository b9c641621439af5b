package rotate

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/field"
)

// slowCompression stands for an archive of many gigabytes: it begins, and ends when the
// test wants it or its context does.
type slowCompression struct {
	began chan string
	end   chan struct{}
}

func (s slowCompression) compress(ctx context.Context, d *logdir.Dir, name string, c archive.Compression) error {
	select {
	case s.began <- name:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-s.end:
	case <-ctx.Done():
		return ctx.Err()
	}
	return archive.Compress(ctx, d, name, c)
}

func besideRotator(t *testing.T) (r *Rotator, logs string, slow slowCompression, rules []Rule) {
	t.Helper()
	r, logs = hostDir(t)
	r.CompressBeside(t.Context(), new(sync.WaitGroup))
	slow = slowCompression{make(chan string), make(chan struct{})}
	r.beside.compress = slow.compress
	return r, logs, slow, []Rule{{Paths: []string{"/var/log/*.log"}, MaxSize: 100, Archives: 2, Grace: field.Duration(time.Nanosecond)}}
}

func verbsOf(t *testing.T, acts []logdir.Action) (verbs []string) {
	t.Helper()
	for _, a := range acts {
		if a.Err != nil {
			t.Errorf("%+v", a)
		}
		verbs = append(verbs, a.Verb+" "+filepath.Base(a.Path))
	}
	return verbs
}

// While a large archive is compressed, passes rotate other logs and the same one, and
// compress and remove nothing that is queued. A later pass returns what was done.
func TestCompressBesideThePass(t *testing.T) {
	r, logs, slow, rules := besideRotator(t)
	big, small := filepath.Join(logs, "big.log"), filepath.Join(logs, "small.log")
	long := strings.Repeat("a line\n", 100)
	disktest.WriteFile(t, big, long+long)
	now := time.Now().Add(time.Minute)
	if got := verbsOf(t, r.Pass(t.Context(), rules, false, now)); !slices.Equal(got, []string{"rotate big.log"}) {
		t.Errorf("first pass: %v", got)
	}
	name := <-slow.began
	for i := range 3 {
		disktest.WriteFile(t, small, long)
		now = now.Add(time.Minute)
		if got := verbsOf(t, r.Pass(t.Context(), rules, false, now)); !slices.Contains(got, "rotate small.log") {
			t.Errorf("pass %d during the compression: %v", i, got)
		}
	}
	if _, err := os.Stat(filepath.Join(logs, name)); err != nil {
		t.Errorf("it is gone: %v", err)
	}
	close(slow.end)
	for range 3 { // of small.log, of which two are kept
		<-slow.began
	}
	disktest.WaitUntil(t, "the queue", func() bool {
		r.beside.mu.Lock()
		defer r.beside.mu.Unlock()
		return len(r.beside.queued) == 0
	})
	acts := verbsOf(t, r.Pass(t.Context(), rules, false, now))
	if len(acts) != 3 || acts[0] != "compress "+name+".gz" {
		t.Errorf("after it: %v", acts)
	}
	if got, _ := filepath.Glob(logs + "/*.gz"); len(got) != 3 {
		t.Errorf("archives: %v", got)
	}
}

// A compression ends with Close, and leaves the archive. The next run begins again.
func TestCompressionIsResumed(t *testing.T) {
	r, logs, slow, rules := besideRotator(t)
	disktest.WriteFile(t, filepath.Join(logs, "big.log"), strings.Repeat("a line\n", 100))
	now := time.Now().Add(time.Minute)
	_ = verbsOf(t, r.Pass(t.Context(), rules, false, now))
	name := <-slow.began
	// A part as a run leaves it that is killed in the middle.
	disktest.WriteFile(t, filepath.Join(logs, "."+name+".gz"+logdir.PartSuffix), "half")
	r.beside.close()
	if acts := r.beside.take(); len(acts) != 0 {
		t.Errorf("%+v", acts)
	}
	next, err := New("/proc", strings.TrimSuffix(logs, "/var/log"), []string{"/var/log"})
	disktest.Must(t, err)
	defer next.Close()
	next.CompressBeside(t.Context(), new(sync.WaitGroup))
	_ = verbsOf(t, next.Pass(t.Context(), rules, false, now.Add(time.Minute)))
	disktest.WaitUntil(t, "the archive", func() bool {
		return slices.Equal(disktest.List(t, logs), []string{"big.log", name + ".gz"})
	})
}

// The queue is bounded, has no archive twice, and compresses one at a time, the
// smallest first.
func TestCompressorQueue(t *testing.T) {
	r, logs, slow, _ := besideRotator(t)
	c := r.beside
	x := func(name string, bytes uint64) compression {
		disktest.WriteFile(t, filepath.Join(logs, name), "x")
		return compression{"/var/log", name, archive.Gzip, bytes, "log"}
	}
	c.add(r.Host, []compression{x("first", 9)})
	if got := <-slow.began; got != "first" {
		t.Fatal(got)
	}
	c.add(r.Host, []compression{x("large", 5), x("small", 1), x("middle", 3), x("small", 1), x("first", 9)})
	if !c.has("/var/log/first") || !c.has("/var/log/large") || c.has("/var/log/other") {
		t.Error("what is queued is not known")
	}
	select {
	case name := <-slow.began:
		t.Errorf("%s began beside another", name)
	default:
	}
	close(slow.end)
	for _, want := range []string{"small", "middle", "large"} {
		if got := <-slow.began; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	many := make([]compression, maxQueued+10)
	for i := range many {
		many[i] = compression{"/var/log/none", strings.Repeat("x", i%200) + string(rune('0'+i/200)), archive.Gzip, 1, "log"}
	}
	c.cancel()
	c.add(r.Host, many)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queued) > maxQueued {
		t.Errorf("%d queued", len(c.queued))
	}
}

// An archive that a process has open may stay so for ever: Reclaim is to go on with
// the next class, and no act is reported.
func TestCompressionOfAnArchiveInUse(t *testing.T) {
	r, logs := hostDir(t)
	r.CompressBeside(t.Context(), new(sync.WaitGroup))
	disktest.WriteFile(t, filepath.Join(logs, "a.log.20260131-110000000000"), "a line\n")
	held, end := disktest.HoldOpen(t, filepath.Join(logs, "a.log.20260131-110000000000"))
	defer end()
	const file = "/var/log/a.log.20260131-110000000000"
	if !r.Compress(file, archive.Gzip, 1) {
		t.Fatal("it is not compressed beside the passes")
	}
	disktest.WaitUntil(t, "the queue", func() bool { return !r.Compressing(file) })
	if !r.FailedToCompress(file) {
		t.Error("it is tried again at once")
	}
	if acts := r.beside.take(); len(acts) != 0 {
		t.Errorf("%+v", acts)
	}
	if _, err := held.Stat(); err != nil {
		t.Error(err)
	}
}

// The first rule that names a log counts, and the log is rotated once.
func TestTwoRulesForOneLog(t *testing.T) {
	r, logs := hostDir(t)
	disktest.WriteFile(t, filepath.Join(logs, "app.log"), strings.Repeat("a line\n", 100))
	rules := []Rule{
		{Paths: []string{"/var/log/*.log"}, MaxSize: 100, Archives: 2},
		{Paths: []string{"/var/log/app.log", "/var/log/app.*"}, MaxSize: 100, Archives: 2},
	}
	got := verbsOf(t, r.Pass(t.Context(), rules, false, time.Now().Add(time.Minute)))
	if len(got) == 0 || got[0] != "rotate app.log" || slices.Contains(got[1:], "rotate app.log") {
		t.Errorf("%v", got)
	}
}
