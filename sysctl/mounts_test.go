package sysctl

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A container that was given single directories or files of /proc/sys cannot
// know what the kernel lacks elsewhere. Links stand for the mounts.
func TestNarrowMounts(t *testing.T) {
	for _, test := range []struct {
		name   string
		mounts []string
		key    Key
		want   string // how the reason starts; "": the kernel has no such key
	}{
		{"all of fs", []string{"fs"}, "vm.max_map_count", "the host's /proc/sys/vm is not mounted below "},
		{"inotify alone", []string{"fs/inotify"}, "fs.file-max", "the host's /proc/sys/fs/file-max is not mounted below "},
		{"epoll alone", []string{"fs/epoll"}, "fs.inotify.max_user_watches", "the host's /proc/sys/fs/inotify is not mounted below "},
		{"the file file-max alone", []string{"fs/file-max"}, "fs.inotify.max_user_watches", "the host's /proc/sys/fs/inotify is not mounted below "},
		{"the three", []string{"fs/inotify", "fs/epoll", "fs/file-max"}, "fs.nr_open", "the host's /proc/sys/fs/nr_open is not mounted below "},
		{"the three, another directory", []string{"fs/inotify", "fs/epoll", "fs/file-max"}, "user.max_inotify_instances", "the host's /proc/sys/user is not mounted below "},
		{"one key alone", []string{"fs/inotify/max_user_watches"}, "fs.inotify.max_user_instances", "the host's /proc/sys/fs/inotify/max_user_instances is not mounted below "},
		{"a key outside of fs", []string{"vm/max_map_count"}, "fs.file-max", "the host's /proc/sys/fs is not mounted below "},
		{"no mount: a copy of plain files", nil, "fs.nr_open", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			procfs := t.TempDir()
			err := os.MkdirAll(filepath.Join(procfs, "sys"), 0o755)
			for _, m := range test.mounts {
				at := filepath.Join(procfs, "sys", m)
				err = errors.Join(err, os.MkdirAll(filepath.Dir(at), 0o755), os.Symlink(filepath.Join("/proc/sys", m), at))
			}
			if err != nil {
				t.Fatal(err)
			}
			tree, err := OpenTree(procfs)
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Close()
			s := evaluate(Rule{Key: test.key, Op: AtLeast, Want: 1}, tree.Read(test.key))
			switch {
			case test.want == "" && s.Outcome != Absent:
				t.Errorf("%s: %s, want %s", s.Outcome, s.Reason, Absent)
			case test.want != "" && (s.Outcome != Failed || !strings.HasPrefix(s.Reason, test.want)):
				t.Errorf("%s: %s, want %s: %s...", s.Outcome, s.Reason, Failed, test.want)
			}
		})
	}
}

// A tree full of files costs a bounded search.
func TestMountSearchIsBounded(t *testing.T) {
	procfs := t.TempDir()
	if err := os.MkdirAll(filepath.Join(procfs, "sys/a"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range maxMountPoints {
		if err := os.WriteFile(filepath.Join(procfs, "sys/a", string(rune('a'+i%26))+strings.Repeat("x", i/26)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/proc/sys/fs", filepath.Join(procfs, "sys/z")); err != nil {
		t.Fatal(err)
	}
	tree, err := OpenTree(procfs)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if tree.mounted() {
		t.Errorf("found a mount behind %d files", maxMountPoints)
	}
}

func TestReadOnlyNamesTheMounts(t *testing.T) {
	three := "/proc/sys/fs/inotify, /proc/sys/fs/epoll and /proc/sys/fs/file-max into"
	for key, want := range map[Key]string{
		MaxUserInstances:            three,
		MaxUserWatches:              three,
		FileMax:                     three,
		"fs.epoll.max_user_watches": three,
		"fs.nr_open":                "/proc/sys/fs/inotify, /proc/sys/fs/epoll, /proc/sys/fs/file-max and /proc/sys/fs/nr_open into",
		"vm.max_map_count":          "/proc/sys/fs/file-max and /proc/sys/vm/max_map_count into",
		"user.max_inotify_watches":  "/proc/sys/fs/file-max and /proc/sys/user/max_inotify_watches into",
	} {
		if err := writeProblem(key, 1, "/host/proc/sys", unix.EROFS); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant it to name %s", key, err, want)
		}
	}
}
