package disk

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// inMountNamespace runs the test again in a process with a mount namespace of its
// own, where the mounts end with it. It returns true in that process.
func inMountNamespace(t *testing.T) bool {
	t.Helper()
	if disktest.IsHelper(t) {
		return true
	}
	privtest.Root(t)
	helper := disktest.Helper(t, t.Name())
	cmd := exec.Command("unshare", append([]string{"-m", "--propagation", "private"}, helper.Args...)...)
	cmd.Env = helper.Env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in a mount namespace: %v\n%s", err, out)
	}
	return false
}

const webLog = "shop_web-0_11111111-2222-3333-4444-555555555555/app/0.log"

// Where logs lie is seen, accounted once and reclaimed, whatever is mounted or
// linked below the log directory.
func TestMountsBelowLogsForReal(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	mount := func(t *testing.T, source, target, kind string, flags uintptr) {
		t.Helper()
		disktest.Must(t, os.MkdirAll(target, 0o755))
		disktest.Must(t, unix.Mount(source, target, kind, flags, ""))
	}
	put := func(t *testing.T, p string) {
		t.Helper()
		disktest.Must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		disktest.WriteFile(t, p, strings.Repeat("a line\n", 20_000))
	}
	for _, c := range []struct {
		name  string
		paths []string // log paths; default /var/log
		build func(t *testing.T, root string)
		want  string // path of a producer
		not   string
	}{
		{"a plain directory", nil, func(t *testing.T, root string) { put(t, root+"/var/log/pods/"+webLog) }, "/var/log/pods/" + filepath.Dir(webLog), ""},
		{"pods on a bind mount", nil, func(t *testing.T, root string) {
			put(t, root+"/data/pods/"+webLog)
			mount(t, root+"/data/pods", root+"/var/log/pods", "", unix.MS_BIND)
		}, "/var/log/pods/" + filepath.Dir(webLog), ""},
		{"pods on a disk", nil, func(t *testing.T, root string) {
			mount(t, "tmpfs", root+"/var/log/pods", "tmpfs", 0)
			put(t, root+"/var/log/pods/"+webLog)
		}, "/var/log/pods/" + filepath.Dir(webLog), ""},
		{"pods are a link", nil, func(t *testing.T, root string) {
			put(t, root+"/data/pods/"+webLog)
			disktest.Must(t, os.Symlink("/data/pods", root+"/var/log/pods"))
		}, "/var/log/pods/" + filepath.Dir(webLog), ""},
		{"pods are a link within the log directory", nil, func(t *testing.T, root string) {
			put(t, root+"/var/log/data/pods/"+webLog)
			disktest.Must(t, os.Symlink("data/pods", root+"/var/log/pods"))
		}, "/var/log/pods/" + filepath.Dir(webLog), "/var/log/data"},
		{"pods are a bind mount within the log directory", nil, func(t *testing.T, root string) {
			put(t, root+"/var/log/data/pods/"+webLog)
			mount(t, root+"/var/log/data/pods", root+"/var/log/pods", "", unix.MS_BIND)
		}, "/var/log/pods/" + filepath.Dir(webLog), "/var/log/data"},
		{"audit on a disk", nil, func(t *testing.T, root string) {
			mount(t, "tmpfs", root+"/var/log/audit", "tmpfs", 0)
			put(t, root+"/var/log/audit/audit.log")
		}, "/var/log/audit/audit.log", ""},
		{"a mount below a mount", nil, func(t *testing.T, root string) {
			mount(t, "tmpfs", root+"/var/log/a", "tmpfs", 0)
			mount(t, "tmpfs", root+"/var/log/a/b", "tmpfs", 0)
			put(t, root+"/var/log/a/b/deep.log")
		}, "/var/log/a/b/deep.log", ""},
		{"the log directory is a link, with a mount below", nil, func(t *testing.T, root string) {
			disktest.Must(t, os.Remove(root+"/var/log"))
			mount(t, "tmpfs", root+"/data/log/app", "tmpfs", 0)
			disktest.Must(t, os.Symlink("/data/log", root+"/var/log"))
			put(t, root+"/data/log/app/app.log")
		}, "/var/log/app/app.log", ""},
		{"one log path below another", []string{"/var/log", "/var/log/app"}, func(t *testing.T, root string) { put(t, root+"/var/log/app/app.log") }, "/var/log/app/app.log", ""},
		{"one log path twice", []string{"/var/log", "/srv/log"}, func(t *testing.T, root string) {
			put(t, root+"/var/log/app/app.log")
			mount(t, root+"/var/log", root+"/srv/log", "", unix.MS_BIND)
		}, "/var/log/app/app.log", "/srv/log"},
		{"log2ram, a tmpfs at the log directory", nil, func(t *testing.T, root string) {
			mount(t, "log2ram", root+"/var/log", "tmpfs", 0)
			put(t, root+"/var/log/pods/"+webLog)
		}, "/var/log/pods/" + filepath.Dir(webLog), ""},
		{"a mount over another one", nil, func(t *testing.T, root string) {
			mount(t, "a", root+"/var/log/app", "tmpfs", 0)
			put(t, root+"/var/log/app/hidden.log")
			mount(t, "b", root+"/var/log/app", "tmpfs", 0)
			put(t, root+"/var/log/app/app.log")
		}, "/var/log/app/app.log", "/var/log/app/hidden.log"},
		{"blanks in the path of a mount", nil, func(t *testing.T, root string) {
			mount(t, "my disk", root+"/var/log/my app", "tmpfs", 0)
			put(t, root+"/var/log/my app/app.log")
		}, "/var/log/my app/app.log", ""},
		{"an overlay", nil, func(t *testing.T, root string) {
			for _, d := range []string{"l", "u", "w"} {
				disktest.Must(t, os.MkdirAll(root+"/o/"+d, 0o755))
			}
			disktest.Must(t, os.MkdirAll(root+"/var/log/o", 0o755))
			disktest.Must(t, unix.Mount("overlay", root+"/var/log/o", "overlay", 0, "lowerdir="+root+"/o/l,upperdir="+root+"/o/u,workdir="+root+"/o/w"))
			put(t, root+"/var/log/o/app.log")
		}, "/var/log/o/app.log", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			mount(t, "tmpfs", root, "tmpfs", 0)
			t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
			disktest.Must(t, os.MkdirAll(root+"/var/log", 0o755))
			c.build(t, root)
			policy := DefaultPolicy()
			if c.paths != nil {
				policy.LogPaths = c.paths
			}
			o, err := New("/proc", "/sys", root, policy)
			disktest.Must(t, err)
			defer o.Close()
			mounts, err := filesystem.ReadHostMounts("/proc", o.rootfs)
			disktest.Must(t, err)
			kubelet := hostconfig.DefaultKubelet()
			places := filesystem.WithMountsBelow(o.rootfs, o.places(kubelet), mounts, nil)
			u := Usage{Scan: Scan{Skipped: map[string]int{}, Omitted: map[string]int{}}}
			o.scan(t.Context(), &u, o.tops(places, map[string]error{}, mounts), kubelet, time.Now(), true)
			n := 0
			for _, p := range u.Producers {
				if p.Path == c.want {
					n++
				}
				if c.not != "" && strings.HasPrefix(p.Path, c.not) {
					t.Errorf("accounted a second time: %s", p.Path)
				}
			}
			if n != 1 {
				t.Errorf("%s is a producer %d times: %+v", c.want, n, u.Producers)
			}
		})
	}
}

