package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/hostfs"
)

const machine = "0123456789abcdef0123456789abcdef"

func TestIsDir(t *testing.T) {
	for dir, want := range map[string]bool{
		"/var/log/journal/" + machine:                    true,
		"/run/log/journal/" + machine:                    true,
		"/var/log/journal/" + machine + ".noisy":         true,
		"/var/log/journal/" + machine + ".":              false,
		"/var/log/journal":                               false,
		"/var/log/journal/remote":                        false,
		"/var/log/journal/" + machine + "/sub":           false,
		"/var/log/journal/" + strings.ToUpper(machine):   false,
		"/var/log/journal/" + machine[:31]:               false,
		"/var/log/journal/" + machine + "0":              false,
		"/var/log/app/journal/" + machine:                false,
		"/var/log/pods/a_b_c/journal/" + machine:         false,
		"/var/lib/docker/volumes/log/journal/" + machine: false,
	} {
		if IsDir(dir) != want {
			t.Errorf("%s: %v, want %v", dir, !want, want)
		}
	}
}

// host returns a root with a journald directory.
func host(t *testing.T) (hostfs.Root, string) {
	t.Helper()
	root := t.TempDir()
	dir := "/var/log/journal/" + machine
	if err := os.MkdirAll(root+dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := hostfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, root + dir
}

func write(t *testing.T, name string, b []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
}

// Only what journald itself can have written names a unit.
func TestUnitsOfJournaldOnly(t *testing.T) {
	r, dir := host(t)
	root := strings.TrimSuffix(dir, "/var/log/journal/"+machine)
	write(t, dir+"/system.journal", journal(false, map[string]uint64{"a.service": 3}), 0o640)
	if err := os.Link(dir+"/system.journal", dir+"/user-1.journal"); err != nil {
		t.Fatal(err)
	}
	forged := journal(false, map[string]uint64{"kubelet.service": 1 << 60})
	dirs := []string{"/var/log/journal/" + machine}
	for _, d := range []string{"/var/log/app/journal/" + machine, "/var/log/journal/remote", "/var/log/app/journal"} {
		write(t, root+d+"/x.journal", forged, 0o640)
		dirs = append(dirs, d)
	}
	open := "/var/log/journal/" + machine + ".open"
	write(t, root+open+"/x.journal", forged, 0o640)
	if err := os.Chmod(root+open, 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/open.journal", forged, 0o666)
	write(t, dir+"/text.journal", []byte("text"), 0o640)
	if err := os.Symlink(root+open+"/x.journal", dir+"/link.journal"); err != nil {
		t.Fatal(err)
	}
	var c Cache
	for pass := range 2 { // the second time from what is remembered
		units, omitted := c.Units(t.Context(), r, append(dirs, open), float64(pass))
		if len(units) != 1 || units[0].Unit != "a.service" || units[0].Bytes == 0 || units[0].Bytes > 4096 {
			t.Errorf("%+v", units)
		}
		if omitted[OmittedDirectories] != 4 || omitted[OmittedDamaged] != 2 {
			t.Errorf("%v", omitted)
		}
	}
}

// A forged count, in a sparse file, is worth no more than the file has on disk.
func TestUnitsNeverExceedTheFile(t *testing.T) {
	r, dir := host(t)
	b := journal(false, map[string]uint64{"a.service": 1 << 63, "b.service": 1<<63 + 5})
	le.PutUint64(b[152:], 1)     // entries
	le.PutUint64(b[136:], 1<<44) // used
	write(t, dir+"/system.journal", b, 0o640)
	if err := os.Truncate(dir+"/system.journal", 1<<40); err != nil {
		t.Fatal(err)
	}
	var c Cache
	units, _ := c.Units(t.Context(), r, []string{"/var/log/journal/" + machine}, 0)
	sum := uint64(0)
	for _, u := range units {
		sum += u.Bytes
	}
	if len(units) != 2 || sum == 0 || sum > 1<<20 {
		t.Errorf("%d bytes: %+v", sum, units)
	}
}

// heap returns how much more is in use after f than before it.
func heap(f func()) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// 99,000 units in each of some files: the largest are kept, memory is bounded.
func TestUnitsBudget(t *testing.T) {
	r, dir := host(t)
	const units, files = 99_000, 3
	all := map[string]uint64{}
	for i := range units {
		all[fmt.Sprintf("u%06d", i)+strings.Repeat("x", 40)+".service"] = 1
	}
	all["large.service"], all["larger.service"] = 1_000, 10_000
	b := journal(false, all)
	for i := range files {
		write(t, fmt.Sprintf("%s/%d.journal", dir, i), b, 0o640)
	}
	var c Cache
	var got []UnitUsage
	var omitted map[string]int
	grown := heap(func() { got, omitted = c.Units(t.Context(), r, []string{"/var/log/journal/" + machine}, 0) })
	if grown > 8<<20 {
		t.Errorf("%d units in %d files take %d KiB", units, files, grown>>10)
	}
	t.Logf("%d KiB, %v", grown>>10, omitted)
	found := map[string]bool{}
	for _, u := range got {
		found[u.Unit] = true
	}
	if !found["large.service"] || !found["larger.service"] || len(got) > PassBudget.Units {
		t.Errorf("%d units, without the largest", len(got))
	}
	if omitted[OmittedFiles] == 0 || omitted[OmittedUnits] < units-maxFileUnits {
		t.Errorf("omitted %v", omitted)
	}
	// What was left is read by the next passes.
	for range files {
		got, omitted = c.Units(t.Context(), r, []string{"/var/log/journal/" + machine}, 1)
	}
	if omitted[OmittedFiles] != 0 {
		t.Errorf("files are never read: %v", omitted)
	}
	runtime.KeepAlive(&c)
	runtime.KeepAlive(got)
}

func TestUnitsEndWithTheContext(t *testing.T) {
	r, dir := host(t)
	write(t, dir+"/system.journal", journal(false, map[string]uint64{"a.service": 3}), 0o640)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var c Cache
	units, omitted := c.Units(ctx, r, []string{"/var/log/journal/" + machine}, 0)
	if len(units) != 0 || omitted[OmittedFiles] != 1 {
		t.Errorf("%+v, %v", units, omitted)
	}
}
