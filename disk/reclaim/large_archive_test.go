package reclaim

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/field"
)

// While a large archive is compressed, another log is rotated and space is reclaimed in each pass.
// When the agent ends, so does the compression, and leaves no part of a file.
func TestLossLargeArchive(t *testing.T) {
	size := disktest.Scale(5 << 30)
	if size < 5<<30 {
		size = 128 << 20
	}
	root := t.TempDir()
	logs := filepath.Join(root, "var/log")
	old := time.Now().Add(-48 * time.Hour)
	big, small := filepath.Join(logs, "big.log"), filepath.Join(logs, "small.log")
	disktest.Must(t, os.MkdirAll(logs, 0o755))
	disktest.Must(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	disktest.WriteFile(t, big, "x\n")
	name := filepath.Base(big) + "." + archive.TimestampSuffix(old)
	f, err := os.Create(filepath.Join(logs, name))
	disktest.Must(t, err)
	text := disktest.LogText(8 << 20)
	for n := 0; n < size; n += len(text) {
		_, err := f.Write(text)
		disktest.Must(t, err)
	}
	archive.SetOwn(f, true)
	disktest.Must(t, f.Close())
	disktest.Must(t, os.Chtimes(filepath.Join(logs, name), old, old))
	disktest.Must(t, os.MkdirAll(filepath.Join(root, "var/lib/kubelet/pods"), 0o755))
	disktest.WriteFile(t, filepath.Join(root, "var/lib/kubelet/config.yaml"), "kind: KubeletConfiguration\n")
	disktest.WriteFile(t, filepath.Join(root, "etc/logrotate.conf"), "")
	config := reclaimConfig()
	config.Policy.Classes = []Class{ClassOrphans}
	r := reclaimer(t, root, config)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var background sync.WaitGroup
	r.CompressBeside(ctx, &background)
	rules := []rotate.Rule{
		{Paths: []string{"/var/log/big.log"}, MaxSize: field.Bytes(1 << 40), Archives: 5, Compress: archive.Gzip},
		{Paths: []string{"/var/log/small.log"}, MaxSize: 1 << 10, Archives: 3, Compress: archive.None},
	}
	file := "/var/log/" + name
	now := time.Now()
	_ = r.Pass(ctx, rules, false, now)
	if !r.Compressing(file) {
		t.Fatalf("%s is not being compressed", file)
	}
	var longest time.Duration
	rotations, reclaims, tries := 0, 0, 0
	for tries < 5 && r.Compressing(file) {
		tries++
		now = now.Add(20 * time.Second)
		disktest.WriteFile(t, small, strings.Repeat("a line of a log\n", 1000))
		pod := fmt.Sprintf("/var/log/pods/default_gone%d_%s", tries, disktest.PodUID(0))
		disktest.Fill(t, filepath.Join(root, pod, "web/0.log"), 1, old)
		disktest.Must(t, filepath.WalkDir(filepath.Join(root, pod), func(p string, _ os.DirEntry, _ error) error { return os.Chtimes(p, old, old) }))
		began := time.Now()
		for _, a := range r.Pass(ctx, rules, false, now) {
			if a.Err != nil {
				t.Error(a.Err)
			}
			if a.Archive != "" {
				rotations++
			}
		}
		u := nothingSeen()
		u.Orphans = []Orphan{{Path: pod, Bytes: 1 << 20, Modified: old}}
		_, err := r.Reclaim(ctx, "/var/log", filesystem.Goal{AvailBytes: 1 << 62}, u, false, time.Now(), nil)
		disktest.Must(t, err)
		longest = max(longest, time.Since(began))
		if _, err := os.Stat(filepath.Join(root, pod)); os.IsNotExist(err) {
			reclaims++
		}
	}
	during := r.Compressing(file)
	began := time.Now()
	cancel()
	background.Wait()
	t.Logf("an archive of %d MiB: %d rotations and %d reclaims of %d beside its compression, the longest took %v; it ended %v after the agent",
		size>>20, rotations, reclaims, tries, longest.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	if rotations != tries || reclaims != tries {
		t.Errorf("%d rotations and %d reclaims in %d passes", rotations, reclaims, tries)
	}
	if !during {
		return // it is done; nothing is left to end
	}
	for _, n := range disktest.List(t, logs) {
		if strings.HasPrefix(n, ".") || strings.HasSuffix(n, ".gz") {
			t.Errorf("left behind: %s", n)
		}
	}
	if st, err := os.Stat(filepath.Join(logs, name)); err != nil || st.Size() < int64(size) {
		t.Errorf("the archive: %v", err)
	}
}
