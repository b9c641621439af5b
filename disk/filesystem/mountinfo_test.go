package filesystem

import (
	"os"
	"slices"
	"strings"
	"testing"
)

const mountinfo = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resuid=65534
30 27 0:40 / /var/lib/containerd/overlay/merged rw,relatime shared:3 master:1 - overlay overlay rw,lowerdir=/a:/b
31 27 8:1 /sub /mnt/a\040b\134c ro,relatime - ext4 /dev/disk\0431 rw
32 27 8:2 / /var/log rw - xfs /dev/sdb rw,shutdown
33 27 8:3 / /var/log rw - ext4 /dev/sdc ro
34 27 0:50 / /empty/source rw - tmpfs  rw
`

func TestReadMounts(t *testing.T) {
	got, wrong, err := ReadMounts(strings.NewReader(mountinfo + "garbage\n1 2 3:x / / rw - ext4 a b\n"))
	if err != nil || wrong != 2 {
		t.Fatalf("%d wrong lines, %v; want 2", wrong, err)
	}
	want := []Mount{
		{ID: 22, dev: "0:21", root: "/", point: "/proc", fstype: "proc", source: "proc"},
		{ID: 27, dev: "254:0", root: "/", point: "/", fstype: "ext4", source: "/dev/vda"},
		{ID: 30, dev: "0:40", root: "/", point: "/var/lib/containerd/overlay/merged", fstype: "overlay", source: "overlay"},
		{ID: 31, dev: "8:1", root: "/sub", point: `/mnt/a b\c`, fstype: "ext4", source: "/dev/disk#1"},
		{ID: 32, dev: "8:2", root: "/", point: "/var/log", fstype: "xfs", source: "/dev/sdb", ShutDown: true},
		{ID: 33, dev: "8:3", root: "/", point: "/var/log", fstype: "ext4", source: "/dev/sdc", ReadOnly: true},
		{ID: 34, dev: "0:50", root: "/", point: "/empty/source", fstype: "tmpfs"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d mounts, want %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("mount %d\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
	if m, _ := MountOf(got, "/var/log/pods"); m.ID != 33 {
		t.Errorf("/var/log/pods lies on mount %d, want 33, which hides 32", m.ID)
	}
	if m, _ := MountOf(got, "/var/logs"); m.ID != 27 {
		t.Errorf("/var/logs lies on mount %d, want 27", m.ID)
	}
}

func TestBelow(t *testing.T) {
	mounts := []Mount{{ID: 1, point: "/"}, {ID: 2, point: "/host"}, {ID: 3, point: "/host/var/log"}, {ID: 4, point: "/hostile"}}
	for rootfs, want := range map[string][]Mount{
		"/":           {{ID: 1, point: "/"}, {ID: 2, point: "/host"}, {ID: 3, point: "/host/var/log"}, {ID: 4, point: "/hostile"}},
		"/host":       {{ID: 2, point: "/"}, {ID: 3, point: "/var/log"}},
		"/hostile/fs": {{ID: 4, point: "/"}},
	} {
		if got := HostMounts(mounts, rootfs); !slices.Equal(got, want) {
			t.Errorf("below %s: %+v, want %+v", rootfs, got, want)
		}
	}
}

// This machine's own mountinfo has no line that is not understood.
func TestReadMountsHere(t *testing.T) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mounts, wrong, err := ReadMounts(f)
	if err != nil || wrong != 0 || len(mounts) == 0 {
		t.Errorf("%d mounts, %d wrong, %v", len(mounts), wrong, err)
	}
}

func FuzzReadMounts(f *testing.F) {
	f.Add(mountinfo)
	f.Fuzz(func(t *testing.T, s string) {
		mounts, wrong, err := ReadMounts(strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(s, "\n")
		if !strings.HasSuffix(s, "\n") && s != "" {
			lines++
		}
		if len(mounts)+wrong != lines {
			t.Fatalf("%d lines, but %d mounts and %d wrong ones", lines, len(mounts), wrong)
		}
		for _, m := range mounts {
			if m.point[0] != '/' {
				t.Fatalf("mount point %q", m.point)
			}
			if got, ok := MountOf(mounts, m.point); !ok || got.point != m.point {
				t.Fatalf("%q is covered by %q", m.point, got.point)
			}
		}
	})
}
