package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/sysctl"
)

// TestRestoreRefusesWhatIsInUse: with more instances open than the old limit
// held, restore leaves the new one, and gives the old one back once they are
// closed.
func TestRestoreRefusesWhatIsInUse(t *testing.T) {
	privtest.Host(t)
	key := string(sysctl.MaxUserInstances)
	privtest.Set(t, key, "128")
	root := t.TempDir()
	nodetune := func(command string) (int, string) {
		var out bytes.Buffer
		code := run([]string{command, "--path.rootfs", root}, strings.NewReader(""), &out, &out)
		return code, out.String()
	}
	if code, out := nodetune("apply"); code != exitOK {
		t.Fatalf("apply: code %d\n%s", code, out)
	}
	raised := privtest.Get(t, key)
	var fds []int
	closeAll := func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		fds = nil
	}
	defer closeAll()
	for range 129 {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	if code, out := nodetune("restore"); code != exitUnmet || privtest.Get(t, key) != raised || !strings.Contains(out, "are in use, more than the old 128") {
		t.Errorf("restore with 129 instances open: code %d, %s holds %s\n%s", code, key, privtest.Get(t, key), out)
	}
	closeAll()
	if code, out := nodetune("restore"); code != exitOK || privtest.Get(t, key) != "128" {
		t.Errorf("restore: code %d, %s holds %s\n%s", code, key, privtest.Get(t, key), out)
	}
}

// TestUncounted: what could not be counted is not zero.
func TestUncounted(t *testing.T) {
	unreadable := procwalk.Stats{Unreadable: []procwalk.Unreadable{{Reason: "permission denied", Processes: 4000}, {Reason: "too many", Processes: 782}}}
	for _, c := range []struct {
		name string
		u    inotify.Usage
		want string
	}{
		{"all were read", inotify.Usage{Source: inotify.SourceProcfs}, ""},
		{"some were not", inotify.Usage{Source: inotify.SourceProcfs, Walk: unreadable}, "4782 processes could not be read (permission denied)"},
		{"the kernel's counters hold all", inotify.Usage{Source: inotify.SourceKernel, Walk: unreadable}, ""},
	} {
		got := ""
		if err := uncounted(c.u); err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestOpenFileCount: only three numbers are a count; all else is unknown.
func TestOpenFileCount(t *testing.T) {
	for content, want := range map[string]sysctl.Value{
		"3168\t0\t9223372036854775807\n": 3168,
		"0\t0\t1\n":                      0,
		"":                               sysctl.Unknown,
		"\n":                             sysctl.Unknown,
		"3168\n":                         sysctl.Unknown,
		"3168\t0\n":                      sysctl.Unknown,
		"-1\t0\t1\n":                     sysctl.Unknown,
		"x\t0\t1\n":                      sysctl.Unknown,
		"1\t0\t9223372036854775808\n":    sysctl.Unknown,
		strings.Repeat("1\t", 1000):      sysctl.Unknown,
	} {
		mount := t.TempDir()
		if err := os.MkdirAll(filepath.Join(mount, "sys/fs"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mount, "sys/fs/file-nr"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := openFileCount(mount)
		if got != want || (err == nil) != want.Known() {
			t.Errorf("%.40q: %v, %v, want %v", content, got, err, want)
		}
	}
	if got, err := openFileCount(t.TempDir()); got.Known() || err == nil {
		t.Errorf("without the file: %v, %v", got, err)
	}
}
