package workload

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// node makes a host root with the log directories of one pod.
func node(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	mkdir(t, filepath.Join(root, PodLogs, "logging_fluent-bit-x7k2p_"+uid, "fluent-bit"))
	mkdir(t, filepath.Join(root, PodLogs, "not a pod"))
	mkdir(t, filepath.Join(root, ContainerLogs))
	link(t, root, "fluent-bit-x7k2p_logging_fluent-bit-"+id+".log")
	return root
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, root, name string) {
	t.Helper()
	if err := os.Symlink("/nowhere", filepath.Join(root, ContainerLogs, name)); err != nil {
		t.Fatal(err)
	}
}

func TestIndex(t *testing.T) {
	root := node(t)
	x := NewIndex(root)
	if err := x.Refresh(); err != nil {
		t.Fatal(err)
	}
	full := Workload{Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "fluent-bit", PodUID: uid, ContainerID: id}
	sandbox := Workload{Namespace: "logging", Pod: "fluent-bit-x7k2p", PodUID: uid, ContainerID: other}
	for _, c := range []struct{ in, want Workload }{
		{Workload{PodUID: uid, ContainerID: id}, full},
		{Workload{PodUID: uid, ContainerID: other}, sandbox},
		{Workload{PodUID: static}, Workload{PodUID: static}},
		{Workload{Unit: "ssh.service"}, Workload{Unit: "ssh.service"}},
		{Workload{}, Workload{}},
	} {
		if got := x.Named(c.in); got != c.want {
			t.Errorf("Named(%+v)\n got %+v\nwant %+v", c.in, got, c.want)
		}
	}

	// A container started right after a listing is known at the next one, even
	// if it did not move the directory's mtime.
	link(t, root, "fluent-bit-x7k2p_logging_reloader-"+other+".log")
	if err := x.Refresh(); err != nil {
		t.Fatal(err)
	}
	if got := x.Named(sandbox).Container; got != "reloader" {
		t.Errorf("container %q, want reloader", got)
	}

	// A pod that is gone is forgotten.
	if err := os.RemoveAll(filepath.Join(root, "var/log")); err != nil {
		t.Fatal(err)
	}
	if err := x.Refresh(); err != nil {
		t.Fatal(err)
	}
	if got := x.Named(Workload{PodUID: uid}); got.Pod != "" {
		t.Errorf("pod %q of a host without /var/log/pods", got.Pod)
	}
}

// A directory that did not change is not listed again.
func TestIndexKeeps(t *testing.T) {
	root := node(t)
	dir := filepath.Join(root, PodLogs)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(dir, old, old); err != nil {
		t.Fatal(err)
	}
	x := NewIndex(root)
	if err := x.Refresh(); err != nil {
		t.Fatal(err)
	}
	mkdir(t, filepath.Join(dir, "a_b_"+static))
	if err := os.Chtimes(dir, old, old); err != nil { // as if it had not changed
		t.Fatal(err)
	}
	if err := x.Refresh(); err != nil {
		t.Fatal(err)
	}
	if got := x.Named(Workload{PodUID: static}).Pod; got != "" {
		t.Errorf("listed again, found %q", got)
	}
	if err := os.Chtimes(dir, old, old.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := x.Refresh(); err != nil {
		t.Fatal(err)
	}
	if got := x.Named(Workload{PodUID: static}).Pod; got != "b" {
		t.Errorf("pod %q, want b", got)
	}
}

// Absolute links stay within the host's root, wherever that is mounted.
func TestIndexStaysInRoot(t *testing.T) {
	real := node(t)
	root := t.TempDir()
	mkdir(t, filepath.Join(root, "var/log"))
	mkdir(t, filepath.Join(root, "data/pods", "a_b_"+static))
	if err := os.Symlink("/data/pods", filepath.Join(root, PodLogs)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(real, ContainerLogs), filepath.Join(root, ContainerLogs)); err != nil {
		t.Fatal(err)
	}
	x := NewIndex(root)
	if err := x.Refresh(); err != nil {
		t.Fatal(err)
	}
	if got := x.Named(Workload{PodUID: static}).Pod; got != "b" {
		t.Errorf("pod %q through a link inside the root, want b", got)
	}
	if got := x.Named(Workload{ContainerID: id}).Pod; got != "" {
		t.Errorf("pod %q from outside the root", got)
	}
}

func TestIndexWithoutRoot(t *testing.T) {
	x := NewIndex(filepath.Join(t.TempDir(), "none"))
	if err := x.Refresh(); err == nil {
		t.Error("no error for a root that does not exist")
	}
}

// 110 pods is the kubelet's default maximum.
func BenchmarkIndexRefresh(b *testing.B) {
	root := node(b)
	for i := range 110 {
		hex := strconv.FormatInt(int64(i)+0x1000, 16)
		mkdir(b, filepath.Join(root, PodLogs, "default_pod-"+strconv.Itoa(i)+"_"+static[:28]+hex))
	}
	old := time.Now().Add(-time.Hour)
	for _, dir := range []string{PodLogs, ContainerLogs} {
		if err := os.Chtimes(filepath.Join(root, dir), old, old); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("unchanged", func(b *testing.B) {
		x := NewIndex(root)
		b.ReportAllocs()
		for b.Loop() {
			if err := x.Refresh(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := NewIndex(root).Refresh(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
