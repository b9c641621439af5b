package disk

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/workload"
)

// Archives carry the kubelet's time, whatever zone the agent's container has.
func TestBurstsZone(t *testing.T) {
	root := t.TempDir()
	_, file := disktest.PodLog(t, root, "web")
	disktest.WriteFile(t, file, strings.Repeat("x", 100))
	k := defaultKubelet()
	k.LogMaxSizeBytes, k.Zone = 10, time.FixedZone("the host's", 2*3600)
	b, err := NewBursts("/proc", root, k, 0, func(context.Context, workload.Log, string) (Runtime, error) {
		return Runtime{Reopen: func(context.Context) error { return nil }}, nil
	})
	disktest.Must(t, err)
	defer b.Close()
	at := time.Date(2026, 1, 31, 23, 0, 0, 0, time.UTC)
	if acts := b.Pass(t.Context(), false, at); len(acts) != 1 || acts[0].Err != nil || filepath.Base(acts[0].Archive) != "0.log.20260201-010000000000" {
		t.Errorf("%+v", acts)
	}
	if _, err := os.Stat(file + ".20260201-010000000000"); err != nil {
		t.Error(err)
	}
}

// Somebody who watches with kubectl logs -f holds nothing up; a process of a pod
// that calls itself so is a reader like any other.
func TestBehindPassesOverTheKubelet(t *testing.T) {
	k := Holder{Comm: "kubelet"}
	if _, ok := behind([]Holder{k}, 10<<20, 0); ok {
		t.Error("the kubelet is waited for")
	}
	k.Who.PodUID = "11111111-2222-3333-4444-555555555555"
	if _, ok := behind([]Holder{k}, 10<<20, 0); !ok {
		t.Error("a pod is taken for the kubelet")
	}
}

// A second archive of one second, made when the first was compressed already,
// costs neither.
func TestArchivesOfOneSecond(t *testing.T) {
	root := t.TempDir()
	rel, file := disktest.PodLog(t, root, "web")
	disktest.WriteFile(t, file, "third\n")
	disktest.WriteFile(t, file+".20260131-120000", "second\n")
	disktest.WriteFile(t, file+".20260131-120000.gz", string(disktest.GzipText(t, []byte("first\n"))))
	h, err := OpenHost("/proc", root, []string{"/var/log"})
	disktest.Must(t, err)
	defer h.Close()
	finisher := newFinisher(h, How{Compress: Gzip}, nil)
	for range 2 {
		_, err := finisher.finish(t.Context(), rel, nil, time.Now())
		disktest.Must(t, err)
	}
	for name, want := range map[string]string{".20260131-120000.gz": "first\n", ".20260131-120000000001.gz": "second\n"} {
		f, err := os.Open(file + name)
		disktest.Must(t, err)
		z, err := gzip.NewReader(f)
		disktest.Must(t, err)
		if got, err := io.ReadAll(z); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
		_ = f.Close()
	}
	if _, err := os.Stat(file + ".20260131-120000"); !os.IsNotExist(err) {
		t.Error(err)
	}
	// Nor does the rotation use a name again, or one before the last.
	now := time.Date(2026, 1, 31, 12, 0, 0, 1000, time.UTC)
	done, err := rotateContainer(t.Context(), h, rel, Runtime{Reopen: func(context.Context) error { return nil }}, rotateOptions{}, now)
	if err != nil || done.Archive != rel+".20260131-120000000002" {
		t.Errorf("%s, %v", done.Archive, err)
	}
}

// The kubelet rotates in the same second, and renames over whatever has the name
// that it makes: none of the three archives is lost to it.
func TestArchivesBesideTheKubelet(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, replaces := range []bool{false, true} {
		rel, file := disktest.PodLog(t, t.TempDir(), "web")
		h, err := OpenHost("/proc", strings.TrimSuffix(file, rel), []string{"/var/log"})
		disktest.Must(t, err)
		defer h.Close()
		for i, line := range []string{"first\n", "second\n", "third\n"} {
			disktest.WriteFile(t, file, line)
			if i == 1 {
				disktest.Must(t, os.Rename(file, file+"."+now.Format(containerStamp)))
				continue
			}
			_, err := rotateContainer(t.Context(), h, rel, Runtime{Replaces: replaces, Reopen: func(context.Context) error { return nil }}, rotateOptions{}, now)
			disktest.Must(t, err)
		}
		var got []string
		all, err := filepath.Glob(file + ".*")
		disktest.Must(t, err)
		for _, p := range all {
			got = append(got, disktest.ReadFile(t, p))
		}
		if slices.Sort(got); !slices.Equal(got, []string{"first\n", "second\n", "third\n"}) {
			t.Errorf("%q are left, in %q", got, all)
		}
	}
}

// The kubelet rotates between a look at the log and the exchange: its new log
// keeps its name, nothing is left behind, and nobody has to hear of it.
func TestReplaceReplaced(t *testing.T) {
	root := t.TempDir()
	rel, file := disktest.PodLog(t, root, "web")
	disktest.WriteFile(t, file, "old\n")
	h, err := OpenHost("/proc", root, []string{"/var/log"})
	disktest.Must(t, err)
	defer h.Close()
	d, err := h.open(filepath.Dir(rel))
	disktest.Must(t, err)
	defer d.close()
	live, _, err := d.file("0.log", unix.O_RDONLY)
	disktest.Must(t, err)
	defer live.Close()
	disktest.Must(t, os.Rename(file, file+".20260131-120000"))
	disktest.WriteFile(t, file, "new\n")
	if err := replaceLog(d, live, "0.log", "0.log.20260131-120000000000"); !errors.Is(err, errReplaced) {
		t.Errorf("replace: %v", err)
	}
	want := []string{"0.log", "0.log.20260131-120000"}
	if got := disktest.List(t, filepath.Dir(file)); !slices.Equal(got, want) || disktest.ReadFile(t, file) != "new\n" {
		t.Errorf("%q are left, and the log has %q", got, disktest.ReadFile(t, file))
	}
}
