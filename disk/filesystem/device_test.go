package filesystem

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
)

func TestUpperDir(t *testing.T) {
	for options, want := range map[string]string{
		"rw,lowerdir=/a:/b,upperdir=/var/lib/x/7/fs,workdir=/var/lib/x/7/work": "/var/lib/x/7/fs",
		"upperdir=/u":                "/u",
		"rw,lowerdir=/a":             "",
		`rw,upperdir=/a\040b,x`:      "/a b",
		`rw,upperdir=/a\134,b,x`:     "/a,b", // a comma has a backslash before it, which mountinfo mangles
		"rw,lowerdir=/a,upperdir=,x": "",
		"rw,notupperdir=/a":          "",
	} {
		if got := upperDir(options); got != want {
			t.Errorf("%s: %q, want %q", options, got, want)
		}
	}
}

// What a descriptor is located at decides by its mount: the path that the
// process has for it may be that of another filesystem.
func TestLocator(t *testing.T) {
	top := t.TempDir()
	host := `10 1 8:1 / / rw - ext4 /dev/a rw
11 10 8:2 / /var/log rw - ext4 /dev/b rw
12 10 8:3 / /var/lib/containerd rw - ext4 /dev/c rw
13 10 0:40 / /btrfs rw - btrfs /dev/d rw,subvolid=5
`
	container := `50 1 0:99 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/var/lib/containerd/7/fs,workdir=/w
51 50 8:2 / /logs rw - ext4 /dev/b rw
52 50 8:1 /var/lib/kubelet/pods/u/volumes/e /var/log rw - ext4 /dev/a rw
53 50 0:98 / /nested rw - overlay overlay rw,lowerdir=/l,upperdir=/var/log/fs,workdir=/w
`
	put := func(p, s string) {
		disktest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(top, p)), 0o755))
		disktest.WriteFile(t, filepath.Join(top, p), s)
	}
	put("1/mountinfo", host)
	put("self/mountinfo", host)
	put("7/mountinfo", container)
	logs := Location{"8:2", "/"}
	for i, c := range []struct {
		mount      int
		path, data string
		log        bool
	}{
		{11, "/var/log/app.log", "8:2", true},
		{10, "/srv/app.log", "8:1", false},
		{13, "/btrfs/app.log", "0:40", false},
		{50, "/var/log/app.log", "8:3", false}, // in the container's root
		{51, "/logs/app.log", "8:2", true},
		{52, "/var/log/app.log", "8:1", false}, // an emptyDir
		{53, "/nested/app.log", "8:1", false},  // its upper directory is in that
		{51, "/elsewhere/app.log", "8:2", false},
		{99, "/var/log/app.log", "", false},
	} {
		put("7/fdinfo/"+strconv.Itoa(i), "pos:\t0\nflags:\t0100000\nmnt_id:\t"+strconv.Itoa(c.mount)+"\nino:\t5\n")
		at, data, ok := NewLocator(top).File(7, i, c.path)
		if data != c.data || ok != (c.data != "") || at.Below(logs) != c.log {
			t.Errorf("%+v: %+v, %q, %v", c, at, data, ok)
		}
	}
}

func TestBrokenLink(t *testing.T) {
	root := t.TempDir()
	host := hostfs.Root(disktest.OpenRoot(t, root))
	disktest.Must(t, os.MkdirAll(filepath.Join(root, "var/log/real"), 0o755))
	for name, target := range map[string]string{
		"var/log/whole": "real", "var/log/out": "/data/var/log/pods", "var/log/up": "../../data/x",
		"var/log/two": "/var/log/out", "var/log/round": "round",
	} {
		disktest.Must(t, os.Symlink(target, filepath.Join(root, name)))
	}
	for p, want := range map[string]struct {
		link, target string
		err          error
	}{
		"/var/log/real":     {},
		"/var/log/whole":    {},
		"/var/log/out":      {"/var/log/out", "/data/var/log/pods", unix.ENOENT},
		"/var/log/out/deep": {"/var/log/out", "/data/var/log/pods", unix.ENOENT},
		"/var/log/up":       {"/var/log/up", "/data/x", unix.ENOENT},
		"/var/log/two":      {"/var/log/out", "/data/var/log/pods", unix.ENOENT},
		"/var/log/round":    {"/var/log/round", "/var/log/round", unix.ELOOP},
		"/var/log/none":     {"", "", unix.ENOENT},
		"/var/log/whole/x":  {"", "", unix.ENOENT},
	} {
		before := descriptors(t)
		link, target, err := BrokenLink(host, p)
		if link != want.link || target != want.target || !errors.Is(err, want.err) {
			t.Errorf("%s: %q, %q, %v", p, link, target, err)
		}
		if now := descriptors(t); now != before {
			t.Errorf("%s: %d descriptors before, %d after", p, before, now)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	disktest.Must(t, err)
	return len(all)
}

// A file that is located below a log directory has its path below it.
func FuzzUpperDir(f *testing.F) {
	f.Add("rw,lowerdir=/a,upperdir=/b,workdir=/c")
	f.Add(`upperdir=/a\134`)
	f.Fuzz(func(t *testing.T, options string) {
		if got := upperDir(options); len(got) > len(options) || got != "" && !strings.Contains(options, "upperdir=") {
			t.Errorf("%q: %q", options, got)
		}
	})
}
