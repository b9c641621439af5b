package filesystem

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
)

func TestFilesystems(t *testing.T) {
	mounts := []Mount{
		{ID: 1, dev: "254:0", point: "/", fstype: "ext4", source: "/dev/vda", ReadOnly: true},
		{ID: 2, dev: "8:1", point: "/var/log", fstype: "xfs", source: "/dev/sdb"},
		{ID: 3, dev: "8:1", point: "/mnt/very/long", fstype: "xfs", source: "/dev/sdb"}, // the same disk
		{ID: 4, dev: "0:50", point: "/var/log/nfs", fstype: "nfs4", source: "server:/log"},
		{ID: 5, dev: "0:22", point: "/var/log/proc", fstype: "proc"},
		{ID: 6, dev: "8:2", point: "/var/log/audit", fstype: "ext4", source: "/dev/sdc", ShutDown: true},
		{ID: 7, dev: "8:3", point: "/var/lib/kubelet/pods/x", fstype: "ext4", source: "/dev/sdd"},
	}
	places := WithMountsBelow(hostfs.Root(disktest.OpenRoot(t, t.TempDir())), []Place{
		{"/var/log", RoleLogs}, {"/var/lib/kubelet", RoleKubelet}, {"/var/lib/containerd", RoleRuntime}, {"/mnt/very/long", RoleConfigured}, {"/none", RoleConfigured},
	}, mounts, nil)
	if want := 7; len(places) != want {
		t.Fatalf("%d places, want %d: %v", len(places), want, places)
	}
	fs := unix.Statfs_t{Bsize: 4096, Blocks: 1000, Bfree: 300, Bavail: 250, Files: 100, Ffree: 40}
	ro := fs
	ro.Flags = unix.ST_RDONLY // our mount of it: the disk is not
	got := Describe(places, mounts,
		map[string]statfsResult{
			"/var/log": {2, ro}, "/var/lib/kubelet": {1, fs}, "/var/lib/containerd": {0, fs}, // an old kernel: no mount id
			"/mnt/very/long": {3, fs}, "/var/log/audit": {6, fs},
		},
		map[string]error{"/var/log/nfs": &HungError{time.Minute}, "/none": unix.ENOENT})
	want := []Filesystem{
		{
			Path: "/var/log", Paths: []string{"/var/log", "/mnt/very/long"}, Source: "/dev/sdb", Type: "xfs", Device: "8:1",
			Roles: []Role{RoleLogs, RoleConfigured}, State: StateOK,
			SizeBytes: 4096000, AvailBytes: 1024000, ReservedBytes: 204800, Inodes: 100, InodesFree: 40,
		},
		{
			Path: "/", Paths: []string{"/var/lib/kubelet", "/var/lib/containerd"}, Source: "/dev/vda", Type: "ext4", Device: "254:0",
			Roles: []Role{RoleKubelet, RoleRuntime}, State: StateReadOnly,
			SizeBytes: 4096000, AvailBytes: 1024000, ReservedBytes: 204800, Inodes: 100, InodesFree: 40,
		},
		{
			Path: "/var/log/nfs", Paths: []string{"/var/log/nfs"}, Source: "server:/log", Type: "nfs4", Device: "0:50",
			Roles: []Role{RoleLogs}, State: StateHung, Error: "statfs has not answered for 1m0s",
		},
		{
			Path: "/var/log/audit", Paths: []string{"/var/log/audit"}, Source: "/dev/sdc", Type: "ext4", Device: "8:2",
			Roles: []Role{RoleLogs}, State: StateShutDown,
			SizeBytes: 4096000, AvailBytes: 1024000, ReservedBytes: 204800, Inodes: 100, InodesFree: 40,
		},
	}
	if len(got) != len(want) {
		t.Fatalf("%d filesystems, want %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("filesystem %d\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

// A filesystem that does not answer costs one deadline and one goroutine, and
// is asked again once it has answered.
func TestAskHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var asked atomic.Int32 // by the probe that is never waited for
		p := NewProber(-1)
		p.probe = func(_ hostfs.Root, path string) (statfsResult, error) {
			if path == "/dead" {
				asked.Add(1)
				<-release
			}
			return statfsResult{mount: 7}, nil
		}
		paths := []string{"/dead", "/alive"}
		for i := range 3 {
			began := time.Now()
			got, errs := p.Measure(paths, 2*time.Second, began)
			var hung *HungError
			if got["/alive"].mount != 7 || !errors.As(errs["/dead"], &hung) {
				t.Fatalf("pass %d: %v, %v", i, got, errs)
			}
			took := time.Since(began)
			if i == 0 && took != 2*time.Second || i > 0 && took != 0 {
				t.Errorf("pass %d took %v", i, took)
			}
			time.Sleep(10 * time.Second)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times, want 1", n)
		}
		close(release)
		synctest.Wait()
		if got, errs := p.Measure(paths, time.Second, time.Now()); len(got) != 2 || len(errs) != 0 {
			t.Errorf("after it came back: %v, %v", got, errs)
		}
	})
}

// What it says of this machine is what statfs(2) says.
func TestStatfs(t *testing.T) {
	dir := t.TempDir()
	f, err := statfs(hostfs.Root(disktest.OpenRoot(t, "/")), dir)
	if err != nil {
		t.Fatal(err)
	}
	var want unix.Statfs_t
	if err := unix.Statfs(dir, &want); err != nil {
		t.Fatal(err)
	}
	if f.fs.Blocks != want.Blocks || f.fs.Files != want.Files || f.fs.Type != want.Type {
		t.Errorf("got %+v, want %+v", f.fs, want)
	}
}

// The kubelet's directory is not mounted in a pod, but its filesystem may be
// that of the logs.
func TestMark(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "kubelet"), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	host := hostfs.Root(root.Fd())
	places := []Place{{Path: "/kubelet", Role: RoleKubelet}, {Path: "/containerd", Role: RoleRuntime}, {Path: "/logs", Role: RoleLogs}}
	mounts, err := ReadHostMounts("/proc", host)
	if err != nil {
		t.Fatal(err)
	}
	all := []Filesystem{{Path: "/logs", Device: Device(host, "/", mounts), Paths: []string{"/logs"}}, {Path: "/other", Device: "0:0"}}
	MarkRoles(host, mounts, places, all)
	if !slices.Equal(all[0].Roles, []Role{RoleKubelet}) || all[1].Roles != nil {
		t.Errorf("got %+v", all)
	}
}
