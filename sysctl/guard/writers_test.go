package guard

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/privtest"
)

// The programs that load settings at the boot, and when an administrator asks them to.
func TestWriters(t *testing.T) {
	privtest.Host(t)
	file := filepath.Join(t.TempDir(), "60-other.conf")
	if err := os.WriteFile(file, []byte(string(key)+" = 5000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []Mode{Observe, Hold} {
		for name, command := range map[string][]string{
			"systemd-sysctl": {systemdSysctl(t), file},
			"sysctl":         {"sysctl", "-p", file},
		} {
			set(t, key, 8192)
			g := open(t, options(mode, 8192))
			if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%s in mode %d: %v: %s", name, mode, err, out)
			}
			r := read(t, g)
			if !strings.HasPrefix(r.Process(), name+"[") || r.Key != key || r.Old != 8192 || r.New != 5000 || r.UID != 0 {
				t.Errorf("%s in mode %d: %+v", name, mode, r)
			}
			held, effective := mode == Hold, r.New
			if held {
				effective = 8192
			}
			if r.Held != held || r.Effective != effective || get(t, key) != effective {
				t.Errorf("%s in mode %d: %+v, and the key holds %s, want %s", name, mode, r, get(t, key), effective)
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func systemdSysctl(t *testing.T) string {
	t.Helper()
	for _, file := range []string{"/usr/lib/systemd/systemd-sysctl", "/lib/systemd/systemd-sysctl"} {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	t.Fatal("systemd-sysctl is not installed: run .ci/deps")
	return ""
}
