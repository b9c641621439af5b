package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/nodetune/nodetune/e2e/sandbox"
)

// onDisk are the directories that nodes with one disk keep on it together, and
// that a pod fills with what it prints.
var onDisk = map[string]string{"kubelet": "/var/lib/kubelet", "log": "/var/log"}

// OwnDisk gives the node a disk of its own until t ends: an ext4 of so many
// bytes for the kubelet's files and the logs. The kubelet starts again on it,
// with config in its configuration, and after t where it was. No pod may be on
// the node before and after.
func (c *Cluster) OwnDisk(t testing.TB, bytes int64, config string) {
	t.Helper()
	image, at := filepath.Join(sandbox.Dir(), "disk.img"), filepath.Join(sandbox.Dir(), "disk")
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
	}
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(bytes); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	// As a disk that root's reserve does not shrink, and that is not initialized
	// in the background while a test writes to it.
	run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
	c.Kubelet.Stop()
	t.Cleanup(func() {
		c.Kubelet.Stop()
		// Whatever of a pod's volumes is still mounted goes with it.
		for _, dir := range onDisk {
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
		for _, err := range []error{
			syscall.Unmount(at, syscall.MNT_DETACH), os.Remove(at), os.Remove(image), c.configureKubelet(noEviction),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := c.restartedKubelet(ctx); err != nil {
			t.Error(err)
		}
	})
	run("mount", "-o", "loop", image, at)
	for name, dir := range onDisk {
		from := filepath.Join(at, name)
		if err := os.Mkdir(from, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount(from, dir, "", syscall.MS_BIND, ""); err != nil {
			t.Fatalf("bind %s to %s: %v", from, dir, err)
		}
	}
	if err := c.configureKubelet(config); err != nil {
		t.Fatal(err)
	}
	if err := c.restartedKubelet(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// restartedKubelet starts the kubelet and waits until its node is Ready.
func (c *Cluster) restartedKubelet(ctx context.Context) error {
	if err := c.Kubelet.Start(ctx); err != nil {
		return err
	}
	if err := c.WaitReady(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(c.Kubelet.log))
	}
	return nil
}
