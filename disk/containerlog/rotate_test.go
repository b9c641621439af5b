package containerlog

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/workload"
)

// Archives carry the kubelet's time, whatever zone the agent's container has.
func TestBurstsZone(t *testing.T) {
	root := t.TempDir()
	_, file := disktest.PodLog(t, root, "web")
	disktest.WriteFile(t, file, strings.Repeat("x", 100))
	k := hostconfig.DefaultKubelet()
	k.LogMaxSizeBytes, k.Zone = 10, time.FixedZone("the host's", 2*3600)
	b, err := New("/proc", root, k, 0, func(context.Context, workload.Log, string) (Runtime, error) {
		return Runtime{Reopen: func(context.Context) error { return nil }}, nil
	})
	disktest.Must(t, err)
	defer b.Close()
	at := time.Date(2026, 1, 31, 23, 0, 0, 0, time.UTC)
	if acts := b.Pass(t.Context(), true, at); len(acts) != 1 || acts[0].Err != nil || filepath.Base(acts[0].Archive) != "0.log.20260201-010000000000" {
		t.Errorf("%+v", acts)
	}
	if _, err := os.Stat(file + ".20260201-010000000000"); err != nil {
		t.Error(err)
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
	h, err := logdir.OpenHost("/proc", root, []string{"/var/log"})
	disktest.Must(t, err)
	defer h.Close()
	finisher := newFinisher(h, rotate.Options{Compress: archive.Gzip}, nil)
	for range 2 {
		_, err := finisher.finish(t.Context(), rel, nil, false, time.Now())
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
	done, err := rotateLog(t.Context(), h, rel, Runtime{Reopen: func(context.Context) error { return nil }}, rotateOptions{}, now)
	if err != nil || done != rel+".20260131-120000000002" {
		t.Errorf("%s, %v", done, err)
	}
}

// The kubelet rotates in the same second, and renames over whatever has the name
// that it makes: none of the three archives is lost to it.
func TestArchivesBesideTheKubelet(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, replaces := range []bool{false, true} {
		rel, file := disktest.PodLog(t, t.TempDir(), "web")
		h, err := logdir.OpenHost("/proc", strings.TrimSuffix(file, rel), []string{"/var/log"})
		disktest.Must(t, err)
		defer h.Close()
		for i, line := range []string{"first\n", "second\n", "third\n"} {
			disktest.WriteFile(t, file, line)
			if i == 1 {
				disktest.Must(t, os.Rename(file, file+"."+now.Format(archive.KubeletLayout)))
				continue
			}
			_, err := rotateLog(t.Context(), h, rel, Runtime{Replaces: replaces, Reopen: func(context.Context) error { return nil }}, rotateOptions{}, now)
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