// The pressure of a disk below the log directory is judged and ended on that
// disk, and nothing of another one goes for it.
func TestReclaimOnItsOwnDiskForReal(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	root := disktest.LogDisk(t, 64<<20)
	app := filepath.Join(root, "var/log/app")
	disktest.Must(t, os.MkdirAll(app, 0o755))
	disktest.Ext4(t, app, 32<<20)
	old := time.Now().Add(-24 * time.Hour)
	for _, dir := range []string{filepath.Join(root, "var/log"), app} {
		disktest.WriteFile(t, filepath.Join(dir, "a.log"), "a line\n")
		for _, n := range []string{"a.log.2.gz", "a.log.3.gz"} {
			disktest.Fill(t, filepath.Join(dir, n), 4, old)
		}
	}
	policy := DefaultPolicy()
	policy.Reclaim.Classes = []reclaim.Class{reclaim.ClassOtherArchives}
	r, err := reclaim.New("/proc", root, policy.ReclaimConfig())
	disktest.Must(t, err)
	defer r.Close()
	in := Usage{}.ReclaimInput()
	got, err := r.Reclaim(t.Context(), "/var/log/app", filesystem.Goal{AvailBytes: 31 << 20}, in, false, time.Now(), nil)
	disktest.Must(t, err)
	if len(got.Acts) != 1 || got.Acts[0].Err != nil || got.Acts[0].Path != "/var/log/app/a.log.2.gz" {
		t.Errorf("got %+v", got.Acts)
	}
	if left := disktest.List(t, filepath.Join(root, "var/log")); !slices.Contains(left, "a.log.2.gz") || !slices.Contains(left, "a.log.3.gz") {
		t.Errorf("of the other disk went something: %v", left)
	}
}

// A deleted file in a container's root is found, and counts on the filesystem of
// the upper directory; it is no log, whatever its path.
func TestDeletedInContainerForReal(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	root := disktest.LogDisk(t, 64<<20)
	upper := filepath.Join(root, "var/log") // of the disk
	for _, d := range []string{"u", "w"} {
		disktest.Must(t, os.Mkdir(filepath.Join(upper, d), 0o755))
	}
	lower, merged := t.TempDir(), t.TempDir()
	disktest.Must(t, unix.Mount("overlay", merged, "overlay", 0, "lowerdir="+lower+",upperdir="+upper+"/u,workdir="+upper+"/w"))
	t.Cleanup(func() { _ = unix.Unmount(merged, unix.MNT_DETACH) })
	hold := func(p string) {
		disktest.Must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		disktest.WriteFile(t, p, strings.Repeat("a line\n", 100_000))
		f, err := os.Open(p)
		disktest.Must(t, err)
		cmd := exec.Command("sleep", "100")
		cmd.Stdin = f
		disktest.Must(t, cmd.Start())
		t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
		disktest.Must(t, f.Close())
		disktest.Must(t, os.Remove(p))
	}
	hold(filepath.Join(merged, "var/log/app.log"))
	hold(filepath.Join(upper, "host.log"))
	o, err := New("/proc", "/sys", root, DefaultPolicy())
	disktest.Must(t, err)
	defer o.Close()
	u, err := o.Observe(t.Context(), time.Now())
	disktest.Must(t, err)
	for name, inLogs := range map[string]bool{"app.log": false, "host.log": true} {
		i := slices.IndexFunc(u.Deleted, func(d logs.Deleted) bool { return strings.HasSuffix(d.Path, name) })
		if i < 0 {
			t.Errorf("%s is not found among %d", name, len(u.Deleted))
		} else if d := u.Deleted[i]; d.InLogDir != inLogs || d.Filesystem != "/var/log" {
			t.Errorf("%s: %+v", name, d)
		}
	}
}
