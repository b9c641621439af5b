package instances

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// tree makes files below a directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFree(t *testing.T) {
	const available = 1 << 30
	for name, c := range map[string]struct {
		cgroup string
		files  map[string]string
		want   int64
	}{
		"no cgroup": {"0::/\n", nil, available},
		"v2": {"0::/kubepods.slice/pod\n", map[string]string{
			"sys/fs/cgroup/kubepods.slice/pod/memory.max":     "67108864\n",
			"sys/fs/cgroup/kubepods.slice/pod/memory.current": "20971520\n",
			"sys/fs/cgroup/kubepods.slice/pod/memory.stat":    "anon 1\ninactive_file 1048576\n",
		}, 67108864 - 20971520 + 1048576},
		"v2, the one above is tighter": {"0::/a/b\n", map[string]string{
			"sys/fs/cgroup/a/b/memory.max":     "max\n",
			"sys/fs/cgroup/a/b/memory.current": "4096\n",
			"sys/fs/cgroup/a/memory.max":       "8192\n",
			"sys/fs/cgroup/a/memory.current":   "4096\n",
		}, 4096},
		"v2, in a cgroup namespace": {"0::/\n", map[string]string{
			"sys/fs/cgroup/memory.max":     "8192\n",
			"sys/fs/cgroup/memory.current": "8000\n",
		}, 192},
		"v1": {"9:name=systemd:/x\n4:cpu,memory:/docker/c\n0::/\n", map[string]string{
			"sys/fs/cgroup/memory/docker/c/memory.limit_in_bytes": "33554432\n",
			"sys/fs/cgroup/memory/docker/c/memory.usage_in_bytes": "33550336\n",
			"sys/fs/cgroup/memory/docker/c/memory.stat":           "total_inactive_file 4096\ntotal_cache 9\n",
		}, 8192},
		"v1, where only the own one is mounted": {"4:memory:/docker/c\n", map[string]string{
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "8192\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "4096\n",
		}, 4096},
		"v1 without a limit": {"4:memory:/\n", map[string]string{
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "4096\n",
		}, available},
		"above its limit": {"0::/a\n", map[string]string{
			"sys/fs/cgroup/a/memory.max":     "4096\n",
			"sys/fs/cgroup/a/memory.current": "8192\n",
		}, 0},
		"nonsense": {"\n::\nx:memory\n0::/../../..\n", map[string]string{
			"sys/fs/cgroup/memory.max": "nonsense\n",
		}, available},
	} {
		files := map[string]string{
			"proc/meminfo":     "MemTotal: 9 kB\nMemAvailable:    1048576 kB\n",
			"proc/self/cgroup": c.cgroup,
		}
		for n, content := range c.files {
			files[n] = content
		}
		root := tree(t, files)
		m := memory{filepath.Join(root, "proc"), filepath.Join(root, "sys")}
		if got := m.free(); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	if got := (memory{t.TempDir(), t.TempDir()}).free(); got != 0 {
		t.Errorf("without meminfo: got %d, want 0, for nothing is known to be free", got)
	}
}

func TestBound(t *testing.T) {
	root := tree(t, map[string]string{
		"fs/cgroup/memory/v1/memory.kmem.usage_in_bytes":   "8000\n",
		"fs/cgroup/memory/none/memory.kmem.usage_in_bytes": "0\n",
		"fs/cgroup/v2/memory.stat":                         "slab_reclaimable 1\nslab_unreclaimable 1600\n",
		"fs/cgroup/nokmem/memory.stat":                     "slab_unreclaimable 0\n",
	})
	for cgroup, want := range map[string]int64{
		"/v1": 100, "/v2": 20,
		"/none": math.MaxInt32, "/nokmem": math.MaxInt32, "/gone": math.MaxInt32,
		"": math.MaxInt32, "/": math.MaxInt32, "/../v2": math.MaxInt32,
	} {
		if got := (memory{sysfs: root}).bound(cgroup); got != want {
			t.Errorf("%q: got %d, want %d", cgroup, got, want)
		}
	}
}

func TestMarks(t *testing.T) {
	for content, want := range map[string]int64{"102 N0=102\n": 102, "0\n": 0, "": -1, "-3\n": -1, "x\n": -1} {
		root := tree(t, map[string]string{"kernel/slab/inotify_inode_mark/objects": content})
		if got := openMarks(root).count(); got != want {
			t.Errorf("%q: got %d, want %d", content, got, want)
		}
	}
	if got := openMarks(t.TempDir()).count(); got != -1 {
		t.Errorf("without the file: got %d", got)
	}
}
